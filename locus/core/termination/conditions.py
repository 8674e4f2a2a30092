"""The built-in termination conditions: limits of calls, tokens and time, tools, text, functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import attrs

from locus.core.attrs_validators import validate_bool
from locus.core.errors import ConfigurationError
from locus.core.response import is_turn_paused
from locus.core.termination.base import TerminationCondition
from locus.core.termination.run_snapshot import RunSnapshot


def _validate_positive_integer(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{field.name} must be an integer from 1; not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _validate_positive_seconds(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not value > 0:
        raise ConfigurationError(f"{field.name} must be a number above 0; not {value!r}")


def _validate_fraction(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not 0 <= value <= 1:
        raise ConfigurationError(f"{field.name} must be from 0 to 1; not {value!r}")


def _validate_nonempty_text(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{field.name} must be a string that is not empty; not {value!r}")


class _QuickCondition(TerminationCondition):
    """The base class of conditions that run no code of the user's."""

    __slots__ = ()

    def is_quick(self) -> bool:
        """Return True."""
        return True


@attrs.frozen(repr=False)
class MaxIterations(_QuickCondition):
    """Stops after this many model calls in this run."""

    limit: int = attrs.field(validator=_validate_positive_integer)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when the run has made ``limit`` model calls, or None."""
        return repr(self) if snapshot.iterations >= self.limit else None

    def __repr__(self) -> str:
        return f"MaxIterations({self.limit})"


@attrs.frozen(repr=False)
class TokenLimit(_QuickCondition):
    """Stops when the run has used this many tokens, as its provider counts them.

    The limit is checked after each step, so the last step may exceed it. With a provider that
    reports no usage it is never reached.

    :param total: prompt and completion tokens.
    :param prompt: prompt tokens.
    :param completion: completion tokens.
    :raises ConfigurationError: if none of the three is set, or one is not an integer of at least 1.
    """

    total: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_validate_positive_integer)
    )
    prompt: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_validate_positive_integer)
    )
    completion: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_validate_positive_integer)
    )

    def __attrs_post_init__(self) -> None:
        if self.total is self.prompt is self.completion is None:
            raise ConfigurationError("TokenLimit needs total=, prompt= or completion=")

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when one of the limits is reached, or None."""
        reached = (
            (self.total is not None and snapshot.total_tokens >= self.total)
            or (self.prompt is not None and snapshot.prompt_tokens >= self.prompt)
            or (self.completion is not None and snapshot.completion_tokens >= self.completion)
        )
        return repr(self) if reached else None

    def __repr__(self) -> str:
        limits = [] if self.total is None else [str(self.total)]
        limits += [] if self.prompt is None else [f"prompt={self.prompt}"]
        limits += [] if self.completion is None else [f"completion={self.completion}"]
        return f"TokenLimit({', '.join(limits)})"


@attrs.frozen(repr=False)
class TimeLimit(_QuickCondition):
    """Stops when the run has taken this many seconds. A running step is not interrupted."""

    seconds: float = attrs.field(validator=_validate_positive_seconds)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when ``seconds`` have passed, or None."""
        return repr(self) if snapshot.elapsed >= self.seconds else None

    def __repr__(self) -> str:
        return f"TimeLimit({self.seconds!r})"


@attrs.frozen
class NoToolCalls(_QuickCondition):
    """Stops when the model's last message has no tool calls, unless its turn only paused."""

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when there is a message and it has no tool calls, or None."""
        met = snapshot.message is not None and not snapshot.message.tool_calls
        met = met and not is_turn_paused(snapshot.state.stop_reason)
        return repr(self) if met else None


@attrs.frozen(repr=False)
class ToolCalled(_QuickCondition):
    """Stops when the model has called a tool in this run, even if the call failed."""

    name: str = attrs.field(validator=_validate_nonempty_text)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when the tool was called, in the last step or before, or None."""
        return repr(self) if snapshot.has_called_tool(self.name) else None

    def __repr__(self) -> str:
        return f"ToolCalled({self.name!r})"


@attrs.frozen(repr=False)
class ConfidenceMet(_QuickCondition):
    """Stops when the state's confidence is ``threshold`` (from 0 to 1) or more.

    The confidence changes only if the run is assessed: ``reflexion=``.
    """

    threshold: float = attrs.field(validator=_validate_fraction)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when the confidence is at least ``threshold``, or None."""
        return repr(self) if snapshot.state.confidence >= self.threshold else None

    def __repr__(self) -> str:
        return f"ConfidenceMet({self.threshold!r})"


@attrs.frozen(repr=False)
class TextMention(_QuickCondition):
    """Stops when the text of the model's last message contains ``text``.

    :param text: an exact substring: not a pattern, not limited to whole words.
    :param case_sensitive: by default ``"done"`` does not contain ``"DONE"``. False compares with
        ``str.casefold``, so that ``"Straße"`` contains ``"STRASSE"``.
    """

    text: str = attrs.field(validator=_validate_nonempty_text)
    case_sensitive: bool = attrs.field(default=True, validator=validate_bool, kw_only=True)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when the last message contains the text, or None."""
        message_text = snapshot.message.text if snapshot.message is not None else ""
        if self.case_sensitive:
            return repr(self) if self.text in message_text else None
        return repr(self) if self.text.casefold() in message_text.casefold() else None

    def __repr__(self) -> str:
        case = "" if self.case_sensitive else ", case_sensitive=False"
        return f"TextMention({self.text!r}{case})"


def _validate_function(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        raise TypeError(f"CustomCondition takes a function, not {type(value).__name__}")
    if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        raise TypeError("CustomCondition takes a blocking function; a condition cannot await")


@attrs.frozen(repr=False)
class CustomCondition(TerminationCondition):
    """Stops when a function of the caller's returns true.

    :param function: called with the :class:`RunSnapshot`. True stops the run, and so does a string,
        which becomes part of the reason; False, None and the empty string continue. An exception
        that it raises ends the run. The condition can be pickled if the function can be imported.
    :param name: the function's name in the reason; by default its own.
    :raises TypeError: if ``function`` cannot be called, or is async; or, from :meth:`check`, it
        returned something else.
    """

    function: Callable[[RunSnapshot], bool | str | None] = attrs.field(validator=_validate_function)
    name: str = attrs.field(validator=_validate_nonempty_text)

    @name.default
    def _get_default_name(self) -> str:
        name = getattr(self.function, "__name__", None)
        return name if isinstance(name, str) and name else type(self.function).__name__

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason when the function returns True or a string, or None."""
        result = self.function(snapshot)
        if result is None or result is False or result == "":
            return None
        if result is True:
            return repr(self)
        if isinstance(result, str):
            return f"{self!r}: {result}"
        if inspect.iscoroutine(result):
            result.close()  # it is never awaited; this prevents Python's warning
        raise TypeError(f"{self!r} must give a bool, a string or None; not {type(result).__name__}")

    def __repr__(self) -> str:
        return f"CustomCondition({self.name})"
