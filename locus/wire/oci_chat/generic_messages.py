"""Locus messages to the messages of a ``GenericChatRequest``.

They are those of OpenAI's chat completions with Oracle's names, with three differences: content is
always a list of typed parts, there is a member for the assistant's thinking, and for Gemini each
tool call is sent in a message of its own, followed by its result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, assert_never

import attrs

from locus.core.conversation import IndexedMessage, ToolCallPosition
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.wire.chat_completions.request import (
    get_normalized_participant_name,
)
from locus.wire.oci_chat.envelope import RequestStruct
from locus.wire.oci_chat.generic_complete_response import WIRE_FORMAT
from locus.wire.outgoing_images import build_image_url
from locus.wire.request_parts import encode_arguments, join_unsigned_thinking

_GEMINI_PREFIX: Final = "google."
_EMPTY_TEXT_PLACEHOLDER: Final = "."
"""The text of an assistant message without text. The service fails with 500 on a message for Gemini
that has no text; Oracle's own client for LangChain sends this."""


class FunctionCall(RequestStruct):
    id: str
    type: str
    name: str
    arguments: str
    thought_signature: str | None = None


class ImageUrl(RequestStruct):
    url: str
    detail: str | None = None


class ChatContent(RequestStruct):
    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class ChatMessage(RequestStruct):
    role: str
    content: list[ChatContent] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[FunctionCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


@attrs.frozen
class _MessageSlice:
    """A message, or a part of it with only some of its tool calls."""

    indexed_message: IndexedMessage
    call_indexes: Sequence[int]
    has_content: bool = True
    """Whether the content of the message is in this part."""


def build_chat_messages(
    conversation: Sequence[IndexedMessage],
    call_ids: Mapping[ToolCallPosition, str],
    model: str,
) -> list[ChatMessage]:
    """Build the messages of a request for ``model``.

    :raises ConfigurationError: if the format cannot represent something; the message names the
        position.
    """
    is_gemini = model.lower().startswith(_GEMINI_PREFIX)
    slices = (
        _iter_single_call_slices(conversation) if is_gemini else map(_make_full_slice, conversation)
    )
    placeholder = _EMPTY_TEXT_PLACEHOLDER if is_gemini else None
    return [_build_message(part, call_ids, placeholder) for part in slices]


def _make_full_slice(indexed_message: IndexedMessage) -> _MessageSlice:
    """Make a slice that has the complete message."""
    return _MessageSlice(indexed_message, range(len(indexed_message.message.tool_calls)))


def _iter_single_call_slices(conversation: Sequence[IndexedMessage]) -> Iterator[_MessageSlice]:
    """Yield the messages, split into one per tool call, each followed by its results.

    Gemini requires as many results as calls in a message, and the service makes each result a
    message of its own.
    """
    results: dict[ToolCallPosition, list[IndexedMessage]] = {}
    for indexed in conversation:
        if indexed.call_position is not None:
            results.setdefault(indexed.call_position, []).append(indexed)
    for indexed in conversation:
        if indexed.call_position is not None:
            continue
        if not indexed.message.tool_calls:
            yield _make_full_slice(indexed)
        for index in range(len(indexed.message.tool_calls)):
            yield _MessageSlice(indexed, (index,), has_content=index == 0)
            for result in results.get((indexed.position, index), ()):
                yield _make_full_slice(result)


def _build_message(
    message_slice: _MessageSlice, call_ids: Mapping[ToolCallPosition, str], placeholder: str | None
) -> ChatMessage:
    position, message = (
        message_slice.indexed_message.position,
        message_slice.indexed_message.message,
    )
    match message.role:
        case Role.ASSISTANT:
            text = (message_slice.has_content and message.text) or placeholder
            return ChatMessage(
                role="ASSISTANT",
                content=[_make_text_content(text)] if text else None,
                refusal=message.refusal if message_slice.has_content else None,
                reasoning_content=join_unsigned_thinking(message)
                if message_slice.has_content
                else None,
                tool_calls=[
                    _build_function_call(position, message, index, call_ids)
                    for index in message_slice.call_indexes
                ]
                or None,
                name=get_normalized_participant_name(message),
            )
        case Role.TOOL:
            call_position = message_slice.indexed_message.call_position
            return ChatMessage(
                role="TOOL",
                content=[_make_text_content(message.text)],
                tool_call_id=call_position and call_ids[call_position],
            )
        case Role.SYSTEM:
            return ChatMessage(
                role="SYSTEM",
                content=[_make_text_content(message.text)],
                name=get_normalized_participant_name(message),
            )
    return ChatMessage(
        role="USER",
        content=_build_contents(position, message),
        name=get_normalized_participant_name(message),
    )


def _build_contents(position: int, message: Message) -> list[ChatContent]:
    if not isinstance(message.all_content, tuple):
        return [_make_text_content(message.all_content or "")]
    contents = (_build_content(position, part) for part in message.all_content)
    return [content for content in contents if content is not None]


def _build_content(position: int, part: Part) -> ChatContent | None:
    """Build the content of a user message; None for the parts that only the assistant has."""
    match part:
        case TextPart():
            return _make_text_content(part.text)
        case ImagePart():
            return _build_image_content(position, part)
        case RefusalPart() | ThinkingPart():
            return None
        case _:
            assert_never(part)


def _make_text_content(text: str) -> ChatContent:
    return ChatContent(type="TEXT", text=text)


def _build_image_content(position: int, image: ImagePart) -> ChatContent:
    detail = image.detail.upper() if image.detail else None
    return ChatContent(
        type="IMAGE", image_url=ImageUrl(build_image_url(f"messages[{position}]", image), detail)
    )


def _build_function_call(
    position: int, message: Message, index: int, call_ids: Mapping[ToolCallPosition, str]
) -> FunctionCall:
    call = message.tool_calls[index]
    return FunctionCall(
        id=call_ids[position, index],
        type="FUNCTION",
        name=call.name,
        arguments=encode_arguments(f"messages[{position}].tool_calls[{index}]", call),
        thought_signature=_find_thought_signature(call),
    )


def _find_thought_signature(call: ToolCall) -> str | None:
    """Return Gemini's signature of a call, if the service has sent one."""
    state = call.native_state
    if state is None or state.maker.wire_format != WIRE_FORMAT:
        return None
    signature = state.data.get("thought_signature")
    return signature if isinstance(signature, str) else None
