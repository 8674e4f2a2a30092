"""Which objects are hooks, in which order they are called, and which of their methods there are.

A hook is any object with one or more of the methods of :class:`HookProvider`, blocking or async.
Hooks with a lower ``priority`` come first, before and after alike; those of the same priority in
the order in which the agent was given them. They are called one after another, never two at a time
within a run, so a hook needs no lock for what it keeps of one run.
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
    """When a hook is called among others: the lower, the earlier. Any number will do as well."""

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
    """An optional base class of hooks: each of its methods may be overridden, also as async.

    An error that a method raises ends the run, as that error. After the end of a run
    (``on_after_invocation``) all hooks are called, whatever the others raise.
    """

    priority: int = HookPriority.DEFAULT

    def on_before_invocation(self, event: BeforeInvocationEvent) -> Awaitable[None] | None:
        """A run begins."""

    def on_after_invocation(self, event: AfterInvocationEvent) -> Awaitable[None] | None:
        """A run has ended, by an error or a cancellation, too."""

    def on_before_model_call(self, event: BeforeModelCallEvent) -> Awaitable[None] | None:
        """The model is about to be asked."""

    def on_after_model_call(self, event: AfterModelCallEvent) -> Awaitable[None] | None:
        """The model has answered."""

    def on_before_tool_call(self, event: BeforeToolCallEvent) -> Awaitable[None] | None:
        """A tool is about to be called: change its arguments, or cancel it."""

    def on_after_tool_call(self, event: AfterToolCallEvent) -> Awaitable[None] | None:
        """A tool has been called: change its result, or have it called again."""


METHODS: Final = tuple(name for name in vars(HookProvider) if name.startswith("on_"))

Method = Callable[[Any], Any]


@attrs.frozen(eq=False)
class Hooks:
    """The methods of some hooks, each kind in the order in which they are called."""

    methods: Mapping[str, tuple[Method, ...]]

    @classmethod
    def of(cls, hooks: Iterable[Any]) -> Hooks:
        """Those of ``hooks``, as :func:`check_hooks` passed them."""
        ordered = sorted(hooks, key=_priority)
        return cls({name: tuple(_methods(ordered, name)) for name in METHODS})

    def __getitem__(self, name: str) -> tuple[Method, ...]:
        return self.methods[name]


def _priority(hook: Any) -> Any:
    return getattr(hook, "priority", HookPriority.DEFAULT)


def _methods(hooks: Iterable[Any], name: str) -> Iterable[Method]:
    for hook in hooks:
        method = getattr(hook, name, None)
        # What the base class has for everybody does nothing: there is no need to call it.
        if method is not None and getattr(method, "__func__", None) is not vars(HookProvider)[name]:
            yield method


def check_hooks(hooks: Iterable[Any] | None) -> tuple[Any, ...]:
    """``hooks`` as a tuple; None is none.

    :raises TypeError: one is a class, has none of the methods, or one that cannot be called; says
        which.
    """
    if hooks is None:
        return ()
    if isinstance(hooks, (str, Mapping)) or not isinstance(hooks, Iterable):
        raise TypeError(f"hooks is a sequence of hooks, not {type(hooks).__name__}")
    given = tuple(hooks)
    for position, hook in enumerate(given):
        if inspect.isclass(hook):
            raise TypeError(f"hooks[{position}] is the class {hook.__name__}: give an object of it")
        methods = {name: getattr(hook, name, None) for name in METHODS}
        methods = {name: method for name, method in methods.items() if method is not None}
        if not methods:
            raise TypeError(
                f"hooks[{position}] is {type(hook).__name__}, with none of {', '.join(METHODS)}"
            )
        for name, method in methods.items():
            if not callable(method):
                raise TypeError(f"hooks[{position}].{name} is {method!r}, which cannot be called")
            if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
                raise TypeError(
                    f"hooks[{position}].{name} is a generator, so calling it does nothing: "
                    "it must not yield"
                )
        priority = _priority(hook)
        if not isinstance(priority, (int, float)) or isnan(priority):
            raise TypeError(f"hooks[{position}].priority is a number, not {priority!r}")
    return given
