"""``with_shown_defaults``: lets a signature show the defaults that the environment comes before.

Such a parameter has the default None in the code, which says that the caller passed nothing, so
that a variable of the environment can count. ``inspect.signature`` and ``help`` show what is used
where the environment says nothing either.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def with_shown_defaults(**defaults: Any) -> Callable[[F], F]:
    """Make a function show other defaults in its signature; what it does is not changed.

    :param defaults: the defaults to show, by the names of parameters whose default is None.
    :raises ValueError: if there is no such parameter, or if its default is not None.
    """

    def set_signature(function: F) -> F:
        signature = inspect.signature(function)
        for name in defaults:
            if name not in signature.parameters or signature.parameters[name].default is not None:
                raise ValueError(f"{name} is no parameter with the default None")
        parameters = [
            parameter.replace(default=defaults.get(parameter.name, parameter.default))
            for parameter in signature.parameters.values()
        ]
        shown = signature.replace(parameters=parameters)
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return set_signature
