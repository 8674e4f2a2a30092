"""The conditions that Locus has: counts, times, what was called, what was said, and one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import attrs

from locus.core.attrs_validators import boolean
from locus.core.errors import ConfigurationError
from locus.core.termination.combinators import RunSnapshot, TerminationCondition


def _count(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{field.name} must be a whole number from 1; not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _seconds(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not value > 0:
        raise ConfigurationError(f"{field.name} must be a number above 0; not {value!r}")


def _share(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not 0 <= value <= 1:
        raise ConfigurationError(f"{field.name} must be from 0 to 1; not {value!r}")


def _words(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{field.name} must be a string that is not empty; not {value!r}")


@attrs.frozen(repr=False)
class MaxIterations(TerminationCondition):
    """Stops after so many model calls in this run."""

    limit: int = attrs.field(validator=_count)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Fires when the run has made ``limit`` model calls."""
        return repr(self) if snapshot.iterations >= self.limit else None

    def __repr__(self) -> str:
        return f"MaxIterations({self.limit})"


@attrs.frozen(repr=False)
class TokenLimit(TerminationCondition):
    """Stops when the run has used so many tokens, as its provider counts them.

    The limit is looked at after a step, so the step that reaches it may go beyond. A provider that
    reports no usage never reaches it.

    :param total: tokens read and written.
    :param prompt: tokens read.
    :param completion: tokens written.
    :raises ConfigurationError: none of the three is given, or one is no whole number from 1.
    """

    total: int | None = attrs.field(default=None, validator=attrs.validators.optional(_count))
    prompt: int | None = attrs.field(default=None, validator=attrs.validators.optional(_count))
    completion: int | None = attrs.field(default=None, validator=attrs.validators.optional(_count))

    def __attrs_post_init__(self) -> None:
        if self.total is self.prompt is self.completion is None:
            raise ConfigurationError("TokenLimit needs total=, prompt= or completion=")

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Fires when one of the limits is reached."""
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
class TimeLimit(TerminationCondition):
    """Stops when the run has taken so many seconds. A step that is under way is not cut off."""

    seconds: float = attrs.field(validator=_seconds)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Fires when ``seconds`` have passed."""
        return repr(self) if snapshot.elapsed >= self.seconds else None

    def __repr__(self) -> str:
        return f"TimeLimit({self.seconds!r})"


@attrs.frozen
class NoToolCalls(TerminationCondition):
    """Stops when the model's last answer asks for no tool."""

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Fires when there is an answer and it has no calls."""
        answered = snapshot.message is not None and not snapshot.message.tool_calls
        return repr(self) if answered else None


@attrs.frozen(repr=False)
class ToolCalled(TerminationCondition):
    """Stops when the model has asked for a tool in this run, however the call went."""

    name: str = attrs.field(validator=_words)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Fires when the tool was called, in the last step or in one before."""
        return repr(self) if snapshot.called(self.name) else None

    def __repr__(self) -> str:
        return f"ToolCalled({self.name!r})"


@attrs.frozen(repr=False)
class ConfidenceMet(TerminationCondition):
    """Stops when the state's confidence is ``threshold`` (from 0 to 1) or more.

    Something has to judge the run for its confidence to change: ``reflexion=``.
    """

    threshold: float = attrs.field(validator=_share)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Fires when the confidence is there."""
        return repr(self) if snapshot.state.confidence >= self.threshold else None

    def __repr__(self) -> str:
        return f"ConfidenceMet({self.threshold!r})"


@attrs.frozen(repr=False)
class TextMention(TerminationCondition):
    """Stops when the text of the model's last answer holds ``text``, anywhere in it.

    :param text: what to look for, to the letter: no pattern, no word boundaries.
    :param case_sensitive: by default ``"DONE"`` is not found in ``"done"``. False compares as
        ``str.casefold`` does, so that ``"STRASSE"`` is found in ``"Straße"``.
    """

    text: str = attrs.field(validator=_words)
    case_sensitive: bool = attrs.field(default=True, validator=boolean, kw_only=True)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Fires when the last answer mentions the text."""
        said = snapshot.message.text if snapshot.message is not None else ""
        if self.case_sensitive:
            return repr(self) if self.text in said else None
        return repr(self) if self.text.casefold() in said.casefold() else None

    def __repr__(self) -> str:
        case = "" if self.case_sensitive else ", case_sensitive=False"
        return f"TextMention({self.text!r}{case})"


def _function(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        raise TypeError(f"CustomCondition takes a function, not {type(value).__name__}")
    if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        raise TypeError("CustomCondition takes a blocking function; a condition cannot await")


@attrs.frozen(repr=False)
class CustomCondition(TerminationCondition):
    """Stops when a function of the caller's says so.

    :param function: called with the :class:`RunSnapshot`; True stops, and so does a string, which
        becomes part of the reason. False, None and the empty string go on. What it raises ends the
        run with that error. Pickling the condition wants a function that can be imported.
    :param name: what the reason calls it; the function's own name by default.
    :raises TypeError: ``function`` cannot be called, or is async; or, later, gave something else.
    """

    function: Callable[[RunSnapshot], bool | str | None] = attrs.field(validator=_function)
    name: str = attrs.field(validator=_words)

    @name.default
    def _name(self) -> str:
        name = getattr(self.function, "__name__", None)
        return name if isinstance(name, str) and name else type(self.function).__name__

    def check(self, snapshot: RunSnapshot) -> str | None:
        """What the function says."""
        said = self.function(snapshot)
        if said is None or said is False or said == "":
            return None
        if said is True:
            return repr(self)
        if isinstance(said, str):
            return f"{self!r}: {said}"
        if inspect.iscoroutine(said):
            said.close()  # never to be awaited, and that is fine
        raise TypeError(f"{self!r} must give a bool, a string or None; not {type(said).__name__}")

    def __repr__(self) -> str:
        return f"CustomCondition({self.name})"
