"""A ``CohereChatResponseV2`` that comes in pieces, as server-sent events.

Neither Oracle's documentation nor the ``oci`` package describes the events. Who reads them agrees
(cohere-python, pull request 718; langchain-oracle, ``providers/cohere.py``; NVIDIA NeMo-Relay, pull
request 554) that each is a ``CohereChatResponseV2`` with some of its members, whose contents are
pieces::

    data: {"apiFormat":"COHEREV2","message":{"role":"ASSISTANT",
           "content":[{"type":"THINKING","thinking":"Hm"}]}}
    data: {"message":{"content":[{"type":"TEXT","text":"Rome"}]}}
    data: {"message":{"content":[],"toolCalls":[{"id":…,"type":"FUNCTION","function":{…}}]},
           "finishReason":"TOOL_CALL","usage":{…}}
    data: [DONE]

Should the last event repeat what the pieces were, as that of Cohere's first format does, it adds
nothing. Fragments of a call are joined by its id; one with neither id nor name continues the call
before it. Reasoning is the thinking and the plan (``toolPlan``), in the order in which they came.

``finishReason`` ends the answer. Token counts may come after it; a stream is read up to
``[DONE]``, or until the server closes it in order.
"""

from __future__ import annotations

from typing import Final

import msgspec

from locus.core.events import ModelChunkEvent, chunk_event
from locus.core.response import ModelResponse
from locus.wire.decoder import StreamDecoder
from locus.wire.framing import ServerSentEvents
from locus.wire.oci_chat.cohere_v2_answer import (
    Answer,
    CohereV2ChatParser,
    reader,
)
from locus.wire.oci_chat.envelope import check

_decode: Final = reader.decode


class CohereV2ChatDecoder(StreamDecoder):
    """The ``StreamDecoder`` of Cohere's second format."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        super().__init__(ServerSentEvents())
        self._answer = Answer()

    @property
    def complete(self) -> bool:
        return self._answer.reason is not None

    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chat = _decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            if frame.strip() == b"[DONE]":
                events.append(self.finish())
                return
            chat = reader.read(frame)
        check(chat, frame)
        text, thought = self._answer.add(chat, frame)
        if text or thought:
            events.append(chunk_event(text, thought))

    def read_whole(self, body: bytes) -> ModelResponse:
        return CohereV2ChatParser().parse(body)

    def whole(self) -> ModelResponse:
        return self._answer.response()

    def partial(self) -> ModelResponse:
        self._answer.keep_named_calls()
        return self._answer.response()
