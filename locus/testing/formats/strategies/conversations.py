"""Strategies for conversations and for messages."""

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
from locus.testing.formats.strategies.basic_values import (
    arguments,
    call_ids,
    json_objects,
    malformed_arguments,
    names,
    texts,
)


@cache
def tool_calls() -> st.SearchStrategy[ToolCall]:
    """Tool calls, some with malformed arguments."""
    valid = st.builds(ToolCall, id=call_ids(), name=names(), arguments=arguments())
    malformed = st.builds(
        ToolCall, id=call_ids(), name=names(), malformed_arguments=malformed_arguments()
    )
    return st.one_of(valid, valid, valid, malformed)


@cache
def images() -> st.SearchStrategy[ImagePart]:
    """Images, by URL and as bytes."""
    details = st.none() | st.sampled_from(["low", "high", "auto"])
    media_types = st.sampled_from(["image/png", "image/jpeg", "image/webp", "image/gif"])
    by_url = st.builds(
        ImagePart,
        url=st.sampled_from(["https://example.com/a.png?x=1&y=é", "https://example.com/b"]),
        detail=details,
    )
    by_data = st.builds(
        ImagePart, data=st.binary(max_size=20), media_type=media_types, detail=details
    )
    return by_url | by_data


@cache
def user_messages(with_images: bool = True) -> st.SearchStrategy[Message]:
    """Messages of the user."""
    parts = st.builds(TextPart, texts())
    content = texts(min_size=1) | st.lists(parts, min_size=1, max_size=3)
    if with_images:
        content |= st.lists(st.one_of(parts, images()), min_size=1, max_size=4)
    return st.builds(Message.user, content, name=st.none() | names(), metadata=json_objects())


@cache
def system_messages() -> st.SearchStrategy[Message]:
    """System messages."""
    return st.builds(Message.system, texts(min_size=1), name=st.none() | names())


_THINKING = st.lists(
    st.builds(ThinkingPart, text=texts(min_size=1), signature=call_ids())
    | st.builds(ThinkingPart, redacted=call_ids()),
    min_size=1,
    max_size=2,
)


@st.composite
def assistant_messages(draw: st.DrawFn, calls: Sequence[ToolCall] = ()) -> Message:
    """Messages of the assistant: text, a refusal, signed thinking, and these calls."""
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
    """Results of tools, some with errors."""
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
    """Conversations that every format can express.

    They have system messages anywhere, parallel calls, a result for every call (in any order, some
    with errors), images by URL and as bytes, and refusals.
    """
    messages: list[Message] = []
    call_count = 0

    def maybe_add_system_message() -> None:
        if draw(st.integers(0, 3)) == 3:
            messages.append(draw(system_messages()))

    maybe_add_system_message()
    for _ in range(draw(st.integers(1, max_rounds))):
        messages.append(draw(user_messages(with_images)))
        maybe_add_system_message()
        for _ in range(draw(st.integers(0, 2))):
            calls = []
            for _ in range(draw(st.integers(1, 3))):
                call_count += 1
                calls.append(attrs.evolve(draw(tool_calls()), id=f"call_{call_count}"))
            messages.append(draw(assistant_messages(calls)))
            for call in draw(st.permutations(calls)):
                result = draw(tool_results())
                result = attrs.evolve(result, tool_call_id=call.id, name=call.name)
                messages.append(Message.tool(result))
            maybe_add_system_message()
        if draw(st.booleans()):
            messages.append(draw(assistant_messages()))
    if messages[-1].role == "assistant":
        messages.append(draw(user_messages(with_images)))
    return tuple(messages)
