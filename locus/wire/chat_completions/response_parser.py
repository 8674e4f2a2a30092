"""The ``ResponseParser`` of the chat completions format: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.response import ModelResponse
from locus.wire.chat_completions.complete_response import parse_response
from locus.wire.chat_completions.stream import ChatCompletionsDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class ChatCompletionsParser:
    """The ``ResponseParser`` of the chat completions format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response.

        :raises APIStatusError: if the body is an error object.
        :raises ResponseParseError: if the body does not follow the format.
        """
        return parse_response(response)

    def make_decoder(self) -> StreamDecoder:
        """Make a decoder for one streamed response."""
        return ChatCompletionsDecoder()
