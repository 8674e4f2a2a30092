"""What every model shares that speaks chat completions; a new provider of it is a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from locus.core.errors import APIStatusError
from locus.models.base import ModelConfig
from locus.models.http_model import HttpModel
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser


@attrs.frozen
class ChatCompletionsConfig(ModelConfig):
    """What a model of this format can be told besides :class:`~locus.models.base.ModelConfig`.

    :param seed: for answers that repeat, where the server can.
    :param frequency_penalty: against words used often, -2 to 2.
    :param presence_penalty: against words used at all, -2 to 2.
    :param stream_usage: ask for token counts at the end of a stream. A server that refuses
        ``stream_options`` is asked again without; False spares it the first question.
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
        """True: ``response_format`` is this API's own."""
        return True

    def _start(self, own: dict[str, Any]) -> None:
        """Finish a constructor that has made ``own["config"]``."""
        own.setdefault("request_builder", ChatCompletionsBuilder())
        own.setdefault("response_parser", ChatCompletionsParser())
        self.__attrs_init__(**own)

    def _otherwise(
        self, error: APIStatusError, options: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        asked = options["stream"] and options["stream_usage"]
        if asked and error.status_code in (400, 422) and "stream_options" in error.body:
            return {**options, "stream_usage": False}
        return None
