"""Conversations, and the messages they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from tests.support.strategies.plain import (
    arguments,
    call_ids,
    json_objects,
    malformed,
    names,
    texts,
)


@cache
def tool_calls() -> st.SearchStrategy[ToolCall]:
    """Tool calls; one in a few with malformed arguments."""
    well = st.builds(ToolCall, id=call_ids(), name=names(), arguments=arguments())
    ill = st.builds(ToolCall, id=call_ids(), name=names(), malformed_arguments=malformed())
    return st.one_of(well, well, well, ill)


@cache
def images() -> st.SearchStrategy[ImagePart]:
    """Images, by address and as bytes."""
    details = st.none() | st.sampled_from(["low", "high", "auto"])
    kinds = st.sampled_from(["image/png", "image/jpeg", "image/webp", "image/gif"])
    by_url = st.builds(
        ImagePart,
        url=st.sampled_from(["https://example.com/a.png?x=1&y=é", "https://example.com/b"]),
        detail=details,
    )
    by_data = st.builds(ImagePart, data=st.binary(max_size=20), media_type=kinds, detail=details)
    return by_url | by_data


@cache
def user_messages(with_images: bool = True) -> st.SearchStrategy[Message]:
    """What users say."""
    parts = st.builds(TextPart, texts())
    content = texts(min_size=1) | st.lists(parts, min_size=1, max_size=3)
    if with_images:
        content |= st.lists(parts | images(), min_size=1, max_size=4)
    return st.builds(Message.user, content, name=st.none() | names(), metadata=json_objects())


@cache
def system_messages() -> st.SearchStrategy[Message]:
    """Instructions."""
    return st.builds(Message.system, texts(min_size=1), name=st.none() | names())


_THINKING = st.lists(
    st.builds(ThinkingPart, text=texts(min_size=1), signature=call_ids())
    | st.builds(ThinkingPart, redacted=call_ids()),
    min_size=1,
    max_size=2,
)


@st.composite
def assistant_messages(draw: st.DrawFn, calls: Sequence[ToolCall] = ()) -> Message:
    """What models answer: text, a refusal, thinking to be seen again, the given calls."""
    text = draw(texts(min_size=1) | st.none() if calls else texts(min_size=1))
    before: list[Any] = []
    after: list[Any] = []
    if draw(st.integers(0, 7)) == 7:
        after.append(RefusalPart(draw(texts(min_size=1))))
    if draw(st.integers(0, 7)) == 7:
        before += draw(_THINKING)
    name = draw(st.none() | names())
    if not (before or after):
        return Message.assistant(text, calls, name=name)
    return Message.assistant([*before, *([text] if text else []), *after], calls, name=name)


@cache
def tool_results() -> st.SearchStrategy[ToolResult]:
    """What a tool gave, or why it failed."""
    return st.builds(
        ToolResult,
        tool_call_id=call_ids(),
        name=names(),
        content=texts(),
        error=st.none() | texts(min_size=1),
        duration_ms=st.none() | st.floats(0, 1e6),
    )


@st.composite
def conversations(
    draw: st.DrawFn, with_images: bool = True, max_rounds: int = 3
) -> tuple[Message, ...]:
    """Conversations that every provider has a way to accept.

    System messages anywhere, parallel calls, every call with its result (in any order, some
    failed), images by address and as bytes, refusals.
    """
    turns: list[Message] = []
    used = 0

    def perhaps_system() -> None:
        if draw(st.integers(0, 3)) == 3:
            turns.append(draw(system_messages()))

    perhaps_system()
    for _ in range(draw(st.integers(1, max_rounds))):
        turns.append(draw(user_messages(with_images)))
        perhaps_system()
        for _ in range(draw(st.integers(0, 2))):
            calls = []
            for _ in range(draw(st.integers(1, 3))):
                used += 1
                calls.append(attrs.evolve(draw(tool_calls()), id=f"call_{used}"))
            turns.append(draw(assistant_messages(calls)))
            for call in draw(st.permutations(calls)):
                result = draw(tool_results())
                result = attrs.evolve(result, tool_call_id=call.id, name=call.name)
                turns.append(Message.tool(result))
            perhaps_system()
        if draw(st.booleans()):
            turns.append(draw(assistant_messages()))
    if turns[-1].role == "assistant":
        turns.append(draw(user_messages(with_images)))
    return tuple(turns)
