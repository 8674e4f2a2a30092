"""The base classes of hosts with the chat completions format and an API key."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import attrs

from locus.core.errors import ConfigurationError
from locus.models.chat_completions_model import ChatCompletionsConfig, ChatCompletionsModel
from locus.models.keyed_model import KeyedConfig, KeyedModel
from locus.transport.key_function_signer import make_sdk_key
from locus.transport.sdk_senders import RawResponseAdapter


@attrs.frozen
class KeyedChatCompletionsConfig(KeyedConfig, ChatCompletionsConfig):
    """The options of these models: the provider's key and address, and those of the format."""


H = TypeVar("H", bound=KeyedChatCompletionsConfig)


@attrs.frozen(init=False, getstate_setstate=False)
class KeyedChatCompletionsModel(KeyedModel[H], ChatCompletionsModel[H]):
    """A model of a host that has the chat completions format, and takes an API key.

    :param model: the model's name.
    :param api_key: sent as a bearer token; by default the variable that the subclass names.
    :param base_url: the API's root, by default the subclass's.
    :param max_tokens: the longest response, in tokens.
    :param temperature: 0 and up. It is not sent to reasoning models, nor is ``top_p``.
    :param kw: the other fields of the config; ``http_client``, ``sdk_client`` (an ``openai``
        client), ``request_builder`` and ``response_parser``.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid.
    """

    sdk_adapter: ClassVar[RawResponseAdapter | None] = RawResponseAdapter(
        "openai", "OpenAIError", lambda client: client.chat.completions.with_raw_response.create
    )
    config_class: ClassVar[type[KeyedConfig]] = KeyedChatCompletionsConfig
    url_path: ClassVar[str] = "/chat/completions"

    def make_sdk_client(self) -> Any:
        try:
            import openai
        except ImportError:
            raise ConfigurationError(
                'model.client is the openai SDK\'s: pip install "locus-llm[openai]"'
            ) from None
        return openai.AsyncOpenAI(**self._build_sdk_arguments())

    def _build_sdk_arguments(self) -> dict[str, Any]:
        """Build the arguments of the SDK's client."""
        config = self.config
        return {
            "api_key": make_sdk_key(config.api_key) if config.api_key else "none",
            "base_url": config.base_url,
            "timeout": config.timeout,
            "max_retries": config.max_retries,
        }
