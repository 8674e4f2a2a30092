"""``FunctionTool``: a function that a model may call, with its schema and its settings."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

import attrs

from locus.core.attrs_validators import validate_bool
from locus.core.build_tool_schemas import ToolSchema
from locus.core.messages import ToolCall
from locus.tools.approval_rule import ApprovalRule
from locus.tools.argument_validation import ArgumentsValidator
from locus.tools.context import ToolContext
from locus.tools.errors import ToolArgumentsError, make_malformed_arguments_error
from locus.tools.frozen_schema import freeze_schema
from locus.tools.lenient_arguments import read_malformed_arguments, unquote_arguments
from locus.tools.settings_validators import check_approval, check_timeout, check_tool_name
from locus.tools.shorten_description import cut_description, shorten_docstring
from locus.tools.signature import (
    ToolSignature,
    get_documented_object,
    inspect_signature,
    is_coroutine_function,
)

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")

_SETTINGS: Final = (
    "name",
    "description",
    "idempotent",
    "timeout",
    "strict",
    "requires_approval",
    "lenient",
)


def _accept_missing_description(description: str | None) -> str:
    """Return the description unchanged; tells type checkers that None may be passed."""
    return description  # type: ignore[return-value]


@attrs.frozen(slots=False, repr=False)
class FunctionTool(Generic[P, R]):
    """A function that a model may call. Calling the tool itself runs the function.

    Immutable; equal if function and settings are; ``attrs.evolve`` makes one with other settings.
    It can be pickled if its function can be imported by name.

    :param function: the function, blocking or async.
    :param name: the tool's name for the model.
    :param description: the description that the model reads; None for that of the docstring.
    :param idempotent: in one thread of an agent, a call with the same arguments runs only once.
    :param timeout: how long a call may take, in seconds; None for no limit.
    :param strict: the provider enforces the schema (OpenAI's strict mode).
    :param requires_approval: whether a person has to approve a call before an agent runs it, or a
        function that decides this, as :func:`~locus.tools.tool` describes it.
    :param lenient: values of the wrong type are read once more: numbers, lists and objects that the
        model wrote as text, and text that it wrote as a number.
    :ivar parameters: the JSON Schema of the arguments.
    :ivar is_async: the function is an ``async def``.
    :raises ConfigurationError: if a model could not call the function; the error says why.
    """

    function: Callable[P, R]
    name: str = attrs.field(validator=check_tool_name)
    description: str = attrs.field(default=None, converter=_accept_missing_description)
    idempotent: bool = attrs.field(default=False, validator=validate_bool)
    timeout: float | None = attrs.field(default=None, validator=check_timeout)
    strict: bool = attrs.field(default=False, validator=validate_bool)
    requires_approval: bool | ApprovalRule = attrs.field(default=False, validator=check_approval)
    lenient: bool = attrs.field(default=False, validator=validate_bool)
    parameters: Mapping[str, Any] = attrs.field(init=False, eq=False)
    is_async: bool = attrs.field(init=False, eq=False)
    _signature: ToolSignature = attrs.field(init=False, eq=False)
    _validator: ArgumentsValidator = attrs.field(init=False, eq=False)
    _schema: Mapping[str, Any] = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        signature = inspect_signature(self.function, self.name)
        validator = ArgumentsValidator(
            self.name, signature.fields, signature.extra_node, signature.reserved_names
        )
        parameters = freeze_schema(validator.build_schema(self.strict))
        description: Any = self.description
        if description is None:
            description = shorten_docstring(signature.docstring, self.name)
        if not isinstance(description, str):
            raise TypeError(
                f"tool {self.name!r}: description must be a string, not {description!r}"
            )
        description = cut_description(description, self.name)
        function_schema = {
            "name": self.name,
            "description": description,
            "parameters": parameters,
        }
        function_schema = {key: value for key, value in function_schema.items() if value != ""}
        function_schema |= {"strict": True} if self.strict else {}
        self.__dict__.update(
            description=description,
            parameters=parameters,
            is_async=is_coroutine_function(self.function),
            _signature=signature,
            _validator=validator,
            _schema=ToolSchema(function_schema, self),
        )
        self._copy_function_metadata(self.function)

    def _copy_function_metadata(self, function: Callable[..., Any]) -> None:
        """Copy what ``help``, ``inspect.signature`` and editors read about a function."""
        for name in ("__module__", "__qualname__"):
            self.__dict__[name] = getattr(function, name, None)
        self.__dict__["__doc__"] = get_documented_object(function).__doc__
        self.__dict__["__name__"] = getattr(function, "__name__", self.name)
        self.__dict__["__wrapped__"] = function

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function with these arguments; they are not validated."""
        return self.function(*args, **kwargs)

    def to_openai_schema(self) -> Mapping[str, Any]:
        """Return the tool's schema in OpenAI's format, which every model accepts."""
        return self._schema

    def bind(
        self, arguments: Mapping[str, Any], context: ToolContext | None = None
    ) -> dict[str, Any]:
        """Validate and convert a model's arguments to the keyword arguments of :attr:`function`.

        An argument that is missing is left out, so that its default applies. The values are copies,
        so that the function may change them.

        :param arguments: the model's arguments, as decoded JSON.
        :param context: for the parameters that are a :class:`ToolContext`.
        :raises ToolArgumentsError: if arguments are wrong; the text lists every issue for the
            model.
        :raises TypeError: if the function requires a context, or is a method without its object.
        """
        try:
            keyword_arguments = self._validator.validate(arguments)
        except ToolArgumentsError:
            if not self.lenient or not isinstance(arguments, Mapping):
                raise
            keyword_arguments = self._validator.validate(self._unquote(arguments))
        if self._signature.context_parameters:
            if context is not None:
                keyword_arguments |= dict.fromkeys(self._signature.context_parameters, context)
            elif self._signature.requires_context:
                raise TypeError(f"tool {self.name!r} requires a ToolContext; pass context=")
        if self._signature.is_unbound_method:
            raise TypeError(
                f"tool {self.name!r} is a method; take it from an object, as in "
                f"instance.{self.__dict__['__name__']}"
            )
        return keyword_arguments

    def read_arguments(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a model's arguments as the tool reads them, as JSON: a lenient one without quotes.

        So whoever decides about a call sees what the function will get.
        """
        if not self.lenient:
            return arguments
        try:
            self._validator.validate(arguments)
        except ToolArgumentsError:
            return self._unquote(arguments)
        return arguments

    def _unquote(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        optional_names = {field.name for field in self._validator.fields if not field.required}
        return unquote_arguments(arguments, self._validator.find_invalid_paths, optional_names)

    def repair_call(self, call: ToolCall) -> ToolCall:
        """Return a call with the arguments that its malformed text holds; for a lenient tool."""
        if not self.lenient or call.malformed_arguments is None:
            return call
        arguments = read_malformed_arguments(call.malformed_arguments)
        if arguments is None:
            return call
        return attrs.evolve(call, arguments=arguments, malformed_arguments=None)

    def bind_call(self, call: ToolCall, context: ToolContext | None = None) -> dict[str, Any]:
        """Validate and convert the arguments of a model's tool call, which may be malformed.

        An empty text means that there are no arguments: some models write nothing for a tool
        without parameters. Without ``context``, one is made that has the call's id and name only.

        :raises ToolArgumentsError: if arguments are wrong, or are not a JSON object.
        """
        call = self.repair_call(call)
        if call.malformed_arguments and not call.malformed_arguments.isspace():
            raise make_malformed_arguments_error(self.name, call.malformed_arguments)
        if context is None and self._signature.context_parameters:
            context = ToolContext(call.id, call.name)
        return self.bind(call.arguments, context)

    @overload
    def __get__(self, instance: None, owner: type) -> FunctionTool[P, R]: ...
    @overload
    def __get__(
        self: FunctionTool[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> FunctionTool[Q, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> FunctionTool[..., Any]:
        """Bind a method to its object, as functions do; the schema is shared, not built again."""
        if instance is None or not self._signature.is_unbound_method:
            return self
        bound: FunctionTool[..., Any] = object.__new__(FunctionTool)
        method = MethodType(self.function, instance)
        signature = attrs.evolve(self._signature, is_unbound_method=False)
        bound.__dict__.update(self.__dict__, function=method, _signature=signature)
        bound.__dict__["_schema"] = ToolSchema(self._schema["function"], bound)
        bound._copy_function_metadata(method)
        return bound

    def __copy__(self) -> FunctionTool[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FunctionTool[P, R]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        settings = tuple(getattr(self, name) for name in _SETTINGS)
        if not isinstance(self.function, FunctionType):
            return _rebuild_tool, (self.function, *settings)
        module, qualname = self.function.__module__, self.function.__qualname__
        if _unwrap_tool(_find_imported_object(module, qualname)) is not self.function:
            raise pickle.PicklingError(
                f"tool {self.name!r} cannot be pickled: its function cannot be imported as "
                f"{module}.{qualname}"
            )
        return _import_tool, (module, qualname, *settings)

    def __repr__(self) -> str:
        try:
            signature = str(inspect.signature(self.function))
        except (TypeError, ValueError):
            signature = "(...)"
        return f"<tool {self.name}{signature}>"


# Pickling. If the function was decorated, its name in the module refers to the tool.


def _find_imported_object(module: str, qualname: str) -> Any:
    """Return the object with this name in a module that is already imported, or None."""
    value: Any = sys.modules.get(module)
    for name in qualname.split("."):
        value = getattr(value, name, None)
    return value


def _unwrap_tool(value: Any) -> Any:
    """Return the function of a tool; any other value as it is."""
    return value.function if isinstance(value, FunctionTool) else value


def _import_tool(module: str, qualname: str, *settings: Any) -> FunctionTool[..., Any]:
    """Unpickle a tool whose function can be imported by name."""
    __import__(module)
    return _rebuild_tool(_find_imported_object(module, qualname), *settings)


def _rebuild_tool(value: Any, *settings: Any) -> FunctionTool[..., Any]:
    """Unpickle a tool; return ``value`` itself if it is an equal tool."""
    rebuilt = FunctionTool(_unwrap_tool(value), *settings)
    return value if value == rebuilt else rebuilt
