"""Answers as plain values, for each format's tests to put into its own JSON."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from tests.support.strategies.plain import call_ids, malformed, names, texts, written_arguments


@attrs.frozen
class SaidCall:
    """A tool call as a server sends it: ``text`` is the arguments, or a custom tool's input."""

    id: str
    name: str
    text: str
    custom: bool = False


@attrs.frozen
class Said:
    """An answer in plain values; each format's tests turn it into that format's JSON."""

    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    calls: tuple[SaidCall, ...] = ()
    stop: str = "stop"
    logprobs: Any = None
    annotations: tuple[Any, ...] = ()


@attrs.frozen
class Answered:
    """Said by whom, at what cost; several ``candidates`` where more than one was asked for."""

    candidates: tuple[Said, ...]
    id: str = "answer-1"
    model: str = "some-model"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def first(self) -> Said:
        return self.candidates[0]

    @property
    def usage(self) -> dict[str, int]:
        """The counts under Locus's names."""
        names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@st.composite
def said(draw: st.DrawFn, custom: bool = False, valid_arguments: bool = True) -> Said:
    """One answer. ``custom`` allows free-text tools; ``valid_arguments`` leaves out malformed
    arguments."""
    calls = []
    for position in range(draw(st.integers(0, 3))):
        free = custom and draw(st.booleans())
        ill = not valid_arguments and draw(st.integers(0, 3)) == 3
        text = draw(texts() if free else malformed() if ill else written_arguments())
        calls.append(SaidCall(f"call_{position}", draw(names()), text, free))
    return Said(
        text=draw(st.none() | texts()) if calls else draw(texts()),
        reasoning=draw(st.none() | texts(min_size=1)),
        refusal=draw(st.none() | st.none() | texts(min_size=1)),
        calls=tuple(calls),
        stop="tool_calls" if calls else draw(st.sampled_from(["stop", "length"])),
    )


@st.composite
def answers(
    draw: st.DrawFn, max_candidates: int = 1, custom: bool = False, valid_arguments: bool = True
) -> Answered:
    """Whole answers."""
    counts = st.integers(0, 2**31)
    candidates = st.lists(said(custom, valid_arguments), min_size=1, max_size=max_candidates)
    counted = draw(st.booleans())
    return Answered(
        candidates=tuple(draw(candidates)),
        id=draw(call_ids()),
        model=draw(st.sampled_from(["gpt-4o", "claude-sonnet-4", "qwen3:8b", "modèle\u2028"])),
        prompt_tokens=draw(counts) if counted else None,
        completion_tokens=draw(counts) if counted else None,
        cached_tokens=draw(st.none() | counts) if counted else None,
        reasoning_tokens=draw(st.none() | counts) if counted else None,
    )
