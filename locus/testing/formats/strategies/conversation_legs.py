"""Strategies for conversations with one provider: users' messages, and genuine responses.

Every call and its result have a unique name (``t0``, ``t1``, …), by which a test matches them even
if the ids change.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from hypothesis import strategies as st

from locus.core.messages import ImagePart, Message, Role, TextPart, ToolCall, ToolResult
from locus.testing.formats.strategies.basic_values import texts


def image_parts() -> st.SearchStrategy[ImagePart]:
    """Images by URL, as bytes, and in ``data:`` URLs of different forms."""
    media_types = st.sampled_from(
        ["image/png", "image/jpeg", "image/jpg", "image/webp", "image/bmp"]
    )
    data = st.binary(min_size=1, max_size=9)
    prefixes = st.sampled_from(
        ["data:image/png;base64,", "DATA:image/png;name=a;base64,", "data:image/gif;BASE64,"]
    )
    in_data_url = st.builds(
        lambda prefix, data: prefix + base64.b64encode(data).decode(), prefixes, data
    )
    return (
        st.just(ImagePart(url="https://example.com/a.png?x=1&y=é", detail="low"))
        | st.builds(ImagePart, data=data, media_type=media_types)
        | st.builds(ImagePart, url=in_data_url)
    )


@st.composite
def _user(draw: st.DrawFn) -> Message:
    part = st.builds(TextPart, texts()) | image_parts()
    content = draw(texts() | st.lists(part, min_size=1, max_size=4))
    name = draw(st.sampled_from([None, None, "ann", "Ann Lee", "José <x>", "x" * 70]))
    return Message.user(content, name=name, metadata={"cache": 1})


_SYSTEM = st.builds(Message.system, texts(max_size=10), name=st.sampled_from([None, "host"]))


@st.composite
def conversation_legs(
    draw: st.DrawFn, messages_of: Callable[[int], st.SearchStrategy[Message]], first_number: int
) -> list[Message]:
    """The messages of one exchange with a provider. Every call has a result.

    :param messages_of: the strategy of the provider's messages: ``WireFormat.messages``.
    :param first_number: the number of the first call.
    """
    messages: list[Message] = []
    next_number = first_number

    def add_optional(strategy: st.SearchStrategy[Message], most: int = 1) -> None:
        messages.extend(draw(st.lists(strategy, max_size=most)))

    add_optional(_SYSTEM, 2)
    messages += draw(st.lists(_user(), min_size=1, max_size=2))
    add_optional(_SYSTEM)
    for _ in range(draw(st.integers(1, 2))):
        response = draw(messages_of(next_number))
        messages.append(response)
        next_number += len(response.tool_calls)
        for call in draw(st.permutations(response.tool_calls)):
            add_optional(_SYSTEM)
            add_optional(_user())
            messages.append(draw(_result(call)))
        add_optional(_SYSTEM)
        if not response.tool_calls:
            break
    messages.append(Message.user("Go on."))
    return messages


@st.composite
def _result(draw: st.DrawFn, call: ToolCall) -> Message:
    error = draw(st.none() | texts(min_size=1))
    result = Message.tool(ToolResult(call.id, call.name, draw(texts()), error=error))
    if draw(st.integers(0, 5)) == 5:
        image = draw(image_parts())
        return Message(Role.TOOL, ["map", image], tool_call_id=call.id, name=call.name)
    return result
