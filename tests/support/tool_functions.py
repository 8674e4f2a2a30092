"""Tools and functions that other processes can import."""

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
async def repeat(text: str) -> str:
    """Repeat a text."""
    return text


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


renamed = tool(double, name="twice", description="Doubles.")


def format_call_id(ctx: ToolContext, key: str) -> str:
    return f"{ctx.tool_call_id} {key}"


@attrs.frozen
class Station:
    """A weather station."""

    place: str

    @tool
    def forecast(self, days: int = 1) -> str:
        """The forecast here."""
        return f"{self.place} in {days}"

    def forecast_function(self, days: int = 1) -> str:
        """The forecast, from a method that is not a tool."""
        return f"{self.place} in {days}"
