"""A ``CohereChatResponse`` that comes in pieces, as server-sent events.

Neither Oracle's documentation nor the ``oci`` package describes the events. What is known comes
from those who have watched the service: langchain-oracle (``providers/cohere.py``), LiteLLM (pull
request 39965), NVIDIA NeMo-Relay (pull request 554) and Elasticsearch (``ocigenai``)::

    data: {"apiFormat":"COHERE","text":"Rome","pad":"aaaa"}
    data: {"apiFormat":"COHERE","text":" is it","pad":"aa"}
    data: {"apiFormat":"COHERE","text":"Rome is it","toolCalls":[{"name":…,"parameters":{…}}]}
    data: {"apiFormat":"COHERE","text":"Rome is it","chatHistory":[…],"toolCalls":[…],
           "finishReason":"COMPLETE","usage":{…}}
    data: [DONE]

An event with tool calls, and the one that ends the answer, repeat the whole text. What was handed
out cannot be taken back: such a text only adds what it has beyond the pieces, and where it is not
their continuation, the pieces stand. The calls of the last event are all of the answer's.

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
from locus.wire.oci_chat.cohere_answer import Answer, CohereChatParser, reader
from locus.wire.oci_chat.envelope import check

_decode: Final = reader.decode


class CohereChatDecoder(StreamDecoder):
    """The ``StreamDecoder`` of Cohere's first format."""

    __slots__ = ("_answer", "_taken")

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        super().__init__(ServerSentEvents())
        self._taken = taken
        self._answer = Answer(taken)

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
        if text := self._answer.add(chat, frame):
            events.append(chunk_event(text))

    def read_whole(self, body: bytes) -> ModelResponse:
        return CohereChatParser(self._taken).parse(body)

    def whole(self) -> ModelResponse:
        return self._answer.response()

    def partial(self) -> ModelResponse:
        self._answer.keep_named_calls()
        return self._answer.response()
