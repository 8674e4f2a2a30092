"""The base classes of models that use the responses format: a config and a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

import attrs

from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages
from locus.core.errors import APIStatusError
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
        """Build the HTTP call, with a fallback that leaves out encrypted reasoning.

        The fallback is for a server that cannot read the reasoning of another server, or for a
        model that does not reason.
        """
        extra_body = options.get("extra_body") or {}
        if isinstance(extra_body, Mapping) and isinstance(extra_body.get("store"), bool):
            # The builder and the parser depend on `store`, so they must know this call's value.
            other_fields = {name: value for name, value in extra_body.items() if name != "store"}
            options = {**options, "extra_body": other_fields}
            if extra_body["store"] is not self.config.store:
                config = attrs.evolve(self.config, store=extra_body["store"])
                model = self._evolve(config=config)
                return model._build_http_call_with_options(messages, tools, options)
        http_call = super()._build_http_call_with_options(messages, tools, options)
        builder = self.request_builder
        if not isinstance(builder, ResponsesBuilder) or not builder.encrypted_reasoning:
            return http_call

        def make_fallback_call(error: APIStatusError) -> HttpCall | None:
            body = error.body.lower()
            if error.status_code not in (400, 404, 422) or not any(
                phrase in body for phrase in _REASONING_ERROR_PHRASES
            ):
                return None
            other_builder = attrs.evolve(builder, encrypted_reasoning=False)
            model = self._evolve(request_builder=other_builder)
            other_call = model._build_http_call_with_options(messages, tools, options)
            return other_call if other_call.request.content != http_call.request.content else None

        return attrs.evolve(http_call, make_fallback_call=make_fallback_call)


_REASONING_ERROR_PHRASES: Final = (
    "encrypted",
    "reasoning item",
    "reasoning input item",
    "type 'reasoning'",
)
"""Parts of the error messages, in lower case, for reasoning of another server or another model."""


def _set_store_from_config(arguments: dict[str, Any]) -> dict[str, Any]:
    """Set ``store`` of the builder and the parser in ``arguments`` to the config's value."""
    store = arguments["config"].store
    for name in ("request_builder", "response_parser"):
        if isinstance(arguments[name], (ResponsesBuilder, ResponsesParser)):
            arguments[name] = attrs.evolve(arguments[name], store=store)
    return arguments
