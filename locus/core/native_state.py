"""``NativeState``: what a provider sent with a response and wants to see again, unchanged.

Providers attach data to a response that only they can read, and that they need in the next request:
signatures of thinking, encrypted reasoning, plain reasoning beside tool calls, blocks and items of
their own, ids, containers. A message, or a tool call, holds it as one frozen value, with the maker
whom it may be sent to. The wire formats put it on and read it;
:mod:`locus.core.native_state_routing` decides who receives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from locus.core.frozendict import FrozenDict, make_frozen_copy, to_frozen_dict


@attrs.frozen
class Maker:
    """Who made native state.

    :param wire_format: the name of the wire format, such as ``"anthropic_messages"``.
    :param address: the address of the server, without credentials; None if it is not known: a
        response that was parsed without a model.
    :param model: the model or its family, as far as it matters to the wire format; None if it is
        not known, or does not matter.
    """

    wire_format: str
    address: str | None = None
    model: str | None = None

    def is_same_server(self, other: Maker) -> bool:
        """Whether both have the same wire format and, as far as it is known, the same address."""
        return self.wire_format == other.wire_format and (
            self.address is None or other.address is None or self.address == other.address
        )

    def is_same_model(self, other: Maker) -> bool:
        """Whether both are, as far as it is known, the same model or family of models."""
        return self.model is None or other.model is None or self.model == other.model


ISSUED_ID: Final = "id"
"""The member of a tool call's state that is the call's id, if its server has issued an unusual one.
Such an id may hold data of the server's own: LiteLLM hides signatures in it."""


def _to_frozen_data(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    frozen: FrozenDict[str, Any] = make_frozen_copy(to_frozen_dict(value, "NativeState.data"))
    return frozen


@attrs.frozen
class NativeState:
    """What a provider wants to see again of a message or a tool call, and who that provider is.

    :param maker: the only one whom it is sent to.
    :param data: JSON, in a form that only the maker's wire format knows.
    :param bound_to_history: whether the maker accepts it only after the same conversation as the
        one that it was made in: signed thinking of newer Claude models is bound so.
    :param history: a digest of that conversation, if it is bound to it; None if it is not known.
    """

    maker: Maker
    data: Mapping[str, Any] = attrs.field(factory=dict, converter=_to_frozen_data, repr=False)
    bound_to_history: bool = False
    history: str | None = attrs.field(default=None, repr=False)
