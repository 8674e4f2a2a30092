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
"""

from __future__ import annotations

from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_response import Answer, Chat, CohereChatParser, reader
from locus.wire.oci_chat.cohere_stream_base import CohereDecoder


class CohereChatDecoder(CohereDecoder[Chat]):
    """The ``StreamDecoder`` of Cohere's first format."""

    __slots__ = ("_taken",)

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        super().__init__(reader, Answer(taken))
        self._taken = taken

    def read_whole(self, body: bytes) -> ModelResponse:
        return CohereChatParser(self._taken).parse(body)
