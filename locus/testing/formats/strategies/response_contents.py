"""Responses as plain values, of which the tests of each format build its JSON."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from locus.testing.formats.strategies.basic_values import (
    argument_texts,
    call_ids,
    malformed_arguments,
    names,
    texts,
)


@attrs.frozen
class CallContent:
    """A tool call as a server sends it: ``text`` is the arguments, or a custom tool's input."""

    id: str
    name: str
    text: str
    custom: bool = False


@attrs.frozen
class CandidateContent:
    """The content of one candidate of a response."""

    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    calls: tuple[CallContent, ...] = ()
    stop: str | None = "stop"
    logprobs: Any = None
    annotations: tuple[Any, ...] = ()


@attrs.frozen
class ResponseContent:
    """The content of a response: its candidates, its id and model, and its token counts."""

    candidates: tuple[CandidateContent, ...]
    id: str = "response-1"
    model: str = "some-model"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    has_total: bool = True
    """Whether the format has a member for the total."""

    @property
    def total_tokens(self) -> int | None:
        """The server's total; None if it sends no counts."""
        if not self.has_total or (self.prompt_tokens is None and self.completion_tokens is None):
            return None
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    @property
    def first(self) -> CandidateContent:
        return self.candidates[0]

    @property
    def usage(self) -> dict[str, int]:
        """The counts under Locus's names."""
        counts = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "cached_tokens": self.cached_tokens,
            "cache_read_input_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }
        return {name: count for name, count in counts.items() if count is not None}


@st.composite
def candidate_contents(
    draw: st.DrawFn, custom: bool = False, valid_arguments: bool = True
) -> CandidateContent:
    """The content of one candidate.

    :param custom: whether calls of free-text tools are allowed.
    :param valid_arguments: whether malformed arguments are left out.
    """
    calls = []
    for position in range(draw(st.integers(0, 3))):
        is_custom = custom and draw(st.booleans())
        is_malformed = not valid_arguments and draw(st.integers(0, 3)) == 3
        text = draw(
            texts() if is_custom else malformed_arguments() if is_malformed else argument_texts()
        )
        calls.append(CallContent(f"call_{position}", draw(names()), text, is_custom))
    return CandidateContent(
        text=draw(st.none() | texts()) if calls else draw(texts()),
        reasoning=draw(st.none() | texts(min_size=1)),
        refusal=draw(st.none() | st.none() | texts(min_size=1)),
        calls=tuple(calls),
        stop="tool_calls" if calls else draw(st.sampled_from(["stop", "length"])),
    )


@st.composite
def response_contents(
    draw: st.DrawFn, max_candidates: int = 1, custom: bool = False, valid_arguments: bool = True
) -> ResponseContent:
    """The contents of complete responses."""
    counts = st.integers(0, 2**31)
    candidates = st.lists(
        candidate_contents(custom, valid_arguments), min_size=1, max_size=max_candidates
    )
    has_usage = draw(st.booleans())
    return ResponseContent(
        candidates=tuple(draw(candidates)),
        id=draw(call_ids()),
        model=draw(st.sampled_from(["gpt-4o", "claude-sonnet-4", "qwen3:8b", "modèle\u2028"])),
        prompt_tokens=draw(counts) if has_usage else None,
        completion_tokens=draw(counts) if has_usage else None,
        cached_tokens=draw(st.none() | counts) if has_usage else None,
        reasoning_tokens=draw(st.none() | counts) if has_usage else None,
    )
