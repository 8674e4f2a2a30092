"""The ``ResponseParser`` of Anthropic's Messages API: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.response import ModelResponse
from locus.wire.anthropic_messages.complete_response import parse_response
from locus.wire.anthropic_messages.stream import AnthropicMessagesDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class AnthropicMessagesParser:
    """The ``ResponseParser`` of Anthropic's Messages API."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response.

        :raises APIStatusError: if the body is an error object.
        :raises ResponseParseError: if the body does not match the format.
        """
        return parse_response(response)

    def make_decoder(self) -> StreamDecoder:
        """Make a new decoder for one streamed response."""
        return AnthropicMessagesDecoder()
