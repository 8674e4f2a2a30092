"""The error for arguments that do not fit a tool; its text is sent to the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from locus.core.errors import LocusError

_MAX_LISTED_ISSUES: Final = 20


class ToolArgumentsError(LocusError, ValueError):
    """A model's arguments do not fit the tool, so the tool was not run. The model reads the text.

    :ivar tool_name: the tool.
    :ivar issues: each thing that is wrong, with its path; the text lists the first twenty.
    """

    def __init__(self, message: str, *, tool_name: str, issues: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.tool_name = tool_name
        self.issues = tuple(issues)

    @classmethod
    def from_issues(cls, tool_name: str, issues: Iterable[str]) -> ToolArgumentsError:
        """Make the error for arguments with these issues."""
        issues = tuple(issues)
        omitted = len(issues) - _MAX_LISTED_ISSUES
        more = f"; and {omitted} more" if omitted > 0 else ""
        listed = "; ".join(issues[:_MAX_LISTED_ISSUES]) + more
        message = f"{tool_name} was not run, because its arguments are invalid: {listed}"
        return cls(message, tool_name=tool_name, issues=issues)
