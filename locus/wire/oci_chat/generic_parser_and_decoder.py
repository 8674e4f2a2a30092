"""The ``ResponseParser`` of the generic format: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.response import ModelResponse
from locus.wire.oci_chat.generic_complete_response import parse_response
from locus.wire.oci_chat.generic_stream import GenericChatDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class GenericChatParser:
    """The ``ResponseParser`` of the generic format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response. A tool call without an id gets a new random one.

        :raises APIStatusError: if the body is an error object.
        :raises ResponseParseError: if the body does not match the format.
        """
        return parse_response(response)

    def make_decoder(self) -> StreamDecoder:
        """Make a new decoder for one streamed response."""
        return GenericChatDecoder()
