"""``NativeStateBinder``: binds the native state of one call to the server that it is sent to.

See :mod:`locus.core.native_state_routing` for who receives what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.native_state import Maker
from locus.core.native_state_routing import (
    NativeStateRule,
    bind_native_state,
    select_native_state_if_messages,
)
from locus.models.protocols import ResponseParser
from locus.models.transforming_parser import TransformingParser


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

    def bind_parser(self, parser: ResponseParser, body: Mapping[str, Any]) -> ResponseParser:
        """Return a parser that binds its responses to the server.

        :param body: the body of the request.
        """

        def compute_history() -> str | None:
            compute = self.rule.compute_history
            return None if compute is None else compute(body)

        return TransformingParser(
            parser, lambda response: bind_native_state(response, self.maker, compute_history)
        )
