"""Functions that other processes can import, as tools and not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from locus.tools import tool

if TYPE_CHECKING:
    from locus.tools import ToolContext


@tool
def weather(city: str, days: int = 3) -> str:
    """The weather in a city.

    :param city: where
    :param days: how many days ahead
    """
    return f"{city}: {days} days of rain"


@tool(name="slow", idempotent=True, timeout=2.5)
async def slowly(text: str) -> str:
    """Say it again."""
    return text


def plain(number: int) -> int:
    """Twice as much."""
    return 2 * number


renamed = tool(plain, name="double", description="Doubles.")


def whose(ctx: ToolContext, key: str) -> str:
    return f"{ctx.tool_call_id} {key}"


@attrs.frozen
class Station:
    """Somewhere."""

    place: str

    @tool
    def forecast(self, days: int = 1) -> str:
        """The forecast here."""
        return f"{self.place} in {days}"

    def plain(self, days: int = 1) -> str:
        """Plainly."""
        return f"{self.place} in {days}"
