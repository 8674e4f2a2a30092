"""``OllamaModel``: models of an Ollama server on this machine, on another one, or at ollama.com.

The API is documented as ``docs/api.md`` in Ollama's repository, under "Generate a chat completion".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, TypeAlias

import attrs

from locus.core.errors import APIConnectionError, APIError, ConfigurationError, NotFoundError
from locus.core.frozendict import EMPTY, to_frozen_dict
from locus.models.capabilities import ModelCapabilities
from locus.models.keyed_model import KeyedConfig, KeyedModel
from locus.models.native.ollama_host import normalize_server_url
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.transport.custom_client import CustomClient
from locus.transport.sdk_senders import SdkAdapter
from locus.wire.ollama_chat import OllamaChatBuilder, OllamaChatParser
from locus.wire.ollama_chat.request import RUNTIME_OPTIONS


class _DefaultURL(str):
    """The type of the default base URL, to distinguish it from an equal URL of the caller."""

    __slots__ = ()


DEFAULT_BASE_URL: Final = _DefaultURL("http://localhost:11434")
Think: TypeAlias = bool | Literal["low", "medium", "high"]


def _to_runtime_options(runtime_options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Freeze the runtime options. Reject those that have a keyword of their own."""
    options = to_frozen_dict(runtime_options, "options")
    for name in options:
        if name in RUNTIME_OPTIONS:
            keyword = "stop_sequences" if name == "stop" else RUNTIME_OPTIONS[name]
            raise ConfigurationError(f"options does not accept {name!r}: use {keyword}= instead")
    return options


def _validate_keep_alive(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None or isinstance(value, str):
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(
            f"{field.name} is seconds, or a duration such as '10m'; not {value!r}"
        )


def _validate_think(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, (bool, str)):
        raise ConfigurationError(
            f"{field.name} is True, False, 'low', 'medium' or 'high'; not {value!r}"
        )


@attrs.frozen
class OllamaConfig(KeyedConfig):
    """The options of an Ollama model besides those of :class:`~locus.models.config.ModelConfig`.

    :param base_url: the server, in any form that ``OLLAMA_HOST`` may have.
    :param api_key: sent as a bearer token; for ollama.com. Never shown.
    :param keep_alive: how long the model stays in memory after a response: seconds, or a duration
        such as ``"10m"``; 0 unloads it at once, below 0 it stays. None is the server's default.
    :param options: further runtime options, such as ``{"num_ctx": 8192}``; Ollama lists them
        under "Valid Parameters and Values" in its Modelfile reference.
    :param think: whether, or how much, a thinking model thinks. None is the model's default.
    """

    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=normalize_server_url)
    keep_alive: float | str | None = attrs.field(default=None, validator=_validate_keep_alive)
    options: Mapping[str, Any] = attrs.field(
        default=EMPTY, converter=_to_runtime_options, hash=False
    )
    think: Think | None = attrs.field(default=None, validator=_validate_think)

    def build_members(self) -> Mapping[str, Any]:
        """Build the members of every request body that only Ollama has."""
        fields = {
            "keep_alive": self.keep_alive,
            "think": self.think,
            "options": self.options or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class _OllamaSdkAdapter:
    """The adapter for clients of the package ``ollama``, which never retries."""

    retries_requests = False

    def make_custom_client(self, sdk_client: Any) -> CustomClient:
        """Make the sender for ``sdk_client=``."""
        from locus.models.native.ollama_sdk import wrap_sdk_client  # imports httpx

        return wrap_sdk_client(sdk_client)


@attrs.frozen(init=False, getstate_setstate=False)
class OllamaModel(KeyedModel[OllamaConfig]):
    """A model that an Ollama server runs.

    :param model: the model's name, with its tag if it has one: ``"qwen3:8b"``.
    :param base_url: the server: a host, a host and a port, or a URL. By default ``OLLAMA_HOST``, or
        else this machine, port 11434.
    :param max_tokens: the longest response, in tokens (``num_predict``).
    :param temperature: 0 (the most likely tokens) and up.
    :param kw: the other fields of :class:`OllamaConfig`; ``http_client``, ``sdk_client``,
        ``request_builder`` and ``response_parser``. ``api_key`` is by default ``OLLAMA_API_KEY``.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid.
    """

    prefix: ClassVar[str] = "ollama"
    key_hint: ClassVar[str] = "type `ollama signin`, or check api_key= and OLLAMA_API_KEY"
    config_class: ClassVar[type[KeyedConfig]] = OllamaConfig
    default_base_url: ClassVar[str] = DEFAULT_BASE_URL
    url_path: ClassVar[str] = "/api/chat"
    builder_class: ClassVar[type[RequestBuilder]] = OllamaChatBuilder
    parser_class: ClassVar[type[ResponseParser]] = OllamaChatParser
    environment: ClassVar[Mapping[str, str]] = {
        "api_key": "OLLAMA_API_KEY",
        "base_url": "OLLAMA_HOST",
    }
    requires_key: ClassVar[bool] = False  # a server of the user's own has none
    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(
        structured_output="without_tools",  # by `format`, to which tool calls would have to keep
        schema_beside_tools=True,
        thinking=True,
    )
    sdk_adapter: ClassVar[SdkAdapter | None] = _OllamaSdkAdapter()

    def __init__(
        self,
        model: str = "llama3.3",
        base_url: str | None = DEFAULT_BASE_URL,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        # `options` is also an attribute of every model, the bound options. Here it is Ollama's.
        runtime_options = {"options": kw.pop("options")} if "options" in kw else {}
        arguments = self._build_init_arguments(
            kw,
            model=model,
            base_url=None if isinstance(base_url, _DefaultURL) else base_url,
            max_tokens=max_tokens,
            temperature=temperature,
            **runtime_options,
        )
        self._init_with_defaults(arguments)

    def build_url(self, *, stream: bool = False) -> str:
        # An SDK client has a base URL of its own, which it does not expose.
        return super().build_url(stream=stream) if self.sdk_client is None else self.url_path

    def get_error_hints(self) -> Mapping[type[APIError], str]:
        config = self.config
        return {
            APIConnectionError: "if no server is running there, type `ollama serve`; if it is "
            "elsewhere, set base_url= or OLLAMA_HOST",
            NotFoundError: f"if the server does not have the model, type `ollama pull "
            f"{config.model}`; else check base_url, which is the server's root",
        }

    def make_sdk_client(self) -> Any:
        try:
            import httpx  # a dependency of the package
            import ollama
        except ImportError:
            raise ConfigurationError(
                'model.client is the ollama package\'s: pip install "locus-llm[ollama]"'
            ) from None
        config = self.config
        return ollama.AsyncClient(
            host=config.base_url,
            timeout=config.timeout,
            headers=config.build_credential_headers(),
            auth=self.make_sdk_auth(httpx.AsyncClient),
        )
