"""The context of one validation: the issues found so far, and how an issue is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs

from locus.core.structured.describe_invalid_values import (
    VALIDATOR_ERRORS,
    describe_exception,
    describe_value,
)

CONSTRUCTOR_ERRORS: Final = (*VALIDATOR_ERRORS, ArithmeticError, LookupError, OSError)
"""The exceptions of a constructor that cannot accept a value: ``Decimal("x")``, ``COLOURS["x"]``,
``fromtimestamp(1e18)``. Any other exception is a bug of the constructor itself."""


@attrs.frozen
class ValidationIssue:
    """One thing that is wrong with a value.

    :param path: where in the value: ``$.items[0].name``.
    :param message: what is wrong there.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@attrs.define(eq=False)
class ValidationContext:
    """The state of one validation.

    :param issues: what is wrong, in the order in which it was found.
    :param lossless: the value is used to do something (it is a tool's argument), so nothing of it
        may be lost. A member that is not a field is an issue, and so is a number with more digits
        than a float holds where a ``Decimal`` is expected. 3.0 is accepted for 3, as in JSON
        Schema.
    """

    issues: list[ValidationIssue] = attrs.Factory(list)
    lossless: bool = False
    # The results of unions for containers, so that no container is validated twice by one union.
    union_results: dict[tuple[int, int], tuple[Any, list[ValidationIssue]]] = attrs.Factory(dict)

    def add_issue(self, path: str, message: str) -> None:
        """Record what is wrong at ``path``."""
        self.issues.append(ValidationIssue(path, message))

    def add_type_issue(self, path: str, expected: str, raw: Any) -> None:
        """Record that ``raw`` is not what is expected at ``path``."""
        self.add_issue(path, f"expected {expected}, got {describe_value(raw)}")

    def make_trial_context(self) -> ValidationContext:
        """Make a context for an attempt whose issues may be discarded."""
        return ValidationContext(lossless=self.lossless, union_results=self.union_results)


def join_path(path: str, key: str | int) -> str:
    """Return the path of a member: ``$.items``, ``$.items[2]``, ``$["two words"]``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key)}]"


def construct_value(construct: Callable[[], Any], path: str, ctx: ValidationContext) -> Any:
    """Call the caller's own constructor; an exception about the value becomes an issue."""
    try:
        return construct()
    except RecursionError:
        raise  # the value is nested too deeply, which the caller of the validation reports
    except Exception as exc:  # the class is the caller's, so it may raise anything
        if not is_invalid_value_error(exc, ctx.lossless):
            raise
        ctx.add_issue(path, describe_exception(exc))
        return None


def is_invalid_value_error(exc: Exception, lossless: bool) -> bool:
    """Return whether an exception of the caller's own code means that the value is wrong.

    :param lossless: the value is a tool's argument. Then every exception does: the model reads it
        and may correct the argument, where otherwise its run would end.
    """
    return lossless or isinstance(exc, CONSTRUCTOR_ERRORS)
