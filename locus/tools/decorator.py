"""The decorator ``@tool``, which turns a function into a tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from locus.core.build_tool_schemas import SupportsOpenAISchema, build_tool_schemas
from locus.core.errors import ConfigurationError
from locus.tools.approval_rule import ApprovalRule
from locus.tools.context import ToolContext
from locus.tools.errors import ModelRetry
from locus.tools.function_tool import FunctionTool
from locus.tools.schema_tool import SchemaTool

__all__ = ["ModelRetry", "SchemaTool", "ToolContext", "convert_to_tool", "tool"]

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
    requires_approval: bool | ApprovalRule = False,
    lenient: bool = False,
) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    idempotent: bool = False,
    timeout: float | None = None,
    strict: bool = False,
    requires_approval: bool | ApprovalRule = False,
    lenient: bool = False,
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
    requires_approval: bool | ApprovalRule = False,
    lenient: bool = False,
) -> Any:
    """Turn a function into a tool: ``@tool``, ``@tool(…)`` or ``tool(function, …)``.

    The function may be blocking or async, a method, or a ``functools.partial``. The model neither
    sees nor changes the keywords that a partial has fixed. Every parameter becomes an argument that
    the model passes, except those annotated :class:`ToolContext`. The types define the schema and
    which arguments are valid; the docstring (in the style of Google, numpydoc or Sphinx) describes
    the tool and its arguments.

    :param name: the tool's name for the model; the function's name by default.
    :param description: the description that the model reads; the docstring's by default.
    :param idempotent: in one thread of an agent, a call with the same arguments runs only once.
    :param timeout: how long a call may take, in seconds.
    :param strict: let the provider enforce the schema, if it can (OpenAI's strict mode). The model
        then passes every argument, also one that has a default.
    :param requires_approval: whether a person has to approve a call before an agent runs it: the
        run ends with ``stop_reason="approval_required"``, and ``resume(approvals=…)`` continues it.
        A function decides for each call: it gets the arguments as the model wrote them (a mapping;
        those of a lenient tool as the tool reads them) and, if it has two parameters, the
        :class:`ToolContext` of the call. It may be async.
    :param lenient: read values of the wrong type once more: numbers, lists and objects that the
        model wrote as text (``"3"``, ``"[1, 2]"``), and text that it wrote as a number.
    :raises ConfigurationError: if a model could not call the function; the error names the
        parameter and the reason.
    :raises TypeError: if ``function`` is not a function.
    """

    def decorate(function: Callable[..., Any]) -> FunctionTool[..., Any]:
        function = _normalize_function(function)
        tool_name = _get_function_name(function) if name is None else name
        return FunctionTool(
            function,
            tool_name,
            description,
            idempotent,
            timeout,
            strict,
            requires_approval,
            lenient,
        )

    return decorate if function is None else decorate(function)


def convert_to_tool(tool_like: Any) -> FunctionTool[..., Any] | SchemaTool:
    """Convert a function, or a tool of another library, to a tool; a tool is returned as it is.

    An object that can be called and has ``to_openai_schema()`` keeps its schema.

    :raises TypeError: if it cannot be run.
    :raises ConfigurationError: if a model could not call the function.
    """
    if isinstance(tool_like, Mapping):
        raise TypeError(
            "a schema describes a tool, but cannot be run; pass the function, or "
            f"SchemaTool.from_openai_schema(schema, function), not {repr(tool_like)[:80]}"
        )
    if tool_like is None:
        raise TypeError("a tool is made of a function, not of None")
    if isinstance(tool_like, SchemaTool):
        return tool_like
    if not isinstance(tool_like, FunctionTool):
        if isinstance(tool_like, SupportsOpenAISchema) and not isinstance(tool_like, type):
            return _convert_foreign_tool(tool_like)
        return tool(tool_like)
    if tool_like._signature.is_unbound_method:
        raise TypeError(f"tool {tool_like.name!r} is a method; take it from an object of its class")
    return tool_like


def _convert_foreign_tool(tool_like: SupportsOpenAISchema) -> SchemaTool:
    """Convert an object with ``to_openai_schema()`` to a tool with that schema."""
    if not callable(tool_like):
        raise TypeError(
            f"{type(tool_like).__name__} describes a tool, but cannot be called; pass "
            "SchemaTool.from_openai_schema(schema, function)"
        )
    settings = {
        name: value
        for name, kind in (("idempotent", bool), ("timeout", (int, float)))
        if isinstance(value := getattr(tool_like, name, None), kind)
    }
    (schema,) = build_tool_schemas([tool_like])  # it may have the form of another API
    return SchemaTool.from_openai_schema(schema, tool_like, **settings)


def _normalize_function(function: Any) -> Callable[..., Any]:
    """Return the function of a ``staticmethod``; raise for what cannot become a tool."""
    if isinstance(function, FunctionTool):
        raise TypeError(
            f"{function.name!r} is a tool already; attrs.evolve(tool, name=…) makes one with other "
            "settings"
        )
    if isinstance(function, staticmethod):
        function = function.__func__
    if isinstance(function, classmethod):
        raise TypeError(
            f"{function.__name__} is a class method: make a tool of it outside the class, "
            f"tool({function.__qualname__})"
        )
    is_class = isinstance(function, type)
    if is_class or not callable(function):
        name = f"the class {function.__name__}" if is_class else repr(function)[:80]
        hint = ""
        if not is_class and callable(getattr(function, "as_tool", None)):  # an agent
            hint = "; as_tool(name=…, description=…) makes a tool of it"
        raise TypeError(f"a tool is made of a function, not of {name}{hint}")
    checked: Callable[..., Any] = function
    return checked


def _get_function_name(function: Any) -> str:
    """Return the name of a function, or of the function inside a partial."""
    while hasattr(function, "func"):  # a partial
        function = function.func
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise ConfigurationError(f"{function!r} has no name for a tool; pass name=")
    return str(name)
