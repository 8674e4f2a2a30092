"""What a tool says to the model that called it wrongly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from locus.core.errors import LocusError

_SHOWN: Final = 20


class ToolArgumentsError(LocusError, ValueError):
    """A model's arguments do not fit the tool, which has not run. The text is for the model.

    :ivar tool_name: the tool.
    :ivar problems: each thing that is wrong, with its place; the text shows the first twenty.
    """

    def __init__(self, message: str, *, tool_name: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.tool_name = tool_name
        self.problems = tuple(problems)

    @classmethod
    def of_problems(cls, tool_name: str, problems: Iterable[str]) -> ToolArgumentsError:
        """The error for arguments with these problems."""
        found = tuple(problems)
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        said = "; ".join(found[:_SHOWN]) + more
        message = f"{tool_name} was not run, for its arguments are wrong: {said}"
        return cls(message, tool_name=tool_name, problems=found)
