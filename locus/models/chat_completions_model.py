"""The base classes of models that use the chat completions format: a config and a model."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import attrs

from locus.models.capabilities import ModelCapabilities
from locus.models.config import ModelConfig
from locus.models.http_model import HttpModel
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser


@attrs.frozen
class ChatCompletionsConfig(ModelConfig):
    """The options of these models besides those of :class:`~locus.models.config.ModelConfig`.

    :param stream_usage: request token counts at the end of a stream. If a server rejects
        ``stream_options``, the request is sent again without it; False saves that first request.
    """

    stream_usage: bool = True


C = TypeVar("C", bound=ChatCompletionsConfig)


@attrs.frozen(init=False, getstate_setstate=False)
class ChatCompletionsModel(HttpModel[C]):
    """The base of the models that send ``POST …/chat/completions``."""

    builder_class: ClassVar[type[RequestBuilder]] = ChatCompletionsBuilder
    parser_class: ClassVar[type[ResponseParser]] = ChatCompletionsParser
    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(
        structured_output="always", thinking=True
    )
