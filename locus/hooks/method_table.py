"""Validates the hooks of an agent and collects their methods, in the order of the calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from math import isnan
from typing import Any, Final

import attrs

from locus.hooks.provider import HookPriority, HookProvider

HOOK_METHODS: Final = tuple(name for name in vars(HookProvider) if name.startswith("on_"))

HookMethod = Callable[[Any], Any]


@attrs.frozen(eq=False)
class HookMethodTable:
    """The methods of an agent's hooks by name, in the order in which they are called."""

    methods: Mapping[str, tuple[HookMethod, ...]]

    @classmethod
    def collect_from_hooks(cls, hooks: Iterable[Any]) -> HookMethodTable:
        """Collect the methods of hooks that :func:`normalize_hooks` has checked, by priority."""
        ordered = sorted(hooks, key=_get_priority)
        return cls({name: tuple(_iter_overridden_methods(ordered, name)) for name in HOOK_METHODS})

    def __getitem__(self, name: str) -> tuple[HookMethod, ...]:
        return self.methods[name]


def _get_priority(hook: Any) -> Any:
    """Return the priority of a hook, or the default one."""
    return getattr(hook, "priority", HookPriority.DEFAULT)


def _iter_overridden_methods(hooks: Iterable[Any], method_name: str) -> Iterable[HookMethod]:
    """Iterate over the methods of that name, without those that the base class defines."""
    for hook in hooks:
        method = getattr(hook, method_name, None)
        # The methods of the base class do nothing and need no call.
        if (
            method is not None
            and getattr(method, "__func__", None) is not vars(HookProvider)[method_name]
        ):
            yield method


def normalize_hooks(hooks: Iterable[Any] | None) -> tuple[Any, ...]:
    """Check hooks and return them as a tuple, which is empty for None.

    :raises TypeError: if one of them is a class, has none of the methods, or has one that cannot be
        called; the message names it.
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
