"""Decodes a streamed response of ``POST /v2/chat``, sent as server-sent events.

``message-start`` begins the message. Contents come as ``content-start``, ``content-delta`` and
``content-end``; the plan as ``tool-plan-delta``; calls as ``tool-call-start``, ``tool-call-delta``
and ``tool-call-end``; citations as ``citation-start``. ``message-end`` has the finish reason and
the token counts, and ends the stream. Events of other types are ignored.
"""

from __future__ import annotations

from typing import Any, Final

from locus.core.error_body import says_error
from locus.core.errors import ResponseParseError
from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.response import ModelResponse
from locus.wire.cohere_chat.complete_response import (
    NATIVE_STATE_RULE,
    ChatContent,
    ToolCall,
    Usage,
    finish_response,
    make_error,
    normalize_usage,
    parse_response,
)
from locus.wire.cohere_chat.response_accumulator import ResponseAccumulator
from locus.wire.provider_json import DECODING_ERRORS, ResponseStruct, StructDecoder
from locus.wire.stream_decoder import StreamDecoder, is_done_marker, is_keep_alive
from locus.wire.stream_framing import SSEFraming


class StreamedMessage(ResponseStruct):
    """A delta of the message. The SDK's types have single values where a message has lists."""

    content: ChatContent | list[ChatContent] | None = None
    tool_plan: str | None = None
    tool_calls: ToolCall | list[ToolCall] | None = None
    citations: Any = None


class Delta(ResponseStruct):
    message: StreamedMessage | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: Any = None


class Event(ResponseStruct):
    """An event; or an error, which has no type."""

    type: str | None = None
    id: str | None = None
    index: int | None = None
    delta: Delta | None = None
    logprobs: Any = None
    message: Any = None
    error: Any = None


class _TypeOnly(ResponseStruct):
    type: str | None = None


_event_decoder: Final = StructDecoder(Event)
_type_decoder: Final = StructDecoder(_TypeOnly)
_decode: Final = _event_decoder.decode_strict

HANDLED_EVENTS: Final = frozenset(
    {
        "message-start",
        "content-start",
        "content-delta",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-delta",
        "citation-start",
        "message-end",
    }
)
"""The types of events that are read. All others are ignored."""


class CohereChatDecoder(StreamDecoder):
    """The ``StreamDecoder`` of Cohere's chat API."""

    __slots__ = ("_accumulator",)

    def __init__(self) -> None:
        super().__init__(SSEFraming())
        self._accumulator = ResponseAccumulator(NATIVE_STATE_RULE)

    @property
    def is_complete_without_end_marker(self) -> bool:
        return False  # every server of this format sends `message-end`

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            event = _decode(frame)
        except DECODING_ERRORS:
            # Some gateways end the stream like chat completions.
            if is_done_marker(frame) or is_keep_alive(frame):
                return
            try:
                event = _event_decoder.decode(frame)
            except ResponseParseError:
                if _type_decoder.decode(frame).type in (None, *HANDLED_EVENTS):
                    raise
                return
        if event.type not in HANDLED_EVENTS:
            if event.type is None and (says_error(event.error) or event.message):
                raise make_error(event.error, frame)
            return
        delta = event.delta
        message = delta.message if delta is not None else None
        if message is not None:
            self._add_message(event, message, events)
        if event.logprobs is not None:
            accumulator = self._accumulator
            accumulator.add_logprobs([event.logprobs])
        if event.type in ("message-start", "message-end"):
            self._accumulator.response_id = event.id or self._accumulator.response_id
        if event.type == "message-end":
            delta = delta or Delta()
            self.keep_raw(frame)
            self._accumulator.usage = normalize_usage(delta.usage)
            finish_response(self._accumulator, delta.finish_reason, delta.error, frame)
            events.append(self.finish_response())

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body)

    def build_response(self) -> ModelResponse:
        return self._accumulator.build_response()

    def build_partial_response(self) -> ModelResponse:
        self._accumulator.drop_unnamed_calls()
        return self._accumulator.build_response()

    def _add_message(
        self, event: Event, message: StreamedMessage, events: list[ModelChunkEvent]
    ) -> None:
        """Add a delta of the message, and append its event."""
        contents, calls, citations = message.content, message.tool_calls, message.citations
        if contents is None:
            contents = []
        elif isinstance(contents, ChatContent):
            contents = [contents]
        if calls is None:
            calls = []
        elif isinstance(calls, ToolCall):
            calls = [calls]
        if citations is None:
            citations = ()
        elif not isinstance(citations, list):
            citations = (citations,)
        text, reasoning = self._accumulator.add_pieces(
            [content.to_piece() for content in contents],
            message.tool_plan or "",
            [call.to_delta(event.index) for call in calls],
            citations,
        )
        if text or reasoning:
            events.append(make_chunk_event(text, reasoning))
