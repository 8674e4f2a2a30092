"""Calls that a model has written into its text, read out of it: at once, or as the text arrives.

Text that does not begin as a call goes out as it comes. Text that does is kept back until the
answer is complete, since it is none of what the model says. Whatever is no call after all stays in
the answer as text, but for the beginning of one that was cut off before it had a name.
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
from locus.wire.decoding import made_id
from locus.wire.prompted_tools.grammar import CLOSE, OPEN
from locus.wire.stream_decoder import last_event

_HEAD: Final = re.compile(
    r'<tool_call>\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*', re.DOTALL
)
_CUT: Final = "|".join(CLOSE[:end] for end in range(len(CLOSE)))
_TAIL: Final = re.compile(rf"\s*\}}\s*(?:{CLOSE}\s*|(?:{_CUT})\Z)")
_whole_value: Final = json.JSONDecoder(strict=False).raw_decode


def with_calls(response: ModelResponse) -> ModelResponse:
    """The answer, with the calls that its text makes."""
    source = response.response_id or ""
    candidates = tuple(
        attrs.evolve(candidate, message=_calling(candidate, f"{source} {at or ''}"))
        for at, candidate in enumerate(response.candidates)
    )
    message = candidates[0].message if candidates else _calling(response, f"{source} ")
    return attrs.evolve(response, message=message, candidates=candidates)


def _calling(answer: ModelResponse | Candidate, source: str) -> Message:
    message = answer.message
    said = message.content
    if not isinstance(said, str) or not said.startswith(OPEN):
        return message
    calls, rest = calls_in(said, source)
    if answer.stop_reason == "length" and rest.startswith(OPEN):
        rest = ""  # the beginning of a call of who knows what; nothing that was said
    if not calls:
        return attrs.evolve(message, content=rest)
    return attrs.evolve(message, content=rest or None, tool_calls=(*message.tool_calls, *calls))


def calls_in(text: str, source: str) -> tuple[list[ToolCall], str]:
    """The calls with which ``text`` begins, and the text behind them.

    One that was cut short, or whose arguments are no JSON, has the rest of the text as its
    ``malformed_arguments``.

    :param source: names the answer; ids of calls are made from it, so that they are the same
        however often it is read.
    """
    calls: list[ToolCall] = []
    rest = 0
    while head := _HEAD.match(text, rest):
        name = _name(head[1])
        if name is None:
            break
        try:
            tail = _TAIL.match(text, _whole_value(text, head.end())[1])
        except (ValueError, RecursionError):
            tail = None
        rest = len(text) if tail is None else tail.end()
        arguments = text[head.end() : rest if tail is None else tail.start()]
        identity = made_id(source, len(calls), name, arguments)
        calls.append(ToolCall.from_json(identity, name, arguments))
    return calls, text[rest:]


def _name(written: str) -> str | None:
    try:
        name: str = json.loads(written, strict=False)
    except ValueError:
        return None
    return name or None


class CallsInText:
    """Reads a streamed answer by way of another decoder, and the calls out of its text."""

    __slots__ = ("_decoder", "_held", "_speaks")

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._held = ""
        self._speaks = False  # it was seen to be no call, so the text goes out as it comes

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self._decoder.done

    @property
    def failure(self) -> APIError | None:
        """What went wrong, to be raised after the events given so far."""
        failure = self._decoder.failure
        if failure is not None and failure.partial is not None:
            failure.partial = with_calls(failure.partial)
        return failure

    def feed(self, data: bytes) -> list[ModelChunkEvent]:
        """The events that ``data`` completes."""
        return self._seen(self._decoder.feed(data))

    def close(self) -> list[ModelChunkEvent]:
        """The events left once the server has closed the stream in order."""
        return self._seen(self._decoder.close())

    def interrupted(self, where: str) -> StreamInterruptedError:
        """The error for a stream that was cut, with what had arrived."""
        error = self._decoder.interrupted(where)
        error.partial = None if error.partial is None else with_calls(error.partial)
        return error

    def _seen(self, events: list[ModelChunkEvent]) -> list[ModelChunkEvent]:
        shown = []
        for event in events:
            if event.done:
                shown.append(self._last(event))
            elif event.content and not self._speaks:
                self._held += event.content
                event = attrs.evolve(event, content=self._released())
                if event.content or event.reasoning:
                    shown.append(event)
            else:
                shown.append(event)
        return shown

    def _released(self) -> str | None:
        """What was kept back, once it is seen to be no call."""
        if self._held.startswith(OPEN) or OPEN.startswith(self._held):
            return None
        self._speaks = True
        return self._held

    def _last(self, event: ModelChunkEvent) -> ModelChunkEvent:
        if event.response is None:
            return event
        whole = with_calls(event.response)
        content = event.content if self._speaks else whole.content or None
        return last_event(whole, content, event.reasoning)
