"""An answer of ``POST /v1/messages`` that comes in pieces.

The events are ``message_start``, then for each block of content ``content_block_start``, deltas
and ``content_block_stop``, then ``message_delta`` with the reason for the end and the token
counts, and ``message_stop``. That last one is the end; a stream without it was cut short. Pings
and events of kinds that do not exist yet say nothing that is needed, as Anthropic's "Versioning"
page asks of clients.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from locus.core.error_factory import make_status_error
from locus.core.events import ModelChunkEvent, chunk_event
from locus.core.response import ModelResponse
from locus.wire.anthropic_messages.content_blocks import Block, text_in
from locus.wire.anthropic_messages.event_stream_framing import MessagesFraming
from locus.wire.anthropic_messages.response import (
    Answer,
    Ending,
    Usage,
    Whole,
    read_whole,
)
from locus.wire.anthropic_messages.structured_output import RESPOND, canonical
from locus.wire.json import Read, Reader, text_of
from locus.wire.stream_decoder import StreamDecoder


class Delta(Ending):
    """A piece of a block; or, in ``message_delta``, the end."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Any = None


class Event(Read):
    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: dict[str, Any] | None = None
    message: Whole | str | None = None
    usage: Usage | None = None
    error: Any = None


_reader: Final = Reader(Event)
_decode: Final = _reader.decode


_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode

# What a server that leaves out ``content_block_start`` has begun, by its first delta.
_BEGUN: Final = {
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}


class _Open:
    """A block whose pieces are still arriving."""

    __slots__ = ("block", "json", "kind", "others", "text", "thinking")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.kind = text_in(block, "type")
        self.text: list[str] = []
        self.thinking: list[str] = []
        self.json: list[str] = []
        self.others: dict[str, list[str]] = {}

    @property
    def is_answer(self) -> bool:
        """Whether this is a call of the synthetic tool, whose input is the answer's text."""
        return self.kind == "tool_use" and self.block.get("name") == RESPOND

    def settle(self) -> None:
        """Put what has arrived into the block."""
        block = self.block
        spoken = {"text": self.text, "thinking": self.thinking}
        for name, pieces in (*spoken.items(), *self.others.items()):
            if pieces:
                block[name] = text_in(block, name) + "".join(pieces)
                pieces.clear()
        written = "".join(self.json)
        if written and not written.isspace():
            try:
                block["input"] = _decode_object(written)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                block["input"] = written

    def merge(self, members: dict[str, Any]) -> None:
        """Add a delta of a kind that is not known: its text to the block's, all else as it is."""
        for name, value in members.items():
            if isinstance(value, str) and isinstance(self.block.get(name), str):
                self.others.setdefault(name, []).append(value)
            else:
                self.others.pop(name, None)
                self.block[name] = value


class AnthropicMessagesDecoder(StreamDecoder):
    """The ``StreamDecoder`` of the messages format."""

    __slots__ = ("_answer", "_answering", "_blocks", "_open")

    def __init__(self) -> None:
        super().__init__(MessagesFraming())
        self._answer = Answer()
        self._blocks: list[_Open] = []
        self._open: dict[int | None, _Open] = {}
        self._answering: tuple[int | None, ...] = ()  # the synthetic tool's call that is open

    @property
    def complete(self) -> bool:
        return False  # every server of this format sends its end marker

    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            event = _decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            if frame.strip() == b"[DONE]" or _is_unknown(frame):  # the first is OpenAI's end
                return
            event = _reader.read(frame)
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta
            if delta is None:
                return
            block = self._open.get(event.index) or self._begin(event.index, delta)
            if delta.type == "text_delta" and block.kind == "text":  # nearly always
                text = delta.text
                if text:
                    block.text.append(text)
                    events.append(chunk_event(text))
            else:
                self._add(block, delta, frame, events)
        elif kind == "content_block_start":
            self._start(event.index, event.content_block or {}, events)
        elif kind == "content_block_stop":
            self._close(self._open.pop(event.index, None), events)
        elif kind == "message_start":
            if isinstance(event.message, Whole):
                self._answer.begin(event.message)
                for index, found in enumerate(event.message.content or ()):
                    self._start(index, found, events)
        elif kind == "message_delta":
            self._answer.count(event.usage)
            if event.delta is not None:
                self._answer.end(event.delta)
        elif kind == "message_stop":
            self._close_all(events)
            events.append(self.finish())
        elif kind == "error" or event.error or (kind is None and isinstance(event.message, str)):
            raise make_status_error(text_of(frame), error=event.error or None)

    def read_whole(self, body: bytes) -> ModelResponse:
        return read_whole(body)

    def whole(self) -> ModelResponse:
        return self._response(self._blocks)

    def partial(self) -> ModelResponse:
        # The answer of a synthetic tool is handed out when it is whole, and only then is in here.
        waiting = [block for block in self._open.values() if block.is_answer]
        return self._response(
            [
                block
                for block in self._blocks
                if block not in waiting and (block.kind != "tool_use" or block.block.get("name"))
            ]
        )

    def _response(self, blocks: list[_Open]) -> ModelResponse:
        for block in blocks:
            block.settle()
        self._answer.blocks = [block.block for block in blocks]
        return self._answer.response()

    def _begin(self, index: int | None, delta: Delta) -> _Open:
        kind = _BEGUN.get(delta.type or "", "text")
        return self._start(index, {"type": kind}, [])

    def _start(self, index: int | None, block: Block, events: list[ModelChunkEvent]) -> _Open:
        for other in (index, *self._answering):
            self._close(self._open.pop(other, None), events)
        begun = self._open[index] = _Open(block)
        self._answering = (index,) if begun.is_answer else ()
        self._blocks.append(begun)
        text = text_in(block, "text") if begun.kind == "text" else ""
        thought = text_in(block, "thinking") if begun.kind == "thinking" else ""
        if text or thought:
            events.append(chunk_event(text, thought))
        return begun

    def _add(self, open_: _Open, delta: Delta, frame: bytes, events: list[ModelChunkEvent]) -> None:
        """Take in a delta of any kind but text."""
        match delta.type:
            case "thinking_delta" if open_.kind == "thinking":
                if delta.thinking:
                    open_.thinking.append(delta.thinking)
                    events.append(chunk_event("", delta.thinking))
            case "input_json_delta":
                open_.json.append(delta.partial_json or "")
            case "signature_delta":
                open_.block["signature"] = delta.signature or ""
            case "citations_delta":
                if not isinstance(open_.block.get("citations"), list):
                    open_.block["citations"] = []
                open_.block["citations"].append(delta.citation)
            case _:
                members = {**_unknown.read(frame).delta}
                members.pop("type", None)
                if open_.kind == "text" and delta.text:
                    open_.text.append(members.pop("text"))
                    events.append(chunk_event(delta.text))
                open_.merge(members)

    def _close(self, block: _Open | None, events: list[ModelChunkEvent]) -> None:
        if block is not None and block.is_answer:
            block.settle()
            text = canonical(block.block.get("input"))
            if text:
                events.append(chunk_event(text))

    def _close_all(self, events: list[ModelChunkEvent]) -> None:
        for index in list(self._open):
            self._close(self._open.pop(index), events)


class _Unknown(Read):
    delta: dict[str, Any]


class _Kind(Read):
    type: str | None = None


_unknown: Final = Reader(_Unknown)
_kind: Final = Reader(_Kind)
_KINDS: Final = frozenset(
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


def _is_unknown(frame: bytes) -> bool:
    """Whether it is an event of a kind that is not read, whose members may be anything.

    :raises ResponseParseError: it is no event at all.
    """
    kind = _kind.read(frame).type
    return kind is not None and kind not in _KINDS
