"""``HookProvider``, the optional base class of hooks, and ``HookPriority``, their order.

A hook is any object with one or more of the methods of :class:`HookProvider`, blocking or async.
Hooks with a lower ``priority`` are called first, before and after a step alike; those of the same
priority in the order in which the agent got them. They are called one after another, never two at a
time within a run, so a hook needs no lock for the data of one run.
"""

from __future__ import annotations

from collections.abc import Awaitable
from enum import IntEnum

from locus.hooks.events import (
    AfterInvocationEvent,
    AfterModelCallEvent,
    AfterToolCallEvent,
    BeforeInvocationEvent,
    BeforeModelCallEvent,
    BeforeToolCallEvent,
)


class HookPriority(IntEnum):
    """When a hook is called among others: the lower, the earlier. Other numbers work as well."""

    SECURITY_MIN = 0
    SECURITY_DEFAULT = 50
    SECURITY_MAX = 99
    OBSERVABILITY_MIN = 100
    OBSERVABILITY_DEFAULT = 150
    OBSERVABILITY_MAX = 199
    BUSINESS_MIN = 200
    BUSINESS_DEFAULT = 250
    BUSINESS_MAX = 299
    DEFAULT = 300


class HookProvider:
    """An optional base class of hooks. Each method may be overridden, by an async one as well.

    An error that a method raises ends the run, and the caller gets it. At the end of a run
    (``on_after_invocation``) all hooks are called, even if one of them raises an error.
    """

    priority: int = HookPriority.DEFAULT

    def on_before_invocation(self, event: BeforeInvocationEvent) -> Awaitable[None] | None:
        """Handle the beginning of a run."""

    def on_after_invocation(self, event: AfterInvocationEvent) -> Awaitable[None] | None:
        """Handle the end of a run, perhaps by an error or a cancellation."""

    def on_before_model_call(self, event: BeforeModelCallEvent) -> Awaitable[None] | None:
        """Handle the moment before a model call."""

    def on_after_model_call(self, event: AfterModelCallEvent) -> Awaitable[None] | None:
        """Handle the response of the model."""

    def on_before_tool_call(self, event: BeforeToolCallEvent) -> Awaitable[None] | None:
        """Handle the moment before a tool call: change its arguments, or cancel it."""

    def on_after_tool_call(self, event: AfterToolCallEvent) -> Awaitable[None] | None:
        """Handle the result of a tool call: change it, or have the call run again."""
