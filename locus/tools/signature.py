"""What a function takes: its parameters, each with its type, default and description.

Everything that a model could not call, or could call wrongly, is refused here, while the program
starts: parameters without a name, types that JSON has no form for or that cannot be found. What the
caller of a ``functools.partial`` has fixed is not the model's to see or to change.
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
from locus.core.structured.class_fields import note_of_default
from locus.core.structured.record_nodes import Field
from locus.core.structured.schema_definitions import Schema
from locus.core.structured.type_builder import kinds_of
from locus.core.structured.type_nodes import Noted
from locus.core.structured.validation import Kind
from locus.tools.context import ToolContext
from locus.tools.docstring import Docstring, read_docstring

_NAME: Final = re.compile(r"[a-zA-Z0-9_]{1,64}")


@attrs.frozen(eq=False)
class Signature:
    """What a function takes.

    :ivar fields: what the model gives.
    :ivar others: the kind of further arguments, where the function has ``**others``.
    :ivar reserved: names that ``others`` cannot have, being parameters that are not the model's.
    :ivar contexts: the parameters that are given the context.
    :ivar needs_context: one of these has no default.
    :ivar unbound: it is a method that still lacks its object.
    :ivar description: what the docstring says, the arguments aside.
    """

    fields: tuple[Field, ...]
    others: Kind | None
    reserved: frozenset[str]
    contexts: tuple[str, ...]
    needs_context: bool
    unbound: bool
    description: str


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling it gives an awaitable; it may give one all the same, unannounced."""
    return inspect.iscoroutinefunction(_body(function))


def read_signature(function: Callable[..., Any], tool: str) -> Signature:
    """What ``function`` takes.

    :param tool: what errors call it.
    :raises ConfigurationError: a model cannot call it; says which parameter, and why.
    """
    body = _body(function)
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise ConfigurationError(f"tool {tool!r} yields; a tool has one result, which it returns")
    parameters = _parameters(function, tool)
    unbound = _is_unbound_method(function, parameters, tool)
    given = [p for p in parameters[unbound:] if p.name not in _fixed(function)]
    hints = {p.name: _hint(p, body, tool) for p in given}
    contexts = [p for p in given if _is_context(hints[p.name], p.name, tool)]
    asked = [p for p in given if p not in contexts]
    kinds = _kinds({p.name: _allowing_default(p, hints[p.name]) for p in asked}, tool)
    said = read_docstring(inspect.getdoc(documented(function)), kinds.keys())
    return Signature(
        fields=tuple(
            _field(p, kinds[p.name], said, tool) for p in asked if p.kind != p.VAR_KEYWORD
        ),
        others=next((kinds[p.name] for p in asked if p.kind == p.VAR_KEYWORD), None),
        reserved=_names(function) | _names(inspect.unwrap(body)) | _fixed(function),
        contexts=tuple(p.name for p in contexts),
        needs_context=any(p.default is p.empty for p in contexts),
        unbound=unbound,
        description=said.description,
    )


# The function itself, whatever it is wrapped in.


def _body(function: Any) -> Any:
    """What runs: the function inside partials and methods; of other objects, ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    return getattr(function, "__func__", function)


def documented(function: Any) -> Any:
    """What the docstring is of: a partial has that of its class, which says nothing of it."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or type(function).__call__.__doc__ is None:
        return function
    return type(function).__call__


def _fixed(function: Any) -> frozenset[str]:
    """The keywords that a partial has fixed."""
    fixed: set[str] = set()
    while isinstance(function, functools.partial):
        fixed |= function.keywords.keys()
        function = function.func
    return frozenset(fixed)


def _parameters(function: Callable[..., Any], tool: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"tool {tool!r}: {error}; wrap it in a function that says what it takes"
        ) from error


def _names(function: Any) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()


def _is_unbound_method(function: Any, parameters: list[inspect.Parameter], tool: str) -> bool:
    """Whether it stands in the body of a class, and takes the object first."""
    place = getattr(function, "__qualname__", "").rpartition(".")[0]
    in_class = inspect.isfunction(function) and place and not place.endswith("<locals>")
    if not (in_class and parameters):
        return False
    if parameters[0].name == "cls":
        raise ConfigurationError(
            f"tool {tool!r} is a class method: make a tool of it from outside the class, "
            f"tool({place.rpartition('.')[2]}.{function.__name__})"
        )
    return parameters[0].name == "self"


# Types.


def _hint(parameter: inspect.Parameter, body: Any, tool: str) -> Any:
    """The type of a parameter; ``Any`` where none is given."""
    where = f"tool {tool!r}, parameter {parameter.name!r}"
    if parameter.kind == parameter.VAR_POSITIONAL:
        raise ConfigurationError(
            f"{where}: a model names every argument, so there is none for "
            f"*{parameter.name}; take a list"
        )
    if parameter.kind == parameter.POSITIONAL_ONLY:
        raise ConfigurationError(
            f"{where}: a model names every argument, and this one is positional-only; put it after "
            "the / in the signature, or wrap the function"
        )
    if parameter.kind != parameter.VAR_KEYWORD and not _NAME.fullmatch(parameter.name):
        raise ConfigurationError(
            f"{where}: not every provider takes this name; use at most 64 of a-z, A-Z, 0-9 and _"
        )
    if type(parameter.default).__module__.startswith("pydantic.fields"):
        raise ConfigurationError(
            f"{where}: a Field is no default, for the function itself would be called with it; "
            f"write {parameter.name}: Annotated[..., Field(...)]"
        )
    if parameter.annotation is parameter.empty:
        return Any
    scope = inspect.unwrap(body)
    spaces = getattr(scope, "__globals__", {})
    known = {"ToolContext": ToolContext}  # which may have been imported for type checkers only
    names = {name: value for name, value in known.items() if name not in spaces}
    names |= {variable.__name__: variable for variable in getattr(scope, "__type_params__", ())}
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        found = typing.get_type_hints(holder, spaces, names, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{where}: {error}; the type has to be visible in the function's module, not only "
            "inside a function or to type checkers"
        ) from error
    except (SyntaxError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{where}: {parameter.annotation!r} is not a type: {error}"
        ) from error
    hint = found[parameter.name]
    if typing.get_origin(hint) is typing.Unpack:
        raise ConfigurationError(
            f"{where}: **{parameter.name} of a TypedDict's members is not told to a model; write "
            "the members as parameters, or take the TypedDict itself as one"
        )
    return hint


def _is_context(hint: Any, name: str, tool: str) -> bool:
    parts = set(_parts(hint))
    others = parts - {ToolContext, type(None)}
    if (ToolContext in parts and others) or (others and _holds_context(hint)):
        raise ConfigurationError(
            f"tool {tool!r}, parameter {name!r}: it is either a ToolContext, or the model's to give"
        )
    return ToolContext in parts


def _holds_context(hint: Any) -> bool:
    """Whether a ``ToolContext`` stands inside, as in a list of them."""
    return any(arg is ToolContext or _holds_context(arg) for arg in typing.get_args(hint))


def _parts(hint: Any) -> Iterator[Any]:
    """The members of a union, and what is annotated."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        yield from _parts(typing.get_args(hint)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _parts(part)
    elif origin is None and isinstance(hint, type):
        yield hint
    else:
        yield repr(hint)  # some of them have no hash


def _allowing_default(parameter: inspect.Parameter, hint: Any) -> Any:
    """A default of None says that None is taken, also where the type forgets it."""
    if parameter.default is not None or hint in (Any, object) or type(None) in set(_parts(hint)):
        return hint
    return typing.Optional[hint]  # noqa: UP045  # the hint may be text, which has no |


def _kinds(hints: dict[str, Any], tool: str) -> dict[str, Kind]:
    try:
        return kinds_of(hints)
    except ConfigurationError as error:
        raise ConfigurationError(f"tool {tool!r}, parameter {error}") from error


def _field(parameter: inspect.Parameter, kind: Kind, said: Docstring, tool: str) -> Field:
    required = parameter.default is parameter.empty
    notes: Schema = {}
    if parameter.name in said.arguments:
        notes["description"] = said.arguments[parameter.name]
    if isinstance(kind, Noted):  # what stands nearer to the type counts for more
        notes |= kind.notes
        kind = kind.kind
    if not required:
        notes |= note_of_default(parameter.default)
    return Field(parameter.name, parameter.name, kind, required, notes=notes)
