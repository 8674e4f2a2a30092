"""Builds the input items of a request from a conversation.

System messages stay at their position, as items of the role ``system``. The parameter
``instructions`` could only hold those at the beginning, and a server that stores the conversation
does not store it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, assert_never

import msgspec

from locus.core.conversation import IndexedMessage, ToolCallPosition
from locus.core.digest import compute_digest
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
)
from locus.wire.outgoing_images import build_image_url
from locus.wire.outgoing_tool_call_ids import ToolCallIdRule, compute_call_ids
from locus.wire.request_parts import encode_arguments
from locus.wire.responses.output_items import (
    WIRE_FORMAT,
    Item,
    find_matching_native_items,
    strip_reasoning,
)

_ID_RULE: Final = ToolCallIdRule(
    re.compile(r".{1,64}", re.DOTALL), lambda call: f"call_{compute_digest(call)}"
)
"""The API rejects ids of tool calls with more than 64 characters."""


class _InputStruct(msgspec.Struct, omit_defaults=True, tag_field="type"):
    """Base class of the body's parts; members that have their default value are left out."""


class InputText(_InputStruct, tag="input_text"):
    text: str


class InputImage(_InputStruct, tag="input_image"):
    image_url: str
    detail: str


class InputMessage(_InputStruct, tag="message"):
    role: Literal["system", "user"]
    content: list[InputText | InputImage]


class OutputText(_InputStruct, tag="output_text"):
    text: str
    annotations: Sequence[Any]


class OutputRefusal(_InputStruct, tag="refusal"):
    refusal: str


class OutputMessage(_InputStruct, tag="message"):
    id: str
    role: Literal["assistant"]
    status: Literal["completed"]
    content: list[OutputText | OutputRefusal]


class FunctionCall(_InputStruct, tag="function_call"):
    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(_InputStruct, tag="function_call_output"):
    call_id: str
    output: str | list[InputText | InputImage]


class CustomToolCallOutput(_InputStruct, tag="custom_tool_call_output"):
    call_id: str
    output: str | list[InputText | InputImage]


def build_input_items(
    messages: Sequence[IndexedMessage],
    after_position: int = -1,
    *,
    encrypted_reasoning: bool = True,
) -> list[Any]:
    """Build the items of the messages after the position ``after``.

    :param encrypted_reasoning: whether encrypted reasoning is sent back to the server.
    :raises ConfigurationError: if the format cannot express something; the message names it and
        its position.
    """
    builder = _InputItemsBuilder(messages, after_position, encrypted_reasoning)
    return [
        item
        for message in messages
        for item in builder.build_items(message)
        if message.position > after_position
    ]


class _InputItemsBuilder:
    """Builds the items of one message after the other, and remembers the type of every call."""

    def __init__(
        self, messages: Sequence[IndexedMessage], after_position: int, encrypted_reasoning: bool
    ) -> None:
        self._call_ids = compute_call_ids(messages, _ID_RULE, WIRE_FORMAT)
        self._after_position = after_position
        self._encrypted_reasoning = encrypted_reasoning
        self._custom_calls: set[ToolCallPosition] = set()
        self._used_item_ids: set[str] = set()

    def build_items(self, indexed_message: IndexedMessage) -> list[Any]:
        """Build the items of one message. Call it for each message in order."""
        path, message = f"messages[{indexed_message.position}]", indexed_message.message
        match message.role:
            case Role.ASSISTANT:
                native_items = self._build_native_items(indexed_message)
                return native_items or self._build_assistant_items(path, indexed_message)
            case Role.TOOL:
                return [self._build_tool_result(path, indexed_message)]
            case Role.SYSTEM:
                return [InputMessage("system", _build_content(path, message))]
        return [InputMessage("user", _build_content(path, message))]

    def _build_tool_result(
        self, path: str, indexed_message: IndexedMessage
    ) -> FunctionCallOutput | CustomToolCallOutput:
        message, call_position = indexed_message.message, indexed_message.call_position
        call_id = message.tool_call_id or ""
        if call_position and call_position[0] > self._after_position:
            call_id = self._call_ids[
                call_position
            ]  # the server stores earlier calls by its own ids
        content = message.all_content
        output = content if isinstance(content, str) else _build_content(path, message)
        if call_position in self._custom_calls:
            return CustomToolCallOutput(call_id, output)
        return FunctionCallOutput(call_id, output)

    def _build_assistant_items(self, path: str, indexed_message: IndexedMessage) -> list[Any]:
        position, message = indexed_message.position, indexed_message.message
        content: list[OutputText | OutputRefusal] = []
        if message.text:
            content.append(OutputText(message.text, ()))
        if message.refusal:
            content.append(OutputRefusal(message.refusal))
        calls = [
            FunctionCall(
                self._call_ids[position, index],
                call.name,
                encode_arguments(f"{path}.tool_calls[{index}]", call),
            )
            for index, call in enumerate(message.tool_calls)
        ]
        if not content:
            return [*calls]
        message_id = _make_message_id(position, message.text)
        return [OutputMessage(message_id, "assistant", "completed", content), *calls]

    def _build_native_items(self, indexed_message: IndexedMessage) -> list[Item]:
        """Build the native items of a message from this API; empty for any other message."""
        position = indexed_message.position
        items = find_matching_native_items(indexed_message.message)
        item_ids = {item["id"] for item in items if isinstance(item.get("id"), str)}
        if not self._encrypted_reasoning or item_ids & self._used_item_ids:
            items = strip_reasoning(items)
            # The same message twice: the API accepts the items of the server's own tools only once.
            items = [item for item in items if item.get("id") not in self._used_item_ids]
        self._used_item_ids |= item_ids
        call_count = 0
        for item in items:
            match item.get("type"):
                case "function_call" | "custom_tool_call" as item_type:
                    call_position = (position, call_count)
                    call_count += 1
                    item["call_id"] = self._call_ids[call_position]
                    if item_type == "custom_tool_call":
                        self._custom_calls.add(call_position)
                    else:
                        call = indexed_message.message.tool_calls[call_position[1]]
                        if call.malformed_arguments is not None or not call.arguments:
                            item["arguments"] = encode_arguments(f"messages[{position}]", call)
                case "message":
                    item.setdefault("id", _make_message_id(position, item.get("content")))
                    item.setdefault("status", "completed")
        return items


def _make_message_id(position: int, content: Any) -> str:
    """Make a unique id: the API requires one for each message of the assistant."""
    return f"msg_{compute_digest(f'{position} {content}')}"


def _get_content_parts(message: Message) -> tuple[Part, ...]:
    content = message.all_content
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _build_content(path: str, message: Message) -> list[InputText | InputImage]:
    """Build the text and the images of the system, a user or a tool."""
    content: list[InputText | InputImage] = []
    for part in _get_content_parts(message):
        match part:
            case TextPart():
                content.append(InputText(part.text))
            case ImagePart():
                content.append(InputImage(build_image_url(path, part), part.detail or "auto"))
            case RefusalPart() | ThinkingPart():
                pass  # only the assistant's messages have them
            case _:
                assert_never(part)
    return content
