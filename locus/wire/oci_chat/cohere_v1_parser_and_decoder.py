"""The ``ResponseParser`` of Cohere's first format: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.conversation import Messages
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_v1_complete_response import parse_response
from locus.wire.oci_chat.cohere_v1_stream import CohereV1ChatDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class CohereV1ChatParser:
    """The ``ResponseParser`` of Cohere's first format.

    :param used_call_ids: ids that no tool call of a response may get.
    """

    used_call_ids: frozenset[str] = frozenset()

    def with_used_call_ids(self, messages: Messages) -> CohereV1ChatParser:
        """Return a parser that gives no tool call an id that a call in ``messages`` has."""
        if isinstance(messages, (str, Message)):
            messages = () if isinstance(messages, str) else (messages,)
        call_ids = frozenset(call.id for message in messages for call in message.tool_calls)
        return attrs.evolve(self, used_call_ids=self.used_call_ids | call_ids)

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response.

        :raises APIStatusError: if the body is an error object, or a response that reports an error.
        :raises ResponseParseError: if the body does not match the format.
        """
        return parse_response(response, self.used_call_ids)

    def make_decoder(self) -> StreamDecoder:
        """Make a new decoder for one streamed response."""
        return CohereV1ChatDecoder(self.used_call_ids)
