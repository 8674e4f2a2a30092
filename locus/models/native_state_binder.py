"""``NativeStateBinder``: binds the native state of one call to the server that it is sent to.

See :mod:`locus.core.native_state_routing` for who receives what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.decoder_protocol import Decoder
from locus.core.native_state import Maker
from locus.core.native_state_routing import (
    NativeStateRule,
    bind_native_state,
    select_native_state_if_messages,
)
from locus.core.response import ModelResponse
from locus.models.protocols import ResponseParser
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class BoundParser:
    """A parser whose responses have their native state bound to the server that sent them.

    :param parser: parses the responses.
    :param rule: the rule of the wire format.
    :param maker: the server and the model.
    :param body: the body of the request.
    """

    parser: ResponseParser
    rule: NativeStateRule
    maker: Maker
    body: Mapping[str, Any]

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a complete response, and bind it."""
        return self._bind_response(self.parser.parse(response))

    def make_decoder(self) -> Decoder:
        """Make a decoder for one streamed response, which binds it."""
        decoder = self.parser.make_decoder()
        if isinstance(decoder, StreamDecoder):
            decoder.transform_response = self._bind_response
        return decoder

    def _bind_response(self, response: ModelResponse) -> ModelResponse:
        return bind_native_state(response, self.maker, self._compute_history)

    def _compute_history(self) -> str | None:
        compute = self.rule.compute_history
        return None if compute is None else compute(self.body)


@attrs.frozen
class NativeStateBinder:
    """Binds the native state of one call.

    :param rule: the rule of the wire format.
    :param maker: the server and the model that the call is sent to.
    """

    rule: NativeStateRule
    maker: Maker

    def select(self, messages: Any) -> Any:
        """Return the messages with the native state that may be sent to the server.

        :param messages: what the caller passed; it may be no conversation at all.
        """
        return select_native_state_if_messages(messages, self.maker, self.rule)

    def bind_parser(self, parser: ResponseParser, body: Mapping[str, Any]) -> BoundParser:
        """Return a parser that binds its responses to the server.

        :param body: the body of the request.
        """
        return BoundParser(parser, self.rule, self.maker, body)
