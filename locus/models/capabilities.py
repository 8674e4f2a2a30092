"""``ModelCapabilities``: what a model can do, as people and the agent read it before a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.core.messages import PART_TYPES, Part, Role
from locus.core.refused_schema import SchemaRefusal
from locus.core.structured_output_support import (
    SUPPORT_LEVELS,
    StructuredOutputSupport,
    get_lesser_support,
)

PartsByRole: TypeAlias = Mapping[Role, frozenset[type[Part]]]


def _freeze_parts(parts: Mapping[Role, Iterable[type[Part]]]) -> PartsByRole:
    return FrozenDict({Role(role): frozenset(classes) for role, classes in parts.items()})


def _format_parts(parts: PartsByRole) -> str:
    """Format the parts for the repr, in an order that does not change."""
    return repr({str(role): sorted(c.__name__ for c in parts[role]) for role in parts})


def _validate_support(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value not in SUPPORT_LEVELS:
        levels = ", ".join(map(repr, SUPPORT_LEVELS))
        raise ConfigurationError(f"{field.name} is one of {levels}; not {value!r}")


@attrs.frozen(kw_only=True)
class ModelCapabilities:
    """What a model can do. The defaults are those of a model of which nothing is known.

    These are the capabilities of the API and of Locus's wire format for it. A single model of the
    provider may have fewer: not every one reads images, calls tools, or thinks.

    :param structured_output: whether ``response_format`` makes each response fit a schema:
        ``"never"``, ``"without_tools"`` (only in calls without tools), or ``"always"``.
    :param schema_beside_tools: whether a call that has to fit a schema may declare tools, even if
        the model cannot call them then.
    :param server_state: whether the server stores the conversation, so that only new messages are
        sent.
    :param parts: the classes of parts that a message of each role may hold. A part of any other
        class raises an error or is left out. By default every part, which a wire format's
        :class:`~locus.core.accepted_parts.AcceptedParts` then narrow.
    :param tools: whether the model can call tools.
    :param parallel_tool_calls: whether one response may contain several tool calls.
    :param streamed_tool_calls: whether tool calls arrive in a stream, too.
    :param thinking: whether the thinking of a model that thinks is in its response.
    """

    structured_output: StructuredOutputSupport = attrs.field(
        default="never", validator=_validate_support
    )
    schema_beside_tools: bool = False
    server_state: bool = False
    parts: PartsByRole = attrs.field(
        factory=lambda: _EVERY_PART,
        converter=_freeze_parts,
        repr=lambda parts: _format_parts(parts),
    )
    tools: bool = True
    parallel_tool_calls: bool = True
    streamed_tool_calls: bool = True
    thinking: bool = False

    def can_send(self, part_class: type[Part], role: Role | str = Role.USER) -> bool:
        """Return whether a message of this role may hold a part of this class."""
        return part_class in self.parts.get(Role(role), ())

    def limit_parts(self, accepted_parts: AcceptedParts) -> ModelCapabilities:
        """Return the capabilities without the parts that a wire format refuses or leaves out."""
        parts = {}
        for role, classes in self.parts.items():
            handling = accepted_parts.get_handling(role)
            sent = {cls for cls in handling if handling[cls] is not PartHandling.DROPPED}
            parts[role] = classes & sent
        return attrs.evolve(self, parts=parts)

    def limit_structured_output(self, limit: StructuredOutputSupport) -> ModelCapabilities:
        """Return the capabilities with no more structured output than ``limit``.

        Tools beside a schema that needs to have none are then refused as well.
        """
        if limit == "always":
            return self
        support = get_lesser_support(self.structured_output, limit)
        return attrs.evolve(self, structured_output=support, schema_beside_tools=False)

    def adjust_to_properties(
        self, *, supports_structured_output: bool, server_stateful: bool
    ) -> ModelCapabilities:
        """Return the capabilities that agree with two older properties of a model.

        A subclass that overrides one of them need not describe its capabilities anew.
        """
        structured_output = self.structured_output
        if supports_structured_output is not (structured_output == "always"):
            structured_output = "always" if supports_structured_output else "never"
        if structured_output == self.structured_output and server_stateful is self.server_state:
            return self
        return attrs.evolve(self, structured_output=structured_output, server_state=server_stateful)


def get_capabilities(model: Any) -> ModelCapabilities:
    """Return the capabilities of any model, one of the user's own included.

    A model without ``capabilities`` may have ``supports_structured_output`` and
    ``server_stateful``; what it does not have is taken to be missing.
    """
    capabilities = getattr(model, "capabilities", None)
    if isinstance(capabilities, ModelCapabilities):
        return capabilities
    return _UNKNOWN.adjust_to_properties(
        supports_structured_output=bool(getattr(model, "supports_structured_output", False)),
        server_stateful=bool(getattr(model, "server_stateful", False)),
    )


def remember_schema_refusal(model: Any, refusal: SchemaRefusal) -> None:
    """Let a model remember that its server has refused to hold a response to a schema.

    Only if that holds for its other schemas, too, and if the model can remember anything.
    """
    remember = getattr(model, "remember_refused_schema", None)
    if refusal.is_lasting and remember is not None:
        remember(refusal.support)


_EVERY_PART: Final[PartsByRole] = FrozenDict(
    {role: frozenset(cls for cls in PART_TYPES if role in cls.roles) for role in Role}
)
_UNKNOWN: Final = ModelCapabilities()
"""The capabilities of a model of which nothing is known."""
