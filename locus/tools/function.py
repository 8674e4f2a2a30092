"""A function as a tool: what a model is told about it, and how it is called."""

from __future__ import annotations

import inspect
import math
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

import attrs
import msgspec

from locus.core.attrs_validators import boolean
from locus.core.errors import ConfigurationError
from locus.core.frozendict import DEEPEST, FrozenDict
from locus.core.messages import ToolCall
from locus.core.structured.validation import named
from locus.tools.arguments import Arguments
from locus.tools.context import ToolContext
from locus.tools.errors import ToolArgumentsError
from locus.tools.frozen_schema import frozen_schema
from locus.tools.signature import Signature, documented, is_coroutine_function, read_signature

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_SETTINGS: Final = ("name", "description", "idempotent", "timeout", "strict")


def _check_name(_: Any, __: Any, name: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a tool cannot be called {name!r}: providers take up to 64 of a-z, A-Z, 0-9, _ and -, "
            "beginning with a letter or _; pass name="
        )


def _check_timeout(tool: FunctionTool[..., Any], _: Any, timeout: float | None) -> None:
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 < timeout < math.inf):
        raise ConfigurationError(f"tool {tool.name!r}: timeout is seconds above 0, not {timeout!r}")


def _or_docstring(description: str | None) -> str:
    """For type checkers: what is left out is filled in from the docstring."""
    return description  # type: ignore[return-value]


@attrs.frozen(slots=False, repr=False)
class FunctionTool(Generic[P, R]):
    """A function that a model may call. It is still the function: calling it runs the body.

    Immutable; equal by function and settings; ``attrs.evolve`` gives one with other settings. It
    can be pickled where its function can be imported by its name.

    :param function: the body, blocking or async.
    :param name: what the model calls it.
    :param description: what the model reads about it; the docstring's, where this is None.
    :param idempotent: one call with the same arguments is enough for a whole thread.
    :param timeout: how long it may run, in seconds; None for as long as it takes.
    :param strict: the provider holds the model to the schema (OpenAI's strict mode).
    :ivar parameters: the JSON Schema of the arguments.
    :ivar is_async: the body is an ``async def``.
    :raises ConfigurationError: a model could not call it; says why.
    """

    function: Callable[P, R]
    name: str = attrs.field(validator=_check_name)
    description: str = attrs.field(default=None, converter=_or_docstring)
    idempotent: bool = attrs.field(default=False, validator=boolean)
    timeout: float | None = attrs.field(default=None, validator=_check_timeout)
    strict: bool = attrs.field(default=False, validator=boolean)
    parameters: Mapping[str, Any] = attrs.field(init=False, eq=False)
    is_async: bool = attrs.field(init=False, eq=False)
    _signature: Signature = attrs.field(init=False, eq=False)
    _arguments: Arguments = attrs.field(init=False, eq=False)
    _schema: Mapping[str, Any] = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        signature = read_signature(self.function, self.name)
        arguments = Arguments(self.name, signature.fields, signature.others, signature.reserved)
        parameters = frozen_schema(arguments.schema(self.strict))
        description: Any = self.description
        if description is None:
            description = signature.description
        if not isinstance(description, str):
            raise TypeError(f"tool {self.name!r}: description is text, not {description!r}")
        about = {"name": self.name, "description": description, "parameters": parameters}
        about = {key: value for key, value in about.items() if value != ""}
        about |= {"strict": True} if self.strict else {}
        self.__dict__.update(
            description=description,
            parameters=parameters,
            is_async=is_coroutine_function(self.function),
            _signature=signature,
            _arguments=arguments,
            _schema=FrozenDict(type="function", function=FrozenDict(about)),
        )
        self._wrap(self.function)

    def _wrap(self, function: Callable[..., Any]) -> None:
        """Look like ``function``: to ``help``, to ``inspect.signature``, to editors."""
        for name in ("__module__", "__qualname__"):
            self.__dict__[name] = getattr(function, name, None)
        self.__dict__["__doc__"] = documented(function).__doc__
        self.__dict__["__name__"] = getattr(function, "__name__", self.name)
        self.__dict__["__wrapped__"] = function

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the body with these arguments, unchecked, as if there were no tool."""
        return self.function(*args, **kwargs)

    def to_openai_schema(self) -> Mapping[str, Any]:
        """The tool in OpenAI's format, as every model takes it."""
        return self._schema

    def bind(
        self, arguments: Mapping[str, Any], context: ToolContext | None = None
    ) -> dict[str, Any]:
        """The keyword arguments to call :attr:`function` with, checked and converted.

        What was not given is left to the defaults. The values are new: the body may change them.

        :param arguments: what the model gave, as decoded JSON.
        :param context: for the parameters that are a :class:`ToolContext`.
        :raises ToolArgumentsError: they are wrong; the text says everything that is, to the model.
        :raises TypeError: the function wants a context, or the object that it is a method of.
        """
        bound = self._arguments.read(arguments)
        if self._signature.contexts:
            if context is not None:
                bound |= dict.fromkeys(self._signature.contexts, context)
            elif self._signature.needs_context:
                raise TypeError(f"tool {self.name!r} wants a ToolContext; pass context=")
        if self._signature.unbound:
            raise TypeError(
                f"tool {self.name!r} is a method; take it from an object, as in "
                f"thing.{self.__dict__['__name__']}"
            )
        return bound

    def bind_call(self, call: ToolCall, context: ToolContext | None = None) -> dict[str, Any]:
        """What :meth:`bind` does, for a call as the model made it, its arguments malformed or not.

        Arguments that are no text at all are none: that is how some models call a tool that takes
        none. Without a ``context`` there is one that knows the call alone.

        :raises ToolArgumentsError: as above; also where the arguments are not a JSON object.
        """
        if call.malformed_arguments and not call.malformed_arguments.isspace():
            raise _malformed(self.name, call.malformed_arguments)
        if context is None and self._signature.contexts:
            context = ToolContext(call.id, call.name)
        return self.bind(call.arguments, context)

    @overload
    def __get__(self, instance: None, owner: type) -> FunctionTool[P, R]: ...
    @overload
    def __get__(
        self: FunctionTool[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> FunctionTool[Q, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> FunctionTool[..., Any]:
        """The tool of an object, where it is a method; no schema is made anew."""
        if instance is None or not self._signature.unbound:
            return self
        bound: FunctionTool[..., Any] = object.__new__(FunctionTool)
        method = MethodType(self.function, instance)
        bound.__dict__.update(
            self.__dict__, function=method, _signature=attrs.evolve(self._signature, unbound=False)
        )
        bound._wrap(method)
        return bound

    def __copy__(self) -> FunctionTool[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FunctionTool[P, R]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        settings = tuple(getattr(self, name) for name in _SETTINGS)
        if not isinstance(self.function, FunctionType):
            return _remade, (self.function, *settings)
        place = self.function.__module__, self.function.__qualname__
        if _function_of(_imported(*place)) is not self.function:
            raise pickle.PicklingError(
                f"tool {self.name!r} cannot be pickled: its function cannot be imported as "
                f"{'.'.join(place)}"
            )
        return _found, (*place, *settings)

    def __repr__(self) -> str:
        try:
            takes = str(inspect.signature(self.function))
        except (TypeError, ValueError):
            takes = "(...)"
        return f"<tool {self.name}{takes}>"


def _malformed(tool: str, text: str) -> ToolArgumentsError:
    """The error for arguments that are not a JSON object, or one that is nested too deep."""
    are = "not a JSON object"
    try:
        value = msgspec.json.decode(text)
        why = f"but {named(value)}"
        deep = isinstance(value, dict)
    except (msgspec.DecodeError, UnicodeError) as error:
        why, deep = str(error), False
    except RecursionError:
        deep = True
    if deep:
        are, why = "nested too deep", f"more than {DEEPEST} levels"
    began = text if len(text) <= 200 else f"{text[:200]}…"
    return ToolArgumentsError(
        f"{tool} was not run, for its arguments are {are} ({why}): {began}",
        tool_name=tool,
        problems=(why,),
    )


# Pickling. Where the decorator was used, the function's name leads to the tool, not the function.


def _imported(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _function_of(found: Any) -> Any:
    return found.function if isinstance(found, FunctionTool) else found


def _found(module: str, qualname: str, *settings: Any) -> FunctionTool[..., Any]:
    __import__(module)
    return _remade(_imported(module, qualname), *settings)


def _remade(found: Any, *settings: Any) -> FunctionTool[..., Any]:
    remade = FunctionTool(_function_of(found), *settings)
    return found if found == remade else remade
