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
"""

from __future__ import annotations

from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_stream_base import CohereDecoder
from locus.wire.oci_chat.cohere_v2_response import Answer, Chat, CohereV2ChatParser, reader


class CohereV2ChatDecoder(CohereDecoder[Chat]):
    """The ``StreamDecoder`` of Cohere's second format."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(reader, Answer())

    def read_whole(self, body: bytes) -> ModelResponse:
        return CohereV2ChatParser().parse(body)
