"""Inspect the signature of a function that becomes a tool: types, defaults, descriptions.

A function that a model could not call, or could call wrongly, is rejected here, when the tool is
defined: parameters without a name, types that cannot be represented in JSON, types that are not
defined. The keywords that a ``functools.partial`` has fixed are hidden from the model.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.structured.class_fields import build_default_keyword
from locus.core.structured.object_nodes import ObjectField
from locus.core.structured.schema_definitions import Schema
from locus.core.structured.type_node import TypeNode
from locus.core.structured.type_node_builder import build_type_nodes
from locus.core.structured.wrapper_nodes import AnnotatedNode
from locus.tools.context import ToolContext
from locus.tools.docstring import ParsedDocstring, parse_docstring

_NAME: Final = re.compile(r"[a-zA-Z0-9_]{1,64}")


@attrs.frozen(eq=False)
class ToolSignature:
    """The signature of a tool's function.

    :ivar fields: the arguments that the model passes.
    :ivar extra_node: the type of further arguments, if the function has ``**kwargs``.
    :ivar reserved_names: names that no further argument may have, because they are parameters that
        the model does not pass.
    :ivar context_parameters: the parameters that get the :class:`ToolContext`.
    :ivar requires_context: one of these has no default.
    :ivar is_unbound_method: the function is a method that still needs its object.
    :ivar docstring: the docstring in parts.
    """

    fields: tuple[ObjectField, ...]
    extra_node: TypeNode | None
    reserved_names: frozenset[str]
    context_parameters: tuple[str, ...]
    requires_context: bool
    is_unbound_method: bool
    docstring: ParsedDocstring


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether the function is an ``async def``; any other may still return an awaitable."""
    return inspect.iscoroutinefunction(_unwrap_callable(function))


def inspect_signature(function: Callable[..., Any], tool_name: str) -> ToolSignature:
    """Inspect the signature of a function.

    :param tool_name: the tool's name in errors.
    :raises ConfigurationError: if a model cannot call the function; the error names the parameter
        and the reason.
    """
    body = _unwrap_callable(function)
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise ConfigurationError(f"tool {tool_name!r} yields; a tool has to return its one result")
    parameters = _get_parameters(function, tool_name)
    is_unbound_method = _is_unbound_method(function, parameters, tool_name)
    partial_keywords = _get_partial_keywords(function)
    parameters = [p for p in parameters[is_unbound_method:] if p.name not in partial_keywords]
    hints = {p.name: _resolve_parameter_hint(p, body, tool_name) for p in parameters}
    contexts = [p for p in parameters if _is_context_parameter(hints[p.name], p.name, tool_name)]
    arguments = [p for p in parameters if p not in contexts]
    nodes = _build_argument_nodes(
        {p.name: _add_none_to_hint(p, hints[p.name]) for p in arguments}, tool_name
    )
    reserved_names = (
        _get_parameter_names(function)
        | _get_parameter_names(inspect.unwrap(body))
        | partial_keywords
    )
    docstring = parse_docstring(
        inspect.getdoc(get_documented_object(function)), nodes.keys(), reserved_names
    )
    return ToolSignature(
        fields=tuple(
            _build_argument_field(p, nodes[p.name], docstring)
            for p in arguments
            if p.kind != p.VAR_KEYWORD
        ),
        extra_node=next((nodes[p.name] for p in arguments if p.kind == p.VAR_KEYWORD), None),
        reserved_names=reserved_names,
        context_parameters=tuple(p.name for p in contexts),
        requires_context=any(p.default is p.empty for p in contexts),
        is_unbound_method=is_unbound_method,
        docstring=docstring,
    )


# The function itself, without partials, methods and wrappers.


def _unwrap_callable(function: Any) -> Any:
    """Return the function inside partials and methods; ``__call__`` of other callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    return getattr(function, "__func__", function)


def get_documented_object(function: Any) -> Any:
    """Return the object whose docstring describes the function: for a partial, what it wraps."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or type(function).__call__.__doc__ is None:
        return function
    return type(function).__call__


def _get_partial_keywords(function: Any) -> frozenset[str]:
    """Return the names of the keyword arguments that partials have fixed."""
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names |= function.keywords.keys()
        function = function.func
    return frozenset(names)


def _get_parameters(function: Callable[..., Any], tool_name: str) -> list[inspect.Parameter]:
    """Return the parameters of a function; a function without a signature is an error."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(
            f"tool {tool_name!r}: {exc}; wrap it in a function with a signature"
        ) from exc


def _get_parameter_names(function: Any) -> frozenset[str]:
    """Return the names of a function's parameters; none if it has no signature."""
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()


def _is_unbound_method(function: Any, parameters: list[inspect.Parameter], tool_name: str) -> bool:
    """Return whether the function is defined in a class and takes the object first."""
    class_name = getattr(function, "__qualname__", "").rpartition(".")[0]
    is_local = class_name.endswith("<locals>")
    if not (inspect.isfunction(function) and class_name and not is_local and parameters):
        return False
    if parameters[0].name == "cls":
        raise ConfigurationError(
            f"tool {tool_name!r} is a class method: make a tool of it outside the class, "
            f"tool({class_name.rpartition('.')[2]}.{function.__name__})"
        )
    return parameters[0].name == "self"


# Types.


def _resolve_parameter_hint(parameter: inspect.Parameter, body: Any, tool_name: str) -> Any:
    """Return the type hint of a parameter; ``Any`` if it has no annotation."""
    subject = f"tool {tool_name!r}, parameter {parameter.name!r}"
    _check_parameter(parameter, subject)
    if parameter.annotation is parameter.empty:
        return Any
    scope = inspect.unwrap(body)
    global_names = getattr(scope, "__globals__", {})
    # ToolContext may have been imported for type checkers only.
    local_names = {} if "ToolContext" in global_names else {"ToolContext": ToolContext}
    local_names |= {param.__name__: param for param in getattr(scope, "__type_params__", ())}
    annotated = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        hints = typing.get_type_hints(annotated, global_names, local_names, include_extras=True)
    except NameError as exc:
        raise ConfigurationError(
            f"{subject}: {exc}; the type has to be visible in the function's module, not only "
            "inside a function or to type checkers"
        ) from exc
    except (SyntaxError, TypeError, AttributeError) as exc:
        raise ConfigurationError(
            f"{subject}: {parameter.annotation!r} is not a type: {exc}"
        ) from exc
    hint = hints[parameter.name]
    if typing.get_origin(hint) is typing.Unpack:
        raise ConfigurationError(
            f"{subject}: a model does not see the members of the TypedDict in **{parameter.name}; "
            "write the members as parameters, or take the TypedDict itself as one"
        )
    return hint


def _check_parameter(parameter: inspect.Parameter, subject: str) -> None:
    """Check that a model can pass the parameter by its name."""
    if parameter.kind == parameter.VAR_POSITIONAL:
        raise ConfigurationError(
            f"{subject}: a model passes every argument by name, so it has none for "
            f"*{parameter.name}; take a list"
        )
    if parameter.kind == parameter.POSITIONAL_ONLY:
        raise ConfigurationError(
            f"{subject}: a model passes every argument by name, and this one is positional-only; "
            "put it after the / in the signature, or wrap the function"
        )
    if parameter.kind != parameter.VAR_KEYWORD and not _NAME.fullmatch(parameter.name):
        raise ConfigurationError(
            f"{subject}: not every provider accepts this name; use up to 64 of a-z, A-Z, 0-9 and _"
        )
    if type(parameter.default).__module__.startswith("pydantic.fields"):
        raise ConfigurationError(
            f"{subject}: a Field is not a default, because the function itself would get it; "
            f"write {parameter.name}: Annotated[..., Field(...)]"
        )


def _is_context_parameter(hint: Any, name: str, tool_name: str) -> bool:
    """Return whether a parameter gets the :class:`ToolContext`; a mixed type is an error."""
    members = set(_iter_union_members(hint))
    others = members - {ToolContext, type(None)}
    if (ToolContext in members and others) or (others and _contains_context(hint)):
        raise ConfigurationError(
            f"tool {tool_name!r}, parameter {name!r}: a parameter is either a ToolContext or an "
            "argument that the model passes, not both"
        )
    return ToolContext in members


def _contains_context(hint: Any) -> bool:
    """Return whether ``ToolContext`` is somewhere inside a type, as in ``list[ToolContext]``."""
    return any(arg is ToolContext or _contains_context(arg) for arg in typing.get_args(hint))


def _iter_union_members(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, or the type itself; ``Annotated`` is removed."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        yield from _iter_union_members(typing.get_args(hint)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from _iter_union_members(member)
    elif origin is None and isinstance(hint, type):
        yield hint
    else:
        yield repr(hint)  # some hints are not hashable


def _add_none_to_hint(parameter: inspect.Parameter, hint: Any) -> Any:
    """Add None to the type if it is the default, even if the annotation does not have it."""
    if parameter.default is not None or hint in (Any, object):
        return hint
    if type(None) in set(_iter_union_members(hint)):
        return hint
    return typing.Optional[hint]  # noqa: UP045  # the hint may be a string, which has no |


def _build_argument_nodes(hints: dict[str, Any], tool_name: str) -> dict[str, TypeNode]:
    """Build the type tree of each argument; errors name the tool."""
    try:
        return build_type_nodes(hints)
    except ConfigurationError as exc:
        raise ConfigurationError(f"tool {tool_name!r}, parameter {exc}") from exc


def _build_argument_field(
    parameter: inspect.Parameter, node: TypeNode, docstring: ParsedDocstring
) -> ObjectField:
    """Build the field of an argument, with its description and default."""
    required = parameter.default is parameter.empty
    schema_metadata: Schema = {}
    if parameter.name in docstring.arguments:
        schema_metadata["description"] = docstring.arguments[parameter.name]
    if isinstance(node, AnnotatedNode):  # the annotation takes precedence over the docstring
        schema_metadata |= node.schema_metadata
        node = node.node
    if not required:
        schema_metadata |= build_default_keyword(parameter.default)
    return ObjectField(
        parameter.name, parameter.name, node, required, schema_metadata=schema_metadata
    )
