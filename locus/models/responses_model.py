"""The base classes of models that use the responses format: a config and a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import attrs

from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages
from locus.models.capabilities import ModelCapabilities
from locus.models.config import ModelConfig
from locus.models.http_model import HttpModel
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.transport.prepared_http_call import HttpCall
from locus.wire.responses import ResponsesBuilder, ResponsesParser


@attrs.frozen
class ResponsesConfig(ModelConfig):
    """The options of these models besides those of :class:`~locus.models.ModelConfig`.

    :param store: whether the server stores the conversation. If it does, each response has a
        ``provider_state``: pass it to the next call, and send new messages only. If it does not,
        each request holds the whole conversation, with the encrypted reasoning of reasoning models.
    """

    store: bool = True


C = TypeVar("C", bound=ResponsesConfig)


@attrs.frozen(init=False, getstate_setstate=False)
class ResponsesModel(HttpModel[C]):
    """The base class of models that send ``POST …/responses``."""

    builder_class: ClassVar[type[RequestBuilder]] = ResponsesBuilder
    parser_class: ClassVar[type[ResponseParser]] = ResponsesParser
    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(
        structured_output="always",  # as the API's `text.format`
        server_state=True,
        thinking=True,
    )

    @property
    def server_stateful(self) -> bool:
        """Whether the server stores the conversation, as ``config.store`` says."""
        return self.config.store

    def _init_with_defaults(self, arguments: dict[str, Any]) -> None:
        """Initialize the model, with this format's builder and parser as defaults.

        :param arguments: the model's attributes, ``config`` among them.
        """
        arguments.setdefault("request_builder", self.builder_class())
        arguments.setdefault("response_parser", self.parser_class())
        super()._init_with_defaults(_set_store_from_config(arguments))

    def _evolve(self, **changes: Any) -> Self:
        """Return a copy with other attributes, and with the ``store`` of its config."""
        for name in ("config", "request_builder", "response_parser"):
            changes.setdefault(name, getattr(self, name))
        return super()._evolve(**_set_store_from_config(changes))

    def _build_http_call_with_options(
        self, messages: Messages, tools: Sequence[ToolLike], options: Mapping[str, Any]
    ) -> HttpCall:
        """Build the HTTP call of a model that knows whether the server stores this response."""
        store, extra_body = options.get("store"), options.get("extra_body")
        if isinstance(extra_body, Mapping) and isinstance(extra_body.get("store"), bool):
            store = extra_body["store"]
        model = self
        if store is not None and store is not self.config.store:
            model = self._evolve(config=attrs.evolve(self.config, store=store))
        return super(ResponsesModel, model)._build_http_call_with_options(messages, tools, options)


def _set_store_from_config(arguments: dict[str, Any]) -> dict[str, Any]:
    """Set ``store`` of the builder and the parser in ``arguments`` to the config's value."""
    store = arguments["config"].store
    for name in ("request_builder", "response_parser"):
        if isinstance(arguments[name], (ResponsesBuilder, ResponsesParser)):
            arguments[name] = attrs.evolve(arguments[name], store=store)
    return arguments
