"""The ``ResponseParser`` of the chat completions format: complete responses and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from locus.core.frozendict import EMPTY
from locus.core.response import FinishReason, ModelResponse
from locus.wire.chat_completions.complete_response import parse_response
from locus.wire.chat_completions.stream import ChatCompletionsDecoder
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class ChatCompletionsParser:
    """The ``ResponseParser`` of the chat completions format.

    :cvar stop_meanings: what the stop reasons of a host mean that only this host has: a subclass
        for that host defines it.
    """

    stop_meanings: ClassVar[Mapping[str, FinishReason]] = EMPTY

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response.

        :raises APIStatusError: if the body is an error object.
        :raises ResponseParseError: if the body does not follow the format.
        """
        return parse_response(response).with_stop_meanings(self.stop_meanings)

    def make_decoder(self) -> StreamDecoder:
        """Make a decoder for one streamed response."""
        return ChatCompletionsDecoder(self.stop_meanings)
