"""Checks the hooks of an agent and collects their methods in the order of the calls.

A hook is any object with one or more of the methods of :class:`HookProvider`, blocking or async.
Hooks with a lower ``priority`` are called first, before and after a step alike; those of the same
priority in the order in which the agent got them. They are called one after another, never two at a
time within a run, so a hook needs no lock for the data of one run.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import IntEnum
from math import isnan
from typing import Any, Final

import attrs

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
        """A run begins."""

    def on_after_invocation(self, event: AfterInvocationEvent) -> Awaitable[None] | None:
        """A run has ended, perhaps by an error or a cancellation."""

    def on_before_model_call(self, event: BeforeModelCallEvent) -> Awaitable[None] | None:
        """The model is about to be called."""

    def on_after_model_call(self, event: AfterModelCallEvent) -> Awaitable[None] | None:
        """The model has answered."""

    def on_before_tool_call(self, event: BeforeToolCallEvent) -> Awaitable[None] | None:
        """A tool is about to be called: change its arguments, or cancel it."""

    def on_after_tool_call(self, event: AfterToolCallEvent) -> Awaitable[None] | None:
        """A tool has been called: change its result, or have the call run again."""


HOOK_METHODS: Final = tuple(name for name in vars(HookProvider) if name.startswith("on_"))

HookMethod = Callable[[Any], Any]


@attrs.frozen(eq=False)
class HookRegistry:
    """The methods of an agent's hooks by name, in the order in which they are called."""

    methods: Mapping[str, tuple[HookMethod, ...]]

    @classmethod
    def from_hooks(cls, hooks: Iterable[Any]) -> HookRegistry:
        """Collect the methods of hooks that :func:`validate_hooks` has checked."""
        ordered = sorted(hooks, key=_get_priority)
        return cls({name: tuple(_iter_methods(ordered, name)) for name in HOOK_METHODS})

    def __getitem__(self, name: str) -> tuple[HookMethod, ...]:
        return self.methods[name]


def _get_priority(hook: Any) -> Any:
    return getattr(hook, "priority", HookPriority.DEFAULT)


def _iter_methods(hooks: Iterable[Any], name: str) -> Iterable[HookMethod]:
    for hook in hooks:
        method = getattr(hook, name, None)
        # The methods of the base class do nothing and need no call.
        if method is not None and getattr(method, "__func__", None) is not vars(HookProvider)[name]:
            yield method


def validate_hooks(hooks: Iterable[Any] | None) -> tuple[Any, ...]:
    """Check hooks and return them as a tuple, which is empty for None.

    :raises TypeError: one of them is a class, has none of the methods, or has one that cannot be
        called; names it.
    """
    if hooks is None:
        return ()
    if isinstance(hooks, (str, Mapping)) or not isinstance(hooks, Iterable):
        raise TypeError(f"hooks is a sequence of hooks, not {type(hooks).__name__}")
    hooks = tuple(hooks)
    for position, hook in enumerate(hooks):
        if inspect.isclass(hook):
            raise TypeError(f"hooks[{position}] is the class {hook.__name__}: give an object of it")
        methods = {name: getattr(hook, name, None) for name in HOOK_METHODS}
        methods = {name: method for name, method in methods.items() if method is not None}
        if not methods:
            names = ", ".join(HOOK_METHODS)
            raise TypeError(f"hooks[{position}] is {type(hook).__name__}, with none of {names}")
        for name, method in methods.items():
            if not callable(method):
                raise TypeError(f"hooks[{position}].{name} is {method!r}, which cannot be called")
            if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
                raise TypeError(
                    f"hooks[{position}].{name} is a generator, so calling it does nothing: "
                    "it must not yield"
                )
        priority = _get_priority(hook)
        if not isinstance(priority, (int, float)) or isnan(priority):
            raise TypeError(f"hooks[{position}].priority is a number, not {priority!r}")
    return hooks
