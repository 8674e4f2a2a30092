"""The ``ResponseParser`` of Cohere's second format: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_v2_complete_response import parse_response
from locus.wire.oci_chat.cohere_v2_stream import CohereV2ChatDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class CohereV2ChatParser:
    """The ``ResponseParser`` of Cohere's second format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response.

        :raises APIStatusError: if the body is an error object, or a response that reports an error.
        :raises ResponseParseError: if the body does not match the format.
        """
        return parse_response(response)

    def make_decoder(self) -> StreamDecoder:
        """Make a new decoder for one streamed response."""
        return CohereV2ChatDecoder()
