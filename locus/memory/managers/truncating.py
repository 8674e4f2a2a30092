"""Long texts cut in the middle: a tool that prints a whole log must not fill the conversation."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Content, Message, Part, Role, TextPart
from locus.memory.managers.base import ConversationManager
from locus.memory.managers.tool_rounds import turns_of

SMALLEST: Final = 100
"""The least that can be asked for: the note about the cut is part of it."""

_LONGEST_CLUSTER: Final = 32  # code points; a longer pile of marks is cut like any text
_JOINER: Final = "\u200d"


def _limit(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < SMALLEST:
        raise ConfigurationError(
            f"{field.name} must be a whole number from {SMALLEST}, for the note about what was "
            f"cut has to fit; not {value!r}"
        )


@attrs.frozen
class TruncatingManager(ConversationManager):
    """Cuts the text of long messages, and drops none.

    The beginning and the end stay; between them stands how much was cut. System messages and what
    the user said last are never cut, nor are images, refusals, thinking, and the arguments of tool
    calls.

    :param max_chars: the longest text of a message, in characters (code points), from 100 up.
    :param max_result_chars: the longest result of a tool; as ``max_chars`` by default.
    :raises ConfigurationError: a limit is no whole number from 100.
    """

    max_chars: int = attrs.field(default=20_000, validator=_limit)
    max_result_chars: int = attrs.field(validator=_limit)

    @max_result_chars.default
    def _as_max_chars(self) -> int:
        return self.max_chars

    def apply(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """The conversation with its long texts cut; messages that are short enough as they are."""
        turns = turns_of(messages)
        spoken = (at for at in range(len(turns) - 1, -1, -1) if turns[at].role is Role.USER)
        last = next(spoken, None)
        return tuple(
            message if at == last or message.role is Role.SYSTEM else self._cut(message)
            for at, message in enumerate(turns)
        )

    def _cut(self, message: Message) -> Message:
        limit = self.max_result_chars if message.role is Role.TOOL else self.max_chars
        text = message.text
        if len(text) > limit:
            message = attrs.evolve(message, content=_shortened(message.content, text, limit))
        error = message.metadata.get("error")  # some wire formats have a place for it, and send it
        if message.role is Role.TOOL and isinstance(error, str) and len(error) > limit:
            short = _shortened(error, error, limit)
            message = attrs.evolve(message, metadata={**message.metadata, "error": short})
        return message


def _shortened(content: Content, text: str, limit: int) -> Content:
    head, tail = _cuts(text, limit)
    note = _note(tail - head)
    if not isinstance(content, tuple):
        return text[:head] + note + text[tail:]
    parts: list[Part] = []
    end = 0
    noted = False
    for part in content:
        if not isinstance(part, TextPart):
            parts.append(part)
            continue
        start, end = end, end + len(part.text)
        # What is left of the part lies before the cut, behind it, or both.
        left = part.text[: max(0, head - start)]
        if not noted and end > head:
            left += note
            noted = True
        left += part.text[max(0, tail - start) :]
        if left:
            parts.append(TextPart(left))
    return tuple(parts)


def _note(count: int) -> str:
    return f"\n[… {count:,} characters cut …]\n"


def _cuts(text: str, limit: int) -> tuple[int, int]:
    """Where the beginning ends and the end begins."""
    room = limit - len(_note(len(text)))
    head = room - room // 2
    tail = len(text) - room // 2
    for _ in range(_LONGEST_CLUSTER):
        if not (head and _joined(text[head - 1], text[head])):
            break
        head -= 1
    for _ in range(_LONGEST_CLUSTER):
        if not (tail < len(text) and _joined(text[tail - 1], text[tail])):
            break
        tail += 1
    return head, tail


def _joined(before: str, after: str) -> bool:
    """Whether two neighbours are one character to a reader: an accent, an emoji's parts."""
    if after.isascii():
        return before == "\r" and after == "\n"
    return (
        before == _JOINER
        or after == _JOINER
        or unicodedata.category(after).startswith("M")  # marks, variation selectors
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # the tones of skin
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
    )
