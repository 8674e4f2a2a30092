"""Parses tool calls from generated text, complete or streamed.

Streamed text that does not begin with a tool call is emitted as it arrives. Text that does is held
back until the response is complete, since a tool call is not part of the visible text. Whatever
turns out not to be a tool call stays in the response as text, except for the beginning of a call
that was cut off before it had a name.
"""

from __future__ import annotations

import json
import re
from typing import Final

import attrs

from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError, StreamInterruptedError
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message, ToolCall
from locus.core.response import Candidate, ModelResponse
from locus.wire.prompted_tools.llguidance_grammar import CALL_END, CALL_START
from locus.wire.response_parts import make_tool_call_id
from locus.wire.stream_decoder import make_final_event

_CALL_HEAD: Final = re.compile(
    r'<tool_call>\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*', re.DOTALL
)
_CALL_END_PREFIXES: Final = "|".join(CALL_END[:end] for end in range(len(CALL_END)))
_CALL_TAIL: Final = re.compile(rf"\s*\}}\s*(?:{CALL_END}\s*|(?:{_CALL_END_PREFIXES})\Z)")
_decode_json_value: Final = json.JSONDecoder(strict=False).raw_decode


def make_response_with_tool_calls(response: ModelResponse) -> ModelResponse:
    """Return a copy of the response whose ``tool_calls`` are those written in its text."""
    response_id = response.response_id or ""
    candidates = tuple(
        attrs.evolve(
            candidate,
            message=_make_message_with_tool_calls(candidate, f"{response_id} {index or ''}"),
        )
        for index, candidate in enumerate(response.candidates)
    )
    message = (
        candidates[0].message
        if candidates
        else _make_message_with_tool_calls(response, f"{response_id} ")
    )
    return attrs.evolve(response, message=message, candidates=candidates)


def _make_message_with_tool_calls(
    candidate: ModelResponse | Candidate, response_key: str
) -> Message:
    """Return the message of a candidate with the calls in its text as ``tool_calls``."""
    message = candidate.message
    text = message.all_content
    if not isinstance(text, str) or not text.startswith(CALL_START):
        return message
    calls, rest = parse_leading_tool_calls(text, response_key)
    if candidate.stop_reason == "length" and rest.startswith(CALL_START):
        rest = ""  # the beginning of a call without a name, and no visible text
    if not calls:
        return attrs.evolve(message, content=rest)
    return attrs.evolve(message, content=rest or None, tool_calls=(*message.tool_calls, *calls))


def parse_leading_tool_calls(text: str, response_key: str) -> tuple[list[ToolCall], str]:
    """Parse the tool calls at the beginning of ``text``; return them and the text after them.

    If a call was cut off or its arguments are not valid JSON, the rest of the text becomes its
    ``malformed_arguments``.

    :param response_key: identifies the response. Call ids are computed from it, so that they are
    the same each time the response is parsed.
    """
    calls: list[ToolCall] = []
    end = 0
    while head := _CALL_HEAD.match(text, end):
        name = _decode_tool_name(head[1])
        if name is None:
            break
        try:
            tail = _CALL_TAIL.match(text, _decode_json_value(text, head.end())[1])
        except (ValueError, RecursionError):
            tail = None
        end = len(text) if tail is None else tail.end()
        arguments = text[head.end() : end if tail is None else tail.start()]
        call_id = make_tool_call_id(response_key, len(calls), name, arguments)
        calls.append(ToolCall.from_json(call_id, name, arguments))
    return calls, text[end:]


def _decode_tool_name(json_text: str) -> str | None:
    """Decode a JSON string; return None if it is invalid or empty."""
    try:
        name: str = json.loads(json_text, strict=False)
    except ValueError:
        return None
    return name or None


class PromptedToolsDecoder:
    """Decodes a streamed response with another decoder, and parses tool calls from its text."""

    __slots__ = ("_decoder", "_held_text", "_is_text")

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._held_text = ""
        self._is_text = False
        """Whether the response has turned out not to begin with a tool call."""

    @property
    def done(self) -> bool:
        """Whether the response is complete."""
        return self._decoder.done

    @property
    def failure(self) -> APIError | None:
        """The error to be raised after the events so far, if there is one."""
        failure = self._decoder.failure
        if failure is not None and failure.partial is not None:
            failure.partial = make_response_with_tool_calls(failure.partial)
        return failure

    def limit_frames(self, max_bytes: int) -> None:
        """Set how large an event or a line may be."""
        self._decoder.limit_frames(max_bytes)

    def feed(self, data: bytes) -> list[ModelChunkEvent]:
        """Decode more bytes, and return the events that they complete."""
        return self._remove_call_text(self._decoder.feed(data))

    def close(self) -> list[ModelChunkEvent]:
        """Return the remaining events, once the server has closed the stream normally."""
        return self._remove_call_text(self._decoder.close())

    def make_interruption_error(self, detail: str) -> StreamInterruptedError:
        """Return the error for a stream that was cut off, with the partial response."""
        error = self._decoder.make_interruption_error(detail)
        error.partial = (
            None if error.partial is None else make_response_with_tool_calls(error.partial)
        )
        return error

    def _remove_call_text(self, events: list[ModelChunkEvent]) -> list[ModelChunkEvent]:
        """Return the events without the text that is or may become a tool call."""
        filtered = []
        for event in events:
            if event.done:
                filtered.append(self._build_final_event(event))
            elif event.content and not self._is_text:
                if len(self._held_text) < len(CALL_START):  # else it is known to be a call
                    self._held_text += event.content
                event = attrs.evolve(event, content=self._release_text())
                if event.content or event.reasoning:
                    filtered.append(event)
            else:
                filtered.append(event)
        return filtered

    def _release_text(self) -> str | None:
        """Return the text that was held back, or None while it may still be a tool call."""
        if self._held_text.startswith(CALL_START) or CALL_START.startswith(self._held_text):
            return None
        self._is_text = True
        return self._held_text

    def _build_final_event(self, event: ModelChunkEvent) -> ModelChunkEvent:
        if event.response is None:
            return event
        response = make_response_with_tool_calls(event.response)
        content = event.content if self._is_text else response.content or None
        return make_final_event(response, content, event.reasoning)
