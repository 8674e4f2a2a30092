"""Declares what a wire format does with the parts of messages, and checks messages against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import ImagePart, Message, Part, Role, TextPart, ThinkingPart


class PartHandling(Enum):
    """What a format does with the parts of one class in messages of one role.

    The rule by which a part is left out is in ``docs/portability.md``.
    """

    CARRIED = "carried"
    AS_TEXT = "as text"
    """Carried, among the text."""
    MOVED = "in a user message"
    """Carried by a message of the user's after the results of the tools; for images in results."""
    CARRIED_IF_SIGNED = "carried if signed"
    """Thinking with a signature, or redacted, is carried. Other thinking is left out."""
    CARRIED_IF_UNSIGNED = "carried if unsigned"
    """Thinking without a signature is carried. That of another provider is left out."""
    DROPPED = "dropped"

    def carries(self, part: Part) -> bool:
        """Whether the content of ``part`` is in the request; otherwise it is left out."""
        match self:
            case PartHandling.CARRIED | PartHandling.AS_TEXT | PartHandling.MOVED:
                return True
            case PartHandling.CARRIED_IF_SIGNED:
                return isinstance(part, ThinkingPart) and (
                    bool(part.signature) or part.redacted is not None
                )
            case PartHandling.CARRIED_IF_UNSIGNED:
                return (
                    isinstance(part, ThinkingPart)
                    and part.signature is None
                    and part.redacted is None
                )
            case PartHandling.DROPPED:
                return False


HandlingByPart = Mapping[type[Part], PartHandling]

_TEXT_ONLY: Final[HandlingByPart] = FrozenDict({TextPart: PartHandling.CARRIED})


def _to_frozen_handling(value: HandlingByPart) -> FrozenDict[type[Part], PartHandling]:
    return FrozenDict(value)


@attrs.frozen
class AcceptedParts:
    """What a wire format does with each class of parts, by the role of the message.

    A class that is not listed for a role is refused there. So a part class that is new to Locus is
    refused by each format that does not say what it does with it.

    :param format_name: the format or the provider, for error messages.
    :param system: the parts of system messages; by default text only, as for the other roles.
    :param user: the parts of the user's messages.
    :param assistant: the parts of the assistant's messages.
    :param tool: the parts of tool results.
    :param advice: what to do if a part of a class is refused, for the error message.
    """

    format_name: str = "this model's format"
    system: HandlingByPart = attrs.field(default=_TEXT_ONLY, converter=_to_frozen_handling)
    user: HandlingByPart = attrs.field(default=_TEXT_ONLY, converter=_to_frozen_handling)
    assistant: HandlingByPart = attrs.field(default=_TEXT_ONLY, converter=_to_frozen_handling)
    tool: HandlingByPart = attrs.field(default=_TEXT_ONLY, converter=_to_frozen_handling)
    advice: Mapping[Any, str] = EMPTY

    def get_handling(self, role: Role) -> HandlingByPart:
        """Return what the format does with the parts of messages of a role."""
        # No match and no dictionary: these are slow with an enum, and every request asks.
        if role is Role.USER:
            return self.user
        if role is Role.ASSISTANT:
            return self.assistant
        return self.tool if role is Role.TOOL else self.system

    @property
    def moves_result_images(self) -> bool:
        """Whether the images of a tool's result go into a message of the user's."""
        return self.tool.get(ImagePart) is PartHandling.MOVED

    def check_messages(self, messages: Sequence[Message]) -> None:
        """Check that the format accepts each part of a conversation.

        :raises ConfigurationError: if it does not. The message names the position and the class of
            the part, the role, the format, and what to do.
        """
        for position, message in enumerate(messages):
            content = message.all_content
            if not isinstance(content, tuple):
                continue
            handling = self.get_handling(message.role)
            for part in content:
                if type(part) not in handling:
                    path = f"messages[{position}].content[{content.index(part)}]"
                    raise ConfigurationError(
                        f"{path} is of the class {type(part).__name__}: "
                        f"{self._describe_refusal(message.role, part)}"
                    )

    def _describe_refusal(self, role: Role, part: Part) -> str:
        """Say that ``part`` is refused in messages of a role, where it is accepted, what to do."""
        cls = type(part)
        reason = f"{self.format_name} accepts no {part.plural} in {role} messages"
        roles = [other for other in Role if cls in self.get_handling(other)]
        if roles:
            reason += f", only in {' and '.join(roles)} messages"
        if cls in self.advice:
            return f"{reason}. {self.advice[cls]}"
        if Role.USER in roles:
            return f"{reason}. Put it into a user message, or leave it out"
        return f"{reason}. Leave it out, or use a model whose format accepts it"


TEXT_PARTS_ONLY: Final = AcceptedParts()
"""What a format accepts that declares nothing: text."""
