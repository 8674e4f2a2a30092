"""``OpenAIModel``: OpenAI's chat completions, and other servers with the same format.

The API is documented under "Chat" in OpenAI's API reference. With ``base_url=``, the model sends to
llama.cpp, vLLM, LM Studio, Groq, OpenRouter and others.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.models.base_url import normalize_base_url
from locus.models.chat_completions_model import ChatCompletionsConfig, ChatCompletionsModel
from locus.transport.http_request import check_headers
from locus.transport.sdk_senders import RawResponseAdapter

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


@attrs.frozen
class OpenAIConfig(ChatCompletionsConfig):
    """The options of an OpenAI model besides those of ``ChatCompletionsConfig``.

    :param api_key: sent as a bearer token. Never shown.
    :param base_url: the API's root.
    :param organization: OpenAI's organization id.
    :param project: OpenAI's project id.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=normalize_base_url)
    organization: str | None = None
    project: str | None = None

    def __attrs_post_init__(self) -> None:
        key = self.api_key
        if key is not None and not isinstance(key, str):
            raise ConfigurationError(f"api_key must be a string, not {type(key).__name__}")
        if key and key != key.strip():
            raise ConfigurationError("api_key has white space at its ends")
        check_headers(self.build_credential_headers())

    def build_credential_headers(self) -> dict[str, str]:
        """Build the headers that hold the credentials."""
        headers = {}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        if self.organization:
            headers["openai-organization"] = self.organization
        if self.project:
            headers["openai-project"] = self.project
        return headers


@attrs.frozen(init=False, getstate_setstate=False)
class OpenAIModel(ChatCompletionsModel[OpenAIConfig]):
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
    key_hint: ClassVar[str] = "check api_key= or OPENAI_API_KEY"
    sdk_adapter: ClassVar[RawResponseAdapter | None] = RawResponseAdapter(
        "openai", "OpenAIError", lambda client: client.chat.completions.with_raw_response.create
    )

    def __init__(
        self,
        model: str = "gpt-4o",
        api_key: str | None = None,
        base_url: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        arguments = self._pop_model_arguments(kw, OpenAIConfig)
        if "config" not in arguments:
            environ = os.environ
            kw.setdefault("organization", environ.get("OPENAI_ORG_ID"))
            kw.setdefault("project", environ.get("OPENAI_PROJECT_ID"))
            arguments["config"] = OpenAIConfig(
                model=model,
                api_key=api_key or environ.get("OPENAI_API_KEY"),
                base_url=base_url or environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL,
                max_tokens=max_tokens,
                temperature=temperature,
                **kw,
            )
        self._init_with_defaults(arguments)

    def _build_url(self) -> str:
        return f"{self.config.base_url}/chat/completions"

    def _build_provider_headers(self) -> dict[str, str]:
        config = self.config
        if (
            not config.api_key
            and config.base_url == DEFAULT_BASE_URL
            and self._custom_client is None
        ):
            raise ConfigurationError(
                "OpenAI needs an API key: pass api_key=, or set OPENAI_API_KEY; for another "
                "server pass base_url="
            )
        return config.build_credential_headers()

    def _make_sdk_client(self) -> Any:
        try:
            import openai
        except ImportError:
            raise ConfigurationError(
                'model.client is the openai SDK\'s: pip install "locus-llm[openai]"'
            ) from None
        config = self.config
        return openai.AsyncOpenAI(
            api_key=config.api_key or "none",
            base_url=config.base_url,
            organization=config.organization,
            project=config.project,
            timeout=config.timeout,
            max_retries=config.max_retries,
        )
