"""``ImmutableModel``: what a model is made of, how it is constructed and how it is copied.

A model is an immutable value: its config, a request builder and a response parser, and what was
bound to it. Changing one makes another. Connections and what the server has refused belong to this
process; equality, pickles and hashes leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import attrs

from locus.core.build_tool_schemas import ToolLike, ToolSchema, build_tool_schemas
from locus.core.call_options import STOP_ALIAS, rename_stop_alias
from locus.core.frozendict import EMPTY, FrozenDict, make_frozen_copy, to_frozen_dict
from locus.core.redaction import hide_secrets
from locus.core.unknown_keywords import make_unknown_keyword_error
from locus.models.base import Model
from locus.models.config import ModelConfig, format_headers, format_members
from locus.models.connections import Connections
from locus.models.option_layers import ConfigOptions
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.models.refusal_memory import RefusalMemory
from locus.transport.custom_client import CustomClient

C = TypeVar("C", bound=ModelConfig)


def _to_frozen_tool_schemas(tools: Sequence[ToolLike]) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        schema if isinstance(schema, ToolSchema) else make_frozen_copy(schema)
        for schema in build_tool_schemas(tools)
    )


def _to_frozen_options(options: Mapping[str, Any]) -> FrozenDict[str, Any]:
    frozen: FrozenDict[str, Any] = make_frozen_copy(to_frozen_dict(options))
    return frozen


@attrs.frozen(init=False, getstate_setstate=False)
class ImmutableModel(Model, Generic[C]):
    """The parts of a model that sends HTTP requests, without how it sends them.

    :cvar builder_class: the class of the request builder that the model has by default.
    :cvar parser_class: the class of the response parser that the model has by default.
    :ivar config: the model's options.
    :ivar request_builder: builds the JSON body of requests.
    :ivar response_parser: parses the JSON of responses.
    :ivar tools: the schemas of the bound tools.
    :ivar options: the bound call options.
    :ivar http_client: the caller's own httpx client, or a pair of them.
    :ivar sdk_client: the caller's own client of the provider's SDK.
    :ivar connections: the connections that Locus opens itself.
    :ivar refusals: what the server has refused of what nobody chose; no longer sent.
    """

    builder_class: ClassVar[type[RequestBuilder]]
    parser_class: ClassVar[type[ResponseParser]]

    config: C
    request_builder: RequestBuilder
    response_parser: ResponseParser
    tools: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(),
        converter=_to_frozen_tool_schemas,
        hash=False,
        repr=lambda tools: repr(hide_secrets(tools)),
    )
    options: Mapping[str, Any] = attrs.field(
        default=EMPTY,
        converter=_to_frozen_options,
        hash=False,
        repr=lambda options: _format_options(options),
    )
    http_client: Any = attrs.field(default=None, repr=False)
    sdk_client: Any = attrs.field(default=None, repr=False)
    connections: Connections = attrs.field(factory=Connections, eq=False, repr=False)
    refusals: RefusalMemory = attrs.field(factory=RefusalMemory, eq=False, repr=False)
    _custom_client: CustomClient | None = attrs.field(
        init=False, default=None, eq=False, repr=False
    )
    _config_options: ConfigOptions = attrs.field(init=False, eq=False, repr=False)

    @classmethod
    def _pop_model_arguments(
        cls, kw: dict[str, Any], config_class: type[ModelConfig]
    ) -> dict[str, Any]:
        """Move the model's own arguments out of a constructor's keywords; check the others.

        :raises TypeError: if a keyword is neither the model's nor its config's.
        """
        arguments = {name: kw.pop(name) for name in _INIT_FIELDS if name in kw}
        if "stop" in kw:
            renamed = rename_stop_alias(kw, STOP_ALIAS)
            kw.clear()
            kw.update(renamed)
        config_fields = {field.name for field in attrs.fields(config_class)}
        for name in kw:
            if name not in config_fields:
                known_names = config_fields.union(_INIT_FIELDS, {"stop"}) - _PRIVATE_ARGUMENTS
                raise make_unknown_keyword_error(name, known_names, cls.__name__)
        if kw and "config" in arguments:
            raise TypeError(f"{cls.__name__}: {', '.join(kw)} would be ignored beside config=")
        return arguments

    def _init_with_defaults(self, arguments: dict[str, Any]) -> None:
        """Initialize the model, with its format's builder and parser as defaults.

        :param arguments: the model's attributes, ``config`` among them.
        """
        for name, cls in (
            ("request_builder", self.builder_class),
            ("response_parser", self.parser_class),
        ):
            if name not in arguments:
                arguments[name] = cls()
        self.__attrs_init__(**arguments)

    def copy(self, **changes: Any) -> Self:
        """Return a copy with other constructor arguments, such as ``model.copy(temperature=0)``."""
        if "stop" in changes:
            changes = rename_stop_alias(changes, STOP_ALIAS)
        if "config" not in changes:
            config_fields = {field.name for field in attrs.fields(type(self.config))}
            config_changes = {name: changes.pop(name) for name in config_fields & changes.keys()}
            self._pop_model_arguments(dict(changes), type(self.config))
            changes["config"] = attrs.evolve(self.config, **config_changes)
            if "base_url" in config_changes:
                changes.setdefault("connections", Connections())
        return self._evolve(**changes)

    __replace__ = copy

    def _evolve(self, **changes: Any) -> Self:
        """Return a copy with other attributes. A subclass keeps dependent attributes consistent."""
        config = changes.get("config")
        if config is not None and not self._sends_to_same_model(config):
            changes.setdefault("refusals", RefusalMemory())
        new = object.__new__(type(self))
        for name in _INIT_FIELDS:
            changes.setdefault(name, getattr(self, name))
        new.__attrs_init__(**changes)
        return new

    def _sends_to_same_model(self, config: ModelConfig) -> bool:
        """Return whether what the server has refused holds for another config, too."""
        names = ("model", "base_url", "service_endpoint")
        return all(getattr(config, n, None) == getattr(self.config, n, None) for n in names)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        if self._custom_client is not None:
            raise TypeError(
                f"this {type(self).__name__} cannot be pickled: the client that was passed to it "
                "cannot leave this process; build the model where it is used"
            )
        return {
            name: getattr(self, name) for name in _INIT_FIELDS if name not in _PRIVATE_ARGUMENTS
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__attrs_init__(**state)


def _format_options(options: Mapping[str, Any]) -> str:
    """Format the bound options for the repr, without what may be secret."""
    formatters = {"extra_headers": format_headers, "extra_body": format_members}
    members = (f"{name!r}: {formatters.get(name, repr)(value)}" for name, value in options.items())
    return f"{{{', '.join(members)}}}"


_INIT_FIELDS: Final = tuple(field.name for field in attrs.fields(ImmutableModel) if field.init)
_PRIVATE_ARGUMENTS: Final = frozenset({"connections", "refusals"})
"""The attributes that belong to this process: no pickle holds them."""
