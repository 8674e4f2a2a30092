"""The ``ResponseParser`` of the responses format: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.make_status_error import make_status_error
from locus.core.response import ModelResponse
from locus.wire.responses.complete_response import StatusErrorFactory, parse_response
from locus.wire.responses.stream import ResponsesDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class ResponsesParser:
    """The ``ResponseParser`` of the responses format.

    :param store: whether the server stores the responses. Then each has a ``provider_state``.
    :param error_factory: makes the exception for an error object inside a response.
    """

    store: bool = True
    error_factory: StatusErrorFactory = make_status_error

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response.

        :raises APIStatusError: if the response failed, or the body is an error object.
        :raises ResponseParseError: if the body does not follow the format.
        """
        return parse_response(response, self.store, self.error_factory)

    def make_decoder(self) -> StreamDecoder:
        """Make a decoder for one streamed response."""
        return ResponsesDecoder(self.store, self.error_factory)
