"""Decodes a streamed response of ``POST /v1/messages``.

The chunks are ``message_start``, then for each content block ``content_block_start``, deltas and
``content_block_stop``, then ``message_delta`` with the stop reason and the token counts, and
``message_stop``. The last one is the end marker; a stream without it was cut off. Pings and chunks
of unknown types are ignored, as Anthropic's "Versioning" page asks of clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.make_status_error import make_status_error
from locus.core.raw_response import merge_json_chunks
from locus.core.response import ModelResponse
from locus.wire.anthropic_messages.bedrock_framing import AnthropicMessagesFraming
from locus.wire.anthropic_messages.complete_response import (
    MessageStart,
    ResponseAccumulator,
    StopInfo,
    Usage,
    parse_response,
)
from locus.wire.anthropic_messages.convert_assistant_blocks import Block, get_text_member
from locus.wire.anthropic_messages.structured_output import (
    RESPOND_TOOL_NAME,
    canonicalize_tool_input,
)
from locus.wire.provider_json import (
    DECODING_ERRORS,
    ResponseStruct,
    StructDecoder,
    convert_body_to_text,
)
from locus.wire.stream_decoder import StreamDecoder, is_done_marker, is_keep_alive


class Delta(StopInfo):
    """An addition to a content block; or, in ``message_delta``, the stop reason."""

    needed_members: ClassVar = frozenset({"text", "thinking", "partial_json"})

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Any = None


class Chunk(ResponseStruct):
    needed_members: ClassVar = frozenset({"type", "delta", "content_block", "message"})

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: dict[str, Any] | None = None
    message: MessageStart | str | None = None
    usage: Usage | None = None
    error: Any = None


_chunk_decoder: Final = StructDecoder(Chunk)
_decode: Final = _chunk_decoder.decode_strict


_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode

# The type of a block whose ``content_block_start`` the server left out, by its first delta.
_BLOCK_TYPES_BY_DELTA: Final = {
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}


def merge_message_chunks(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge ``message_start``, ``message_delta`` and ``message_stop`` to the message they make.

    Its ``content`` is left out: that is in the deltas.
    """
    parts: list[Mapping[str, Any]] = []
    for chunk in chunks:
        message, delta = chunk.get("message"), chunk.get("delta")
        rest = {name: chunk[name] for name in chunk if name not in ("message", "delta", "type")}
        parts += [part for part in (rest, message, delta) if isinstance(part, Mapping)]
    usage = [part["usage"] for part in parts if isinstance(part.get("usage"), Mapping)]
    merged = merge_json_chunks(parts)
    merged.pop("content", None)
    return {**merged, "usage": merge_json_chunks(usage)} if usage else merged


class _BlockAccumulator:
    """Collects the deltas of one content block."""

    __slots__ = ("block", "json_chunks", "other_chunks", "text_chunks", "thinking_chunks", "type")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.type = get_text_member(block, "type")
        self.text_chunks: list[str] = []
        self.thinking_chunks: list[str] = []
        self.json_chunks: list[str] = []
        self.other_chunks: dict[str, list[str]] = {}

    @property
    def is_respond_call(self) -> bool:
        """Whether this is a call of the synthetic tool, whose input is the response's text."""
        return self.type == "tool_use" and self.block.get("name") == RESPOND_TOOL_NAME

    def apply_deltas_to_block(self) -> None:
        """Put the deltas so far into the block."""
        block = self.block
        known_deltas = {"text": self.text_chunks, "thinking": self.thinking_chunks}
        for name, deltas in (*known_deltas.items(), *self.other_chunks.items()):
            if deltas:
                block[name] = get_text_member(block, name) + "".join(deltas)
                deltas.clear()
        input_json = "".join(self.json_chunks)
        if input_json and not input_json.isspace():
            try:
                block["input"] = _decode_object(input_json)
            except DECODING_ERRORS:
                block["input"] = input_json

    def add_unknown_delta(self, members: dict[str, Any]) -> None:
        """Add a delta of an unknown type: strings are appended, other members replaced."""
        for name, value in members.items():
            if isinstance(value, str) and isinstance(self.block.get(name), str):
                self.other_chunks.setdefault(name, []).append(value)
            else:
                self.other_chunks.pop(name, None)
                self.block[name] = value


class AnthropicMessagesDecoder(StreamDecoder):
    """The ``StreamDecoder`` of Anthropic's Messages API."""

    __slots__ = ("_accumulator", "_blocks", "_open_blocks", "_open_respond_calls")

    def __init__(self) -> None:
        super().__init__(AnthropicMessagesFraming())
        self._accumulator = ResponseAccumulator()
        self._blocks: list[_BlockAccumulator] = []
        self._open_blocks: dict[int | None, _BlockAccumulator] = {}
        self._open_respond_calls: tuple[int | None, ...] = ()
        """The index of the open call of the synthetic tool, if there is one."""

    @property
    def is_complete_without_end_marker(self) -> bool:
        return False  # every server of this format sends the end marker

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chunk = _decode(frame)
        except DECODING_ERRORS:
            if is_done_marker(frame) or is_keep_alive(frame) or _has_unknown_chunk_type(frame):
                return
            chunk = _chunk_decoder.decode(frame)
        chunk_type = chunk.type
        if chunk_type == "content_block_delta":
            delta = chunk.delta
            if delta is None:
                return
            block = self._open_blocks.get(chunk.index) or self._find_or_start_block(
                chunk.index, delta
            )
            if delta.type == "text_delta" and block.type == "text":  # nearly always
                text = delta.text
                if text:
                    block.text_chunks.append(text)
                    events.append(make_chunk_event(text))
            else:
                self._add_non_text_delta(block, delta, frame, events)
        elif chunk_type == "content_block_start":
            self._start_block(chunk.index, chunk.content_block or {}, events)
        elif chunk_type == "content_block_stop":
            self._close_block(self._open_blocks.pop(chunk.index, None), events)
        elif chunk_type == "message_start":
            if isinstance(chunk.message, MessageStart):
                self.keep_raw(frame)
                self._accumulator.add_message_start(chunk.message)
                for index, content_block in enumerate(chunk.message.content or ()):
                    self._start_block(index, content_block, events)
        elif chunk_type == "message_delta":
            self.keep_raw(frame)
            self._accumulator.add_usage(chunk.usage)
            if chunk.delta is not None:
                self._accumulator.add_stop_info(chunk.delta)
        elif chunk_type == "message_stop":
            self.keep_raw(frame)
            self._close_all_blocks(events)
            events.append(self.finish_response())
        elif (
            chunk_type == "error"
            or chunk.error
            or (chunk_type is None and isinstance(chunk.message, str))
        ):
            raise make_status_error(convert_body_to_text(frame), error_object=chunk.error or None)

    merge_raw = staticmethod(merge_message_chunks)

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body)

    def build_response(self) -> ModelResponse:
        return self._build_response_from_blocks(self._blocks)

    def build_partial_response(self) -> ModelResponse:
        # The text of a call of the synthetic tool is emitted when the call is complete. Until then
        # it is not part of the response, and neither is a tool call without a name.
        incomplete = [block for block in self._open_blocks.values() if block.is_respond_call]
        return self._build_response_from_blocks(
            [
                block
                for block in self._blocks
                if block not in incomplete and (block.type != "tool_use" or block.block.get("name"))
            ]
        )

    def _build_response_from_blocks(self, blocks: list[_BlockAccumulator]) -> ModelResponse:
        for block in blocks:
            block.apply_deltas_to_block()
        self._accumulator.blocks = [block.block for block in blocks]
        return self._accumulator.build_response()

    def _find_or_start_block(self, index: int | None, delta: Delta) -> _BlockAccumulator:
        """Return the block of a delta whose index no open block has; start one if there is none.

        Where the delta or the beginning of a block has no index that is one, it is the latest open
        block, or that block, if its type fits.
        """
        block_type = _BLOCK_TYPES_BY_DELTA.get(delta.type or "", "text")
        block = self._open_blocks.get(None)
        if index is None and self._open_blocks:
            block = self._open_blocks[next(reversed(self._open_blocks))]
        if block is not None and (block.type or "").endswith(block_type):
            return block
        return self._start_block(index, {"type": block_type}, [])

    def _start_block(
        self, index: int | None, content_block: Block, events: list[ModelChunkEvent]
    ) -> _BlockAccumulator:
        for open_index in (index, *self._open_respond_calls):
            self._close_block(self._open_blocks.pop(open_index, None), events)
        block = self._open_blocks[index] = _BlockAccumulator(content_block)
        self._open_respond_calls = (index,) if block.is_respond_call else ()
        self._blocks.append(block)
        text = get_text_member(content_block, "text") if block.type == "text" else ""
        thinking = get_text_member(content_block, "thinking") if block.type == "thinking" else ""
        if text or thinking:
            events.append(make_chunk_event(text, thinking))
        return block

    def _add_non_text_delta(
        self, block: _BlockAccumulator, delta: Delta, frame: bytes, events: list[ModelChunkEvent]
    ) -> None:
        """Add a delta of any type but text."""
        match delta.type:
            case "thinking_delta" if block.type == "thinking":
                if delta.thinking:
                    block.thinking_chunks.append(delta.thinking)
                    events.append(make_chunk_event("", delta.thinking))
            case "input_json_delta":
                block.json_chunks.append(delta.partial_json or "")
            case "signature_delta":
                block.block["signature"] = delta.signature or ""
            case "citations_delta":
                if not isinstance(block.block.get("citations"), list):
                    block.block["citations"] = []
                block.block["citations"].append(delta.citation)
            case _:
                members = {**_unknown_delta_decoder.decode(frame).delta}
                members.pop("type", None)
                if block.type == "text" and delta.text:
                    block.text_chunks.append(members.pop("text"))
                    events.append(make_chunk_event(delta.text))
                block.add_unknown_delta(members)

    def _close_block(self, block: _BlockAccumulator | None, events: list[ModelChunkEvent]) -> None:
        """Append an event with the text of the block, if it is a call of the synthetic tool."""
        if block is not None and block.is_respond_call:
            block.apply_deltas_to_block()
            text = canonicalize_tool_input(block.block.get("input"))
            if text:
                events.append(make_chunk_event(text))

    def _close_all_blocks(self, events: list[ModelChunkEvent]) -> None:
        for index in list(self._open_blocks):
            self._close_block(self._open_blocks.pop(index), events)


class _ChunkWithAnyDelta(ResponseStruct):
    delta: dict[str, Any]


class _ChunkType(ResponseStruct):
    type: str | None = None


_unknown_delta_decoder: Final = StructDecoder(_ChunkWithAnyDelta)
_chunk_type_decoder: Final = StructDecoder(_ChunkType)
_KNOWN_CHUNK_TYPES: Final = frozenset(
    {
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "ping",
        "error",
    }
)


def _has_unknown_chunk_type(frame: bytes) -> bool:
    """Return whether a chunk has a type that Locus does not know.

    Its members may then be anything.

    :raises ResponseParseError: if the frame is not a chunk at all.
    """
    chunk_type = _chunk_type_decoder.decode(frame).type
    return chunk_type is not None and chunk_type not in _KNOWN_CHUNK_TYPES
