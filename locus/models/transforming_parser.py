"""``TransformingParser``: a parser whose responses are changed before anybody receives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from locus.core.decoder_protocol import Decoder
from locus.core.response import ModelResponse
from locus.models.protocols import ResponseParser
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class TransformingParser:
    """A parser whose responses, whole and streamed, are changed.

    :param parser: parses the responses; it may transform them, too, and does so first.
    :param transform: changes a response, be it complete or what has come of one.
    """

    parser: ResponseParser
    transform: Callable[[ModelResponse], ModelResponse]

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response, and change it."""
        return self.transform(self.parser.parse(response))

    def make_decoder(self) -> Decoder:
        """Make a decoder for one streamed response, which changes it."""
        decoder = self.parser.make_decoder()
        if isinstance(decoder, StreamDecoder):
            transform_first, transform = decoder.transform_response, self.transform
            decoder.transform_response = (
                transform
                if transform_first is None
                else lambda response: transform(transform_first(response))
            )
        return decoder
