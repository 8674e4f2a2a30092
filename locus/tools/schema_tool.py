"""``SchemaTool``: a tool whose JSON Schema is given, and not made of a signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from locus.core.attrs_validators import validate_bool
from locus.core.build_tool_schemas import ToolSchema
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import ToolCall
from locus.core.structured.validation_context import ValidationContext
from locus.tools.approval_rule import ApprovalRule
from locus.tools.argument_validation import copy_json_value
from locus.tools.context import ToolContext
from locus.tools.errors import ToolArgumentsError, make_malformed_arguments_error
from locus.tools.frozen_schema import freeze_schema
from locus.tools.settings_validators import check_approval, check_timeout, check_tool_name
from locus.tools.shorten_description import cut_description
from locus.tools.signature import is_coroutine_function

_NO_PARAMETERS: Mapping[str, Any] = FrozenDict(type="object", properties=EMPTY)


def _check_parameters(_: Any, __: Any, parameters: Any) -> None:
    if not isinstance(parameters, Mapping):
        raise TypeError(f"parameters is a JSON Schema, not {type(parameters).__name__}")
    if parameters.get("type", "object") != "object":
        raise ConfigurationError(
            "parameters is the JSON Schema of an object, which holds the arguments by name; its "
            f"type is {parameters['type']!r}"
        )


def _check_function(tool: SchemaTool, _: Any, function: Any) -> None:
    if not callable(function):
        raise TypeError(
            f"tool {tool.name!r}: function is {type(function).__name__}, not a function"
        )


def _check_description(tool: SchemaTool, _: Any, description: Any) -> None:
    if not isinstance(description, str):
        raise TypeError(f"tool {tool.name!r}: description must be a string, not {description!r}")


@attrs.frozen(repr=False)
class SchemaTool:
    """A tool with a JSON Schema of its own, which a server or a file defines for example.

    The model is sent the schema as it is. The function gets the arguments as the model wrote them,
    as builtin dictionaries, lists and scalars: whether they fit the schema is left to the function.
    Only a ``required`` member that is missing is an error for the model, which it can mend.

    Immutable; equal if all settings are. Calling the tool itself runs the function.

    :param name: the tool's name for the model.
    :param description: the description that the model reads.
    :param parameters: the JSON Schema of the object that holds the arguments.
    :param function: the function, blocking or async; called with the arguments as keywords. A
        parameter annotated :class:`ToolContext` gets the context.
    :param idempotent: in one thread of an agent, a call with the same arguments runs only once.
    :param timeout: how long a call may take, in seconds; None for no limit.
    :param strict: the provider enforces the schema, which has to be in its strict subset then.
    :param requires_approval: whether a person has to approve a call before an agent runs it, or a
        function that decides this, as :func:`~locus.tools.tool` describes it.
    :ivar is_async: the function is an ``async def``.
    :raises ConfigurationError: if the name or the schema cannot be sent to a provider.
    """

    name: str = attrs.field(validator=check_tool_name)
    description: str = attrs.field(default="", validator=_check_description)
    parameters: Mapping[str, Any] = attrs.field(
        default=_NO_PARAMETERS, validator=_check_parameters, converter=freeze_schema, hash=False
    )
    function: Callable[..., Any] = attrs.field(default=None, validator=_check_function)
    idempotent: bool = attrs.field(default=False, validator=validate_bool)
    timeout: float | None = attrs.field(default=None, validator=check_timeout)
    strict: bool = attrs.field(default=False, validator=validate_bool)
    requires_approval: bool | ApprovalRule = attrs.field(default=False, validator=check_approval)
    is_async: bool = attrs.field(init=False, eq=False)
    _context_parameters: tuple[str, ...] = attrs.field(init=False, eq=False)
    _schema: Mapping[str, Any] = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        description = cut_description(self.description, self.name)
        function_schema: dict[str, Any] = {"name": self.name}
        function_schema |= {"description": description} if description else {}
        function_schema |= {"parameters": self.parameters}
        function_schema |= {"strict": True} if self.strict else {}
        set_field = object.__setattr__  # the class is frozen
        set_field(self, "description", description)
        set_field(self, "is_async", is_coroutine_function(self.function))
        set_field(self, "_context_parameters", _find_context_parameters(self.function))
        set_field(self, "_schema", ToolSchema(function_schema, self))

    @classmethod
    def from_openai_schema(
        cls, schema: Mapping[str, Any], function: Callable[..., Any], **settings: Any
    ) -> SchemaTool:
        """Make a tool of a schema in OpenAI's format and the function that runs it.

        :param schema: ``{"type": "function", "function": {"name": …, "parameters": …}}``.
        :param settings: ``idempotent`` and ``timeout``.
        :raises ConfigurationError: if it is no such schema.
        """
        described = schema.get("function") if isinstance(schema, Mapping) else None
        if not isinstance(described, Mapping) or not isinstance(described.get("name"), str):
            raise ConfigurationError(
                'a tool\'s schema is {"type": "function", "function": {"name": …, "parameters": …}}'
                f", not {repr(schema)[:80]}"
            )
        return cls(
            described["name"],
            described.get("description") or "",
            described.get("parameters") or _NO_PARAMETERS,
            function,
            strict=described.get("strict") is True,
            **settings,
        )

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function with these arguments."""
        return self.function(*args, **kwargs)

    def to_openai_schema(self) -> Mapping[str, Any]:
        """Return the tool's schema in OpenAI's format, which every model accepts."""
        return self._schema

    def bind(
        self, arguments: Mapping[str, Any], context: ToolContext | None = None
    ) -> dict[str, Any]:
        """Copy a model's arguments to the keyword arguments of :attr:`function`.

        :raises ToolArgumentsError: if a required argument is missing.
        """
        ctx = ValidationContext(lossless=True)
        values: dict[str, Any] = copy_json_value(arguments, "", ctx)
        for name in self.parameters.get("required") or ():
            if name not in values:
                ctx.add_issue(str(name), "required, but missing")
        if ctx.issues:
            raise ToolArgumentsError.from_issues(self.name, map(str, ctx.issues))
        return values | dict.fromkeys(self._context_parameters, context)

    def bind_call(self, call: ToolCall, context: ToolContext | None = None) -> dict[str, Any]:
        """Copy the arguments of a model's tool call, which may be malformed.

        :raises ToolArgumentsError: if arguments are missing, or are not a JSON object.
        """
        if call.malformed_arguments and not call.malformed_arguments.isspace():
            raise make_malformed_arguments_error(self.name, call.malformed_arguments)
        if context is None and self._context_parameters:
            context = ToolContext(call.id, call.name)
        return self.bind(call.arguments, context)

    def __repr__(self) -> str:
        return f"<tool {self.name}({', '.join(self.parameters.get('properties') or ())})>"


def _find_context_parameters(function: Any) -> tuple[str, ...]:
    """Return the parameters that are annotated :class:`ToolContext`."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.annotation is ToolContext
        or (isinstance(parameter.annotation, str) and "ToolContext" in parameter.annotation)
    )
