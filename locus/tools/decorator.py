"""``@tool``: from a function to something that a model can call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from locus.core.errors import ConfigurationError
from locus.tools.function import FunctionTool

P = ParamSpec("P")
R = TypeVar("R")


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    idempotent: bool = False,
    timeout: float | None = None,
    strict: bool = False,
) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    idempotent: bool = False,
    timeout: float | None = None,
    strict: bool = False,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    idempotent: bool = False,
    timeout: float | None = None,
    strict: bool = False,
) -> Any:
    """Make a tool of a function: ``@tool``, ``@tool(…)`` or ``tool(function, …)``.

    The function may be blocking or async, a method, or a ``functools.partial``, whose fixed
    keywords the model neither sees nor changes. Every parameter becomes an argument that the model
    gives, except those annotated :class:`ToolContext`. The types say what is asked for and
    accepted; the docstring (in the style of Google, numpydoc or Sphinx) describes the tool and its
    arguments.

    :param name: what the model calls it; the function's name by default.
    :param description: what the model reads about it; the docstring's by default.
    :param idempotent: in one thread of an agent, the same arguments run the body once.
    :param timeout: how long it may run, in seconds.
    :param strict: have the provider hold the model to the schema, where it can (OpenAI's strict
        mode). The model then gives every argument, also one that has a default.
    :raises ConfigurationError: a model could not call it; says which parameter, and why.
    :raises TypeError: there is no function.
    """

    def make(function: Callable[..., Any]) -> FunctionTool[..., Any]:
        body = _function(function)
        called = _name(body) if name is None else name
        return FunctionTool(body, called, description, idempotent, timeout, strict)

    return make if function is None else make(function)


def as_tool(thing: Any) -> FunctionTool[..., Any]:
    """What an agent can run: a tool as it is, a tool of any other function.

    :raises TypeError: it is neither; says what it is.
    :raises ConfigurationError: a model could not call it.
    """
    if isinstance(thing, Mapping):
        raise TypeError(
            f"a schema says what a tool takes, not how to run it; give its function, not "
            f"{repr(thing)[:80]}"
        )
    if thing is None:
        raise TypeError("a tool is made of a function, not of None")
    if not isinstance(thing, FunctionTool):
        return tool(thing)
    if thing._signature.unbound:
        raise TypeError(f"tool {thing.name!r} is a method; take it from an object of its class")
    return thing


def _function(thing: Any) -> Callable[..., Any]:
    if isinstance(thing, FunctionTool):
        raise TypeError(
            f"{thing.name!r} is a tool already; attrs.evolve(tool, name=…) gives one with other "
            "settings"
        )
    if isinstance(thing, staticmethod):
        thing = thing.__func__
    if isinstance(thing, classmethod):
        raise TypeError(
            f"{thing.__name__} is a class method: make a tool of it from outside the class, "
            f"tool({thing.__qualname__})"
        )
    if isinstance(thing, type) or not callable(thing):
        what = f"the class {thing.__name__}" if isinstance(thing, type) else repr(thing)[:80]
        raise TypeError(f"a tool is made of a function, not of {what}")
    function: Callable[..., Any] = thing
    return function


def _name(function: Any) -> str:
    while hasattr(function, "func"):  # of a partial
        function = function.func
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise ConfigurationError(f"{function!r} has no name for a tool; pass name=")
    return str(name)
