"""What every model shares that speaks the responses format; a provider of it is a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import attrs

from locus.core.conversation import Messages
from locus.core.errors import APIStatusError
from locus.core.tool_schemas import Tool
from locus.models.base import ModelConfig
from locus.models.http_model import HttpModel
from locus.transport.http_call import Call
from locus.wire.responses import ResponsesBuilder, ResponsesParser


@attrs.frozen
class ResponsesConfig(ModelConfig):
    """What a model of this format can be told besides :class:`~locus.models.base.ModelConfig`.

    :param store: whether the server keeps the conversation. Then each answer has a
        ``provider_state``; passed to the next call, it spares sending what came before. False
        leaves nothing with the server: every request has the whole conversation, and of a model
        that reasons its encrypted reasoning too.
    """

    store: bool = True


C = TypeVar("C", bound=ResponsesConfig)


@attrs.frozen(init=False, getstate_setstate=False)
class ResponsesModel(HttpModel[C]):
    """The base of the models that send ``POST …/responses``."""

    @property
    def supports_structured_output(self) -> bool:
        """True: ``response_format`` is passed on as the API's ``text.format``."""
        return True

    @property
    def server_stateful(self) -> bool:
        """Whether the server keeps the conversation: what ``store`` says."""
        return self.config.store

    def _start(self, own: dict[str, Any]) -> None:
        """Finish a constructor that has made ``own["config"]``."""
        own.setdefault("request_builder", ResponsesBuilder())
        own.setdefault("response_parser", ResponsesParser())
        self.__attrs_init__(**_agreeing(own))

    def _evolve(self, **changes: Any) -> Self:
        for name in ("config", "request_builder", "response_parser"):
            changes.setdefault(name, getattr(self, name))
        return super()._evolve(**_agreeing(changes))

    # Another try, without the reasoning that the server cannot read or the model does not have.

    def _call_with(
        self, messages: Messages, tools: Sequence[Tool], options: Mapping[str, Any]
    ) -> Call:
        extra = options.get("extra_body") or {}
        if isinstance(extra, Mapping) and isinstance(extra.get("store"), bool):
            # Whatever keeps to `store` has to know which one this call is sent with.
            without = {name: value for name, value in extra.items() if name != "store"}
            options = {**options, "extra_body": without}
            if extra["store"] is not self.config.store:
                other = self._evolve(config=attrs.evolve(self.config, store=extra["store"]))
                return other._call_with(messages, tools, options)
        call = super()._call_with(messages, tools, options)
        builder = self.request_builder
        if not isinstance(builder, ResponsesBuilder) or not builder.sealed:
            return call

        def fallback(error: APIStatusError) -> Call | None:
            refusal = error.body.lower()
            if error.status_code not in (400, 404, 422) or not any(
                words in refusal for words in _UNREADABLE
            ):
                return None
            without = self._evolve(request_builder=attrs.evolve(builder, sealed=False))
            again = without._call_with(messages, tools, options)
            return again if again.request.content != call.request.content else None

        return attrs.evolve(call, fallback=fallback)


_UNREADABLE: Final = ("encrypted", "reasoning item", "reasoning input item", "type 'reasoning'")
"""How servers complain, in lower case, of reasoning that another one or another model wrote."""


def _agreeing(parts: dict[str, Any]) -> dict[str, Any]:
    """The parts of a model, with the config's ``store`` known to the others."""
    store = parts["config"].store
    for name in ("request_builder", "response_parser"):
        if isinstance(parts[name], (ResponsesBuilder, ResponsesParser)):
            parts[name] = attrs.evolve(parts[name], store=store)
    return parts
