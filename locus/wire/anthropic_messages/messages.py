"""Locus messages to Anthropic's ``messages`` and ``system``.

Consecutive messages of one party (the user together with the tools, or the assistant) become one
message, in which the tool results come first: the API requires them directly after the tool calls.
System messages go into the system prompt, in their order. Newer models also accept a system message
after a user message: that keeps the prompt before it in the cache, and the thinking after it valid.
A system message elsewhere is then moved behind the next user message.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never

from locus.core.conversation import IndexedMessage
from locus.core.digest import compute_digest
from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
)
from locus.wire.anthropic_messages.convert_assistant_blocks import (
    WIRE_FORMAT,
    Block,
    build_assistant_blocks,
    is_blank,
)
from locus.wire.anthropic_messages.thinking_history_digest import THINKING_TYPES, ResponseBlocks
from locus.wire.outgoing_images import read_image
from locus.wire.outgoing_tool_call_ids import ToolCallIdRule, compute_call_ids
from locus.wire.provider_json import to_json_builtins

EPHEMERAL_CACHE_CONTROL: Final[Mapping[str, str]] = {"type": "ephemeral"}
_ID_RULE: Final = ToolCallIdRule(
    re.compile(r"[a-zA-Z0-9_-]+"),
    lambda call_id: f"{re.sub('[^a-zA-Z0-9_-]', '_', call_id)[:40]}_{compute_digest(call_id)[:12]}",
)
_IMAGE_MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")


class MessageListBuilder:
    """Builds the ``messages`` and the ``system`` of a request from a conversation.

    :param inline_system_messages: whether system messages may stand among the others.
    :param unsigned_thinking: whether the server accepts its own thinking without a signature.
    :raises ConfigurationError: if the format cannot represent a message.
    """

    def __init__(
        self,
        conversation: Sequence[IndexedMessage],
        inline_system_messages: bool,
        *,
        unsigned_thinking: bool = False,
    ) -> None:
        self.bound_responses: list[ResponseBlocks] = []
        """The responses whose thinking is bound to the conversation before them."""
        self._unsigned_thinking = unsigned_thinking
        self._inline_system_messages = inline_system_messages
        self._system: list[Block] = []
        self._messages: list[tuple[str, list[Block], list[Block]]] = []
        """Role, tool results and other blocks of each message."""
        self._pending_system: list[Block] = []
        self._call_ids = compute_call_ids(conversation, _ID_RULE, WIRE_FORMAT)
        self._blank_path: str | None = None
        """Where the conversation ends, if it ends with a user message of blank text."""
        for indexed in conversation:
            self._add_message(indexed)

    def _add_message(self, indexed_message: IndexedMessage) -> None:
        message, path = indexed_message.message, f"messages[{indexed_message.position}]"
        if message.role is not Role.SYSTEM:
            self._blank_path = None
        match message.role:
            case Role.SYSTEM:
                self._add_system_message(path, message)
            case Role.ASSISTANT:
                self._add_assistant_message(path, indexed_message)
            case Role.TOOL:
                result = self._build_tool_result(path, indexed_message)
                _add_cache_control(path, message, [result])
                self._get_or_start_block_lists("user")[0].append(result)
            case _:
                blocks = _build_input_blocks(path, message)
                _add_cache_control(path, message, blocks)
                if blocks:
                    self._get_or_start_block_lists("user")[1].extend(blocks)
                else:
                    self._blank_path = path

    def add_system_instruction(self, text: str) -> None:
        """Add an instruction of Locus itself to the system prompt."""
        self._system.append({"type": "text", "text": text})

    def build_messages(self) -> list[dict[str, Any]]:
        """Build the ``messages`` of the request.

        :raises ConfigurationError: if there are none, or the last one is blank.
        """
        if self._blank_path:
            raise ConfigurationError(
                f"{self._blank_path} holds no visible character: there is nothing to answer"
            )
        self._append_pending_system_message_if_allowed()
        if self._pending_system:  # no user message follows them
            self._system += self._pending_system
            self._pending_system = []
        messages: list[dict[str, Any]] = []
        last = len(self._messages) - 1
        for index, (role, results, others) in enumerate(self._messages):
            blocks = [*results, *others]
            if role == "assistant" and index == last:
                blocks = _strip_trailing_space(blocks)
            messages.append({"role": role, "content": _simplify_content(blocks)})
        if not messages:
            raise ConfigurationError(
                "there is nothing to answer: Anthropic's API requires a message besides system ones"
            )
        return messages

    def build_system_prompt(self) -> str | list[Block]:
        """Build the system prompt: text, or its blocks if one of them has ``cache_control``."""
        if any("cache_control" in block for block in self._system):
            return self._system
        return "\n\n".join(block["text"] for block in self._system)

    def _get_or_start_block_lists(self, role: str) -> tuple[list[Block], list[Block]]:
        """Return the tool results and the other blocks of the last message.

        A new message is started if the last one has another role.
        """
        if not self._messages or self._messages[-1][0] != role:
            self._append_pending_system_message_if_allowed()
            self._messages.append((role, [], []))
        return self._messages[-1][1:]

    def _append_pending_system_message_if_allowed(self) -> None:
        """Append the pending system messages if the last message is complete and the user's."""
        if self._pending_system and self._messages and self._messages[-1][0] == "user":
            self._messages.append(("system", [], self._pending_system))
            self._pending_system = []

    def _add_system_message(self, path: str, message: Message) -> None:
        if is_blank(message.text):
            return
        block: Block = {"type": "text", "text": message.text}
        _add_cache_control(path, message, [block])
        if self._inline_system_messages and self._messages:
            self._pending_system.append(block)
        else:
            self._system.append(block)

    def _add_assistant_message(self, path: str, indexed_message: IndexedMessage) -> None:
        message = indexed_message.message
        blocks = build_assistant_blocks(message, unsigned_thinking=self._unsigned_thinking)
        tool_uses = [block for block in blocks if block.get("type") == "tool_use"]
        for index, tool_use in enumerate(tool_uses):
            tool_use["id"] = self._call_ids[indexed_message.position, index]
            tool_use["input"] = to_json_builtins(
                tool_use.get("input", {}), f"{path}.tool_calls[{index}]"
            )
        _add_cache_control(path, message, blocks)
        if blocks:
            others = self._get_or_start_block_lists("assistant")[1]
            start = len(others)
            others.extend(blocks)
            state = message.native_state
            if state is not None and state.history is not None:
                self.bound_responses.append(
                    ResponseBlocks(len(self._messages) - 1, start, len(others), state.history)
                )

    def _build_tool_result(self, path: str, indexed_message: IndexedMessage) -> Block:
        message = indexed_message.message
        result: Block = {"type": "tool_result"}
        if indexed_message.call_position is not None:
            result["tool_use_id"] = self._call_ids[indexed_message.call_position]
        blocks = _build_input_blocks(path, message)
        error = message.metadata.get("error")
        if "error" in message.metadata:
            # The API rejects an error with anything but text, or without any.
            if not any(block["type"] == "text" for block in blocks):
                blocks.insert(0, {"type": "text", "text": f"Error: {error or 'the tool failed'}"})
            if all(block["type"] == "text" for block in blocks):
                result["is_error"] = True
        if blocks:
            result["content"] = _simplify_content(blocks)
        return result


def _get_content_parts(message: Message) -> tuple[Part, ...]:
    content = message.all_content
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _build_input_blocks(path: str, message: Message) -> list[Block]:
    """Build the blocks of a user message or a tool result, without blank text."""
    blocks: list[Block] = []
    for part in _get_content_parts(message):
        match part:
            case TextPart():
                if not is_blank(part.text):
                    blocks.append({"type": "text", "text": part.text})
            case ImagePart():
                blocks.append({"type": "image", "source": _build_image_source(path, part)})
            case RefusalPart() | ThinkingPart():
                pass  # only the assistant's messages have them
            case _:
                assert_never(part)
    return blocks


def _build_image_source(path: str, image: ImagePart) -> Block:
    """Build the ``source`` of an image block: its URL, or its bytes as base64.

    :raises ConfigurationError: if the API does not accept the media type.
    """
    found = read_image(path, image)
    if found is None:
        return {"type": "url", "url": image.url or ""}
    media_type, data = found
    if media_type not in _IMAGE_MEDIA_TYPES:
        raise ConfigurationError(
            f"{path}: the API accepts images of the types {', '.join(_IMAGE_MEDIA_TYPES)}, "
            f"not {image.media_type or media_type}"
        )
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


def _add_cache_control(path: str, message: Message, blocks: list[Block]) -> None:
    """Put the message's ``cache_control`` on the last of its blocks that may have one."""
    cache_control = message.metadata.get("cache_control")
    if cache_control is None:
        return
    if not isinstance(cache_control, Mapping):
        raise ConfigurationError(
            f"{path}: metadata['cache_control'] is a mapping such as "
            f"{dict(EPHEMERAL_CACHE_CONTROL)!r}, not {cache_control!r}"
        )
    for block in reversed(blocks):
        if block.get("type") not in THINKING_TYPES:
            block["cache_control"] = cache_control
            return


def _simplify_content(blocks: list[Block]) -> str | list[Block]:
    """Return the text if there is a single block of text; otherwise the blocks."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and blocks[0]["type"] == "text":
        text: str = blocks[0]["text"]
        return text
    return blocks


def _strip_trailing_space(blocks: list[Block]) -> list[Block]:
    """Return the blocks without white space at the end of the text.

    The model continues the last message if it is the assistant's, and the API rejects white space
    at its end.
    """
    if blocks and blocks[-1].get("type") == "text":
        return [*blocks[:-1], {**blocks[-1], "text": blocks[-1]["text"].rstrip()}]
    return blocks
