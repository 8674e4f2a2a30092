"""The errors of tools whose text is sent to the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from locus.core.errors import LocusError
from locus.core.frozendict import MAX_DEPTH
from locus.core.structured.describe_invalid_values import describe_value

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


class ModelRetry(LocusError):
    """A tool's request to the model to call it again, raised by the tool.

    The model reads the message as the result of its call: what is missing, or what to do better.
    It is no error of the tool, so ``Agent(on_tool_error="raise")`` does not end the run.
    """


def find_model_retry(error: BaseException | None) -> ModelRetry | None:
    """Return the request to try again that an error is, or that a group has nothing but."""
    if isinstance(error, ModelRetry):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [find_model_retry(member) for member in error.exceptions]
    requests = [one for one in found if one is not None]
    if len(requests) < len(found):
        return None
    return requests[0] if len(requests) == 1 else ModelRetry("; ".join(map(str, requests)))


def make_malformed_arguments_error(tool_name: str, text: str) -> ToolArgumentsError:
    """Make the error for arguments that are not a JSON object, or that are nested too deeply."""
    problem = "not a JSON object"
    try:
        value = msgspec.json.decode(text)
        reason = f"but {describe_value(value)}"
        is_too_deep = isinstance(value, dict)
    except (msgspec.DecodeError, UnicodeError) as exc:
        reason, is_too_deep = str(exc), False
    except RecursionError:
        is_too_deep = True
    if is_too_deep:
        problem, reason = "nested too deeply", f"more than {MAX_DEPTH} levels"
    excerpt = text if len(text) <= 200 else f"{text[:200]}…"
    return ToolArgumentsError(
        f"{tool_name} was not run, because its arguments are {problem} ({reason}): {excerpt}",
        tool_name=tool_name,
        issues=(reason,),
    )
