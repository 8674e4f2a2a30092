"""``TruncatingManager``: cuts the middle out of long texts, such as a log that a tool returned."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Content, Message, Part, Role, TextPart
from locus.memory.managers.base import MAX_QUICK_MESSAGES, ConversationManager
from locus.memory.managers.message_groups import is_user_message, to_message_tuple

MIN_LIMIT: Final = 100
"""The smallest limit: the note about the cut has to fit, too."""

_MAX_CLUSTER_LENGTH: Final = 32  # code points; a longer grapheme cluster may be cut
_ZERO_WIDTH_JOINER: Final = "\u200d"


def _validate_character_limit(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < MIN_LIMIT:
        raise ConfigurationError(
            f"{field.name} must be an integer from {MIN_LIMIT}, because the note about what was "
            f"cut has to fit; not {value!r}"
        )


@attrs.frozen
class TruncatingManager(ConversationManager):
    """Cuts the text of long messages, and drops no message.

    The beginning and the end are kept; a note between them tells how much was cut. System messages
    and the last message of the user are never cut, nor are images, refusals, thinking, and the
    arguments of tool calls.

    :param max_chars: the maximum length of a message's text, in characters (code points), from 100.
    :param max_result_chars: the maximum length of a tool's result; by default ``max_chars``.
    :raises ConfigurationError: if a limit is not an integer of at least 100.
    """

    max_chars: int = attrs.field(default=20_000, validator=_validate_character_limit)
    max_result_chars: int = attrs.field(validator=_validate_character_limit)

    @max_result_chars.default
    def _get_default_max_result_chars(self) -> int:
        return self.max_chars

    def is_quick(self, messages: Sequence[Message]) -> bool:
        """Whether the conversation is short."""
        return len(messages) <= MAX_QUICK_MESSAGES

    def apply(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """Return the conversation with its long texts cut; short messages are unchanged."""
        conversation = to_message_tuple(messages)
        user_positions = (
            position
            for position in range(len(conversation) - 1, -1, -1)
            if is_user_message(conversation[position])
        )
        last_user_position = next(user_positions, None)
        return tuple(
            message
            if position == last_user_position or message.role is Role.SYSTEM
            else self._cut_long_texts_of_message(message)
            for position, message in enumerate(conversation)
        )

    def _cut_long_texts_of_message(self, message: Message) -> Message:
        """Return the message with its text and its error cut, if they exceed the limit."""
        limit = self.max_result_chars if message.role is Role.TOOL else self.max_chars
        text = message.text
        if len(text) > limit:
            content = _cut_middle_of_content(message.all_content, text, limit)
            message = attrs.evolve(message, content=content)
        error = message.metadata.get("error")  # some wire formats send it in a field of its own
        if message.role is Role.TOOL and isinstance(error, str) and len(error) > limit:
            short_error = _cut_middle_of_content(error, error, limit)
            message = attrs.evolve(message, metadata={**message.metadata, "error": short_error})
        return message


def _cut_middle_of_content(content: Content, text: str, limit: int) -> Content:
    """Cut the middle out of ``content``, and put a note in its place.

    :param text: the joined text of its parts.
    """
    cut_start, cut_end = _find_cut_bounds(text, limit)
    note = _format_cut_note(cut_end - cut_start)
    if not isinstance(content, tuple):
        return text[:cut_start] + note + text[cut_end:]
    parts: list[Part] = []
    end = 0
    has_note = False
    for part in content:
        if not isinstance(part, TextPart):
            parts.append(part)
            continue
        start, end = end, end + len(part.text)
        # The rest of the part is before the cut, after it, or both.
        rest = part.text[: max(0, cut_start - start)]
        if not has_note and end > cut_start:
            rest += note
            has_note = True
        rest += part.text[max(0, cut_end - start) :]
        if rest:
            parts.append(TextPart(rest))
    return tuple(parts)


def _format_cut_note(character_count: int) -> str:
    """Format the note that replaces the part that was cut out."""
    return f"\n[… {character_count:,} characters cut …]\n"


def _find_cut_bounds(text: str, limit: int) -> tuple[int, int]:
    """Find the start and the end of the part to cut out; no grapheme cluster is split."""
    kept_length = limit - len(_format_cut_note(len(text)))
    start = kept_length - kept_length // 2
    end = len(text) - kept_length // 2
    for _ in range(_MAX_CLUSTER_LENGTH):
        if not (start and _is_same_cluster(text[start - 1], text[start])):
            break
        start -= 1
    for _ in range(_MAX_CLUSTER_LENGTH):
        if not (end < len(text) and _is_same_cluster(text[end - 1], text[end])):
            break
        end += 1
    return start, end


def _is_same_cluster(before: str, after: str) -> bool:
    """Whether two adjacent characters are displayed as one: accents, the parts of an emoji."""
    if after.isascii():
        return before == "\r" and after == "\n"
    return (
        before == _ZERO_WIDTH_JOINER
        or after == _ZERO_WIDTH_JOINER
        or unicodedata.category(after).startswith("M")  # marks, variation selectors
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones of emoji
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
    )
