"""Decodes a streamed ``CohereChatResponse`` (Cohere's first format), sent as server-sent events.

Neither Oracle's documentation nor the ``oci`` package describes the chunks. What is known is from
projects that have observed the service: langchain-oracle (``providers/cohere.py``), LiteLLM (pull
request 39965), NVIDIA NeMo-Relay (pull request 554) and Elasticsearch (``ocigenai``)::

    data: {"apiFormat":"COHERE","text":"Rome","pad":"aaaa"}
    data: {"apiFormat":"COHERE","text":" is it","pad":"aa"}
    data: {"apiFormat":"COHERE","text":"Rome is it","toolCalls":[{"name":…,"parameters":{…}}]}
    data: {"apiFormat":"COHERE","text":"Rome is it","chatHistory":[…],"toolCalls":[…],
           "finishReason":"COMPLETE","usage":{…}}
    data: [DONE]

A chunk with tool calls, and the last chunk, repeat the complete text. Text that was emitted cannot
be taken back: of the complete text only what follows the emitted text is added, and if it begins
differently, nothing is. The calls of the last chunk are all calls of the response.
"""

from __future__ import annotations

from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_stream_base import CohereDecoder
from locus.wire.oci_chat.cohere_v1_complete_response import (
    CohereChatResult,
    ResponseAccumulator,
    parse_response,
    result_decoder,
)


class CohereV1ChatDecoder(CohereDecoder[CohereChatResult]):
    """The ``StreamDecoder`` of Cohere's first format.

    :param used_call_ids: ids that no tool call of the response may get.
    """

    __slots__ = ("_used_call_ids",)

    def __init__(self, used_call_ids: frozenset[str] = frozenset()) -> None:
        super().__init__(result_decoder, ResponseAccumulator(used_call_ids))
        self._used_call_ids = used_call_ids

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body, self._used_call_ids)
