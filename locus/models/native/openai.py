"""``OpenAIModel``: OpenAI's chat completions, and other servers with the same format.

The API is documented under "Chat" in OpenAI's API reference. With ``base_url=``, the model sends to
llama.cpp, vLLM, LM Studio, Groq, OpenRouter and others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs

from locus.models.base_url import normalize_base_url
from locus.models.keyed_chat_completions_model import (
    KeyedChatCompletionsConfig,
    KeyedChatCompletionsModel,
)
from locus.models.keyed_model import ApiKey, KeyedConfig

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


@attrs.frozen
class OpenAIConfig(KeyedChatCompletionsConfig):
    """The options of an OpenAI model besides those of ``ChatCompletionsConfig``.

    :param api_key: sent as a bearer token. Never shown.
    :param base_url: the API's root.
    :param organization: OpenAI's organization id.
    :param project: OpenAI's project id.
    """

    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=normalize_base_url)
    organization: str | None = None
    project: str | None = None

    def build_credential_headers(self) -> dict[str, str]:
        """Build the headers that hold the credentials."""
        headers = super().build_credential_headers()
        if self.organization:
            headers["openai-organization"] = self.organization
        if self.project:
            headers["openai-project"] = self.project
        return headers


@attrs.frozen(init=False, getstate_setstate=False)
class OpenAIModel(KeyedChatCompletionsModel[OpenAIConfig]):
    """A model of OpenAI, or of another server with the chat completions format.

    :param model: the model's name.
    :param api_key: by default ``OPENAI_API_KEY``. A server of your own may need none.
    :param base_url: by default ``OPENAI_BASE_URL``, or else OpenAI's.
    :param max_tokens: the longest response, in tokens.
    :param temperature: 0 and up. It is not sent to reasoning models, nor is ``top_p``.
    :param http_client: an httpx or httpx2 client to send with, or a pair of a blocking and an
        async one. Locus never closes it.
    :param sdk_client: an ``openai`` client to send with, blocking or async, ``AzureOpenAI``
        included. Locus never closes it.
    :param kw: the other fields of :class:`OpenAIConfig`, and ``request_builder`` and
        ``response_parser`` for a server whose format differs.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid.
    """

    prefix: ClassVar[str] = "openai"
    title: ClassVar[str] = "OpenAI"
    config_class: ClassVar[type[KeyedConfig]] = OpenAIConfig
    default_base_url: ClassVar[str] = DEFAULT_BASE_URL
    environment: ClassVar[Mapping[str, str]] = {
        "api_key": "OPENAI_API_KEY",
        "base_url": "OPENAI_BASE_URL",
        "organization": "OPENAI_ORG_ID",
        "project": "OPENAI_PROJECT_ID",
    }

    def __init__(
        self,
        model: str = "gpt-4o",
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        super().__init__(model, api_key, base_url, max_tokens, temperature, **kw)

    def _build_sdk_arguments(self) -> dict[str, Any]:
        config = self.config
        return {
            **super()._build_sdk_arguments(),
            "organization": config.organization,
            "project": config.project,
        }
