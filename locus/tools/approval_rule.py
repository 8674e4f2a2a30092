"""Rules that decide which calls of a tool a person has to approve."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from locus.core.errors import ConfigurationError

ApprovalRule: TypeAlias = Callable[..., bool | Awaitable[bool]]
"""A function of a call's arguments, or of these and its :class:`~locus.tools.ToolContext`, blocking
or async, which returns whether the call has to be approved."""


def takes_context(rule: ApprovalRule) -> bool:
    """Return whether a rule has a second parameter, for the context of the call.

    :raises ConfigurationError: if it can be called neither with one argument nor with two.
    """
    try:
        signature = inspect.signature(rule)
    except (TypeError, ValueError):  # some functions that are not written in Python have none
        return False
    required = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    count = 2 if len(required) == 2 else 1
    try:
        signature.bind(*[None] * count)
    except TypeError as exc:
        raise ConfigurationError(
            "requires_approval is a function of the arguments of a call, or of these and its "
            f"ToolContext, but {rule!r} has the parameters {signature}: {exc}"
        ) from None
    return count == 2


def make_rule_arguments(rule: ApprovalRule, arguments: Any, context: Any) -> tuple[Any, ...]:
    """Return what a rule is called with."""
    return (arguments, context) if takes_context(rule) else (arguments,)
