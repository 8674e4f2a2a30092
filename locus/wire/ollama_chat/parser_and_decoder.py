"""The ``ResponseParser`` of Ollama's chat API: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.response import ModelResponse
from locus.wire.ollama_chat.complete_response import parse_response
from locus.wire.ollama_chat.stream import OllamaChatDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class OllamaChatParser:
    """The ``ResponseParser`` of Ollama's chat API."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response.

        :raises APIStatusError: if the body is an error object.
        :raises ResponseParseError: if the body does not match the format.
        :raises StreamInterruptedError: if the body itself says that the response is incomplete.
        """
        return parse_response(response)

    def make_decoder(self) -> StreamDecoder:
        """Make a new decoder for one streamed response."""
        return OllamaChatDecoder()
