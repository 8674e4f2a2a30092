"""Decodes a streamed ``CohereChatResponseV2`` (Cohere's second format), sent as server-sent events.

Neither Oracle's documentation nor the ``oci`` package describes the chunks. The projects that parse
them (cohere-python, pull request 718; langchain-oracle, ``providers/cohere.py``; NVIDIA NeMo-Relay,
pull request 554) agree that each is a ``CohereChatResponseV2`` with some of its members, and that
its contents are deltas::

    data: {"apiFormat":"COHEREV2","message":{"role":"ASSISTANT",
           "content":[{"type":"THINKING","thinking":"Hm"}]}}
    data: {"message":{"content":[{"type":"TEXT","text":"Rome"}]}}
    data: {"message":{"content":[],"toolCalls":[{"id":…,"type":"FUNCTION","function":{…}}]},
           "finishReason":"TOOL_CALL","usage":{…}}
    data: [DONE]

If the last chunk repeats the content of the others, as that of Cohere's first format does, it adds
nothing. Deltas of a tool call are matched by its id; a delta with neither id nor name belongs to
the latest call. Reasoning is the thinking and the plan (``toolPlan``), in the order in which they
arrive.
"""

from __future__ import annotations

from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_stream_base import CohereDecoder
from locus.wire.oci_chat.cohere_v2_complete_response import (
    CohereChatResult,
    OracleResponseAccumulator,
    parse_response,
    result_decoder,
)


class CohereV2ChatDecoder(CohereDecoder[CohereChatResult]):
    """The ``StreamDecoder`` of Cohere's second format."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(result_decoder, OracleResponseAccumulator())

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body)
