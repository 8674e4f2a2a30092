"""The levels of structured output: whether a response can be made to fit a schema."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

StructuredOutputSupport: TypeAlias = Literal["never", "without_tools", "always"]
"""``"without_tools"``: only in a call without tools."""
SUPPORT_LEVELS: Final[tuple[StructuredOutputSupport, ...]] = ("never", "without_tools", "always")
"""The least first."""


def get_lesser_support(
    one: StructuredOutputSupport, other: StructuredOutputSupport
) -> StructuredOutputSupport:
    """Return the lesser of two levels."""
    return min(one, other, key=SUPPORT_LEVELS.index)
