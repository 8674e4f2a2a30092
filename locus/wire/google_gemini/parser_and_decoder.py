"""``GeminiParser``: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.response import ModelResponse
from locus.wire.google_gemini.complete_response import parse_response
from locus.wire.google_gemini.stream import GeminiDecoder


@attrs.frozen
class GeminiParser:
    """The ``ResponseParser`` of Google's Gemini API."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse a complete response.

        :raises APIError: if it is an error, or is not complete.
        """
        return parse_response(response)

    def make_decoder(self) -> GeminiDecoder:
        """Make a decoder for one stream."""
        return GeminiDecoder()
