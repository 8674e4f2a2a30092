"""OpenAI's chat completions, and every server that speaks the same format.

The API is documented under "Chat" in OpenAI's API reference. ``base_url`` reaches llama.cpp,
vLLM, LM Studio, Groq, OpenRouter and the rest.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import attrs

from locus.core.errors import ConfigurationError
from locus.models.chat_completions_model import ChatCompletionsConfig, ChatCompletionsModel
from locus.transport.custom_client import SdkMethod
from locus.transport.http_call import check_headers

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


def check_base_url(url: str) -> str:
    """The API's root, without a slash at its end.

    :raises ConfigurationError: it is not an http or https address, or holds a query.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"base_url must be a string, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        labels = host.removesuffix(".").split(".")
        known = (
            parts.scheme in ("http", "https")
            and all(0 < len(label) < 64 for label in labels)  # RFC 1035, 2.3.4
            and parts.port != 0
        )
    except ValueError:
        known = False
    if "@" in (parts.netloc if known else url):
        raise ConfigurationError("base_url must not hold credentials: pass api_key=")
    if not known:
        shown = url.partition("?")[0]
        raise ConfigurationError(f"base_url must be an http(s) address, not {shown!r}")
    if parts.query or parts.fragment:
        raise ConfigurationError("base_url is the API's root: no query and no fragment")
    return url.rstrip("/")


@attrs.frozen
class OpenAIConfig(ChatCompletionsConfig):
    """What an OpenAI model can be told besides ``ChatCompletionsConfig``.

    :param api_key: sent as a bearer token. Never shown.
    :param base_url: the API's root.
    :param organization: OpenAI's organization id.
    :param project: OpenAI's project id.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=check_base_url)
    organization: str | None = None
    project: str | None = None

    def __attrs_post_init__(self) -> None:
        key = self.api_key
        if key is not None and not isinstance(key, str):
            raise ConfigurationError(f"api_key must be a string, not {type(key).__name__}")
        if key and key != key.strip():
            raise ConfigurationError("api_key has white space at its ends")
        check_headers(self.credentials())

    def credentials(self) -> dict[str, str]:
        """The headers that say who asks."""
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
    """A model of OpenAI, or of a server that speaks its chat completions format.

    :param model: the model's name.
    :param api_key: else ``OPENAI_API_KEY``. Servers of your own may need none.
    :param base_url: else ``OPENAI_BASE_URL``, else OpenAI's.
    :param max_tokens: the longest answer, in tokens.
    :param temperature: 0 and up; reasoning models get no sampling parameters at all.
    :param http_client: an httpx or httpx2 client to send with, or a pair of a blocking and an
        async one. Locus never closes it.
    :param sdk_client: an ``openai`` client to send through, blocking or async, ``AzureOpenAI``
        included.
    :param kw: the other fields of :class:`OpenAIConfig`, and ``request_builder`` and
        ``response_parser`` for a server that differs.
    :raises TypeError: an unknown keyword; says the nearest.
    :raises ConfigurationError: a value that cannot work.
    """

    prefix: ClassVar[str] = "openai"
    key_hint: ClassVar[str] = "check api_key= or OPENAI_API_KEY"
    sdk: ClassVar[SdkMethod | None] = SdkMethod(
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
        own = self._take_own(kw, OpenAIConfig)
        if "config" not in own:
            environ = os.environ
            kw.setdefault("organization", environ.get("OPENAI_ORG_ID"))
            kw.setdefault("project", environ.get("OPENAI_PROJECT_ID"))
            own["config"] = OpenAIConfig(
                model=model,
                api_key=api_key or environ.get("OPENAI_API_KEY"),
                base_url=base_url or environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL,
                max_tokens=max_tokens,
                temperature=temperature,
                **kw,
            )
        self._start(own)

    def _url(self) -> str:
        return f"{self.config.base_url}/chat/completions"

    def _headers(self) -> dict[str, str]:
        config = self.config
        if not config.api_key and config.base_url == DEFAULT_BASE_URL and self._brought is None:
            raise ConfigurationError(
                "OpenAI wants an API key: pass api_key=, or set OPENAI_API_KEY; for another "
                "server pass base_url="
            )
        return config.credentials()

    def _make_client(self) -> Any:
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
