"""The base classes of models that use the chat completions format: a config and a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from locus.core.errors import APIStatusError
from locus.models.config import ModelConfig
from locus.models.http_model import HttpModel
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser


@attrs.frozen
class ChatCompletionsConfig(ModelConfig):
    """The options of these models besides those of :class:`~locus.models.ModelConfig`.

    :param seed: makes responses repeatable, as far as the server supports it.
    :param frequency_penalty: -2 to 2; above 0, tokens that were used often become less likely.
    :param presence_penalty: -2 to 2; above 0, tokens that were used at all become less likely.
    :param stream_usage: request token counts at the end of a stream. If a server rejects
        ``stream_options``, the request is sent again without it; False saves that first request.
    """

    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stream_usage: bool = True


C = TypeVar("C", bound=ChatCompletionsConfig)


@attrs.frozen(init=False, getstate_setstate=False)
class ChatCompletionsModel(HttpModel[C]):
    """The base of the models that send ``POST …/chat/completions``."""

    @property
    def supports_structured_output(self) -> bool:
        """True: this API has a ``response_format``."""
        return True

    def _init_with_defaults(self, arguments: dict[str, Any]) -> None:
        """Initialize the model, with this format's builder and parser as defaults.

        :param arguments: the model's attributes, ``config`` among them.
        """
        arguments.setdefault("request_builder", ChatCompletionsBuilder())
        arguments.setdefault("response_parser", ChatCompletionsParser())
        self.__attrs_init__(**arguments)

    def _find_fallback_options(
        self, error: APIStatusError, options: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the options without token counts if the server rejected ``stream_options``."""
        has_stream_options = options["stream"] and options["stream_usage"]
        if (
            has_stream_options
            and error.status_code in (400, 422)
            and "stream_options" in error.body
        ):
            return {**options, "stream_usage": False}
        return None
