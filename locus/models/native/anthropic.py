"""``AnthropicModel``: Anthropic's messages API, and other servers with the same format.

The API is documented under "Messages" in Anthropic's API reference. With ``base_url=``, the model
sends to gateways, llama.cpp, vLLM and others; with ``sdk_client=``, to Amazon Bedrock, Google
Vertex and Microsoft Foundry.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import attrs

from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages
from locus.core.errors import ConfigurationError
from locus.core.option_rules import OptionRules
from locus.models.base_url import normalize_base_url
from locus.models.capabilities import ModelCapabilities
from locus.models.config import ModelConfig
from locus.models.keyed_model import ApiKey, KeyedConfig, KeyedModel
from locus.models.option_layers import OptionLayers
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.transport.http_request import check_headers
from locus.transport.prepared_http_call import HttpCall
from locus.transport.sdk_senders import RawResponseAdapter
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.anthropic_messages.cache_marks import CacheLife, normalize_prompt_cache
from locus.wire.anthropic_messages.check_thinking import ThinkingConfig, normalize_thinking

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
"""The model if none is named. One that Anthropic's page "Model deprecations" calls active."""
DEFAULT_BASE_URL: Final = "https://api.anthropic.com"
API_VERSION: Final = "2023-06-01"
"""The version of the API that Locus sends in the header ``anthropic-version``."""
NO_SAMPLING_API_VERSION: Final = "2026-10-21"
"""From this version on, no model accepts ``temperature`` and ``top_p``."""


def _validate_prompt_cache(_: Any, __: Any, value: Any) -> None:
    normalize_prompt_cache(value)


@attrs.frozen
class AnthropicConfig(KeyedConfig):
    """The options of an Anthropic model besides those of :class:`~locus.models.ModelConfig`.

    :param api_key: sent as ``x-api-key``. Never shown.
    :param auth_token: sent as a bearer token, if there is no API key. Never shown.
    :param base_url: the API's root; ``/v1/messages`` is added to it.
    :param api_version: the header ``anthropic-version``.
    :param prompt_cache: whether to mark the tools, the system prompt and the end of the
        conversation for the prompt cache: True, or how long they stay there, ``"5m"`` or ``"1h"``.
    :param thinking: how much the model may think before it responds: a number of tokens,
        ``"adaptive"``, or the API's own mapping. None is the model's default.
    """

    auth_token: str | None = attrs.field(default=None, repr=False)
    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=normalize_base_url)
    api_version: str = API_VERSION
    prompt_cache: bool | CacheLife = attrs.field(default=False, validator=_validate_prompt_cache)
    thinking: ThinkingConfig = attrs.field(default=None, converter=normalize_thinking, hash=False)

    def __attrs_post_init__(self) -> None:
        if self.api_key and self.auth_token:
            raise ConfigurationError("api_key= and auth_token= exclude each other")
        super().__attrs_post_init__()
        check_headers({"anthropic-version": self.api_version})

    @property
    def has_credentials(self) -> bool:
        """Whether there is a key or a token."""
        return bool(self.api_key or self.auth_token)

    def build_credential_headers(self) -> dict[str, str]:
        """Build the headers that hold the credentials."""
        if self.api_key:
            return {"x-api-key": self.known_api_key} if self.known_api_key else {}
        return {"authorization": f"Bearer {self.auth_token}"} if self.auth_token else {}


@attrs.frozen(init=False, getstate_setstate=False)
class AnthropicModel(KeyedModel[AnthropicConfig]):
    """A model of Anthropic, or of another server with the messages format.

    :param model: the model's name.
    :param api_key: by default ``ANTHROPIC_API_KEY``, or else ``ANTHROPIC_AUTH_TOKEN`` as a bearer
        token.
    :param base_url: by default ``ANTHROPIC_BASE_URL``, or else Anthropic's.
    :param max_tokens: the longest response, in tokens, thinking included.
    :param temperature: 0 to 1. It is not sent to models that reject it, nor with thinking.
    :param prompt_cache: whether to mark the tools, the system prompt and the end of the
        conversation for the prompt cache: True, or how long they stay there, ``"5m"`` or ``"1h"``.
    :param http_client: an httpx or httpx2 client to send with, or a pair of a blocking and an
        async one. Locus never closes it.
    :param sdk_client: an ``anthropic`` client to send with, blocking or async,
        ``AnthropicBedrock`` and ``AnthropicVertex`` included. Locus never closes it.
    :param kw: the other fields of :class:`AnthropicConfig`, and ``request_builder`` and
        ``response_parser`` for a server whose format differs.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid.
    """

    prefix: ClassVar[str] = "anthropic"
    title: ClassVar[str] = "Anthropic"
    config_class: ClassVar[type[KeyedConfig]] = AnthropicConfig
    default_base_url: ClassVar[str] = DEFAULT_BASE_URL
    url_path: ClassVar[str] = "/v1/messages"
    builder_class: ClassVar[type[RequestBuilder]] = AnthropicMessagesBuilder
    parser_class: ClassVar[type[ResponseParser]] = AnthropicMessagesParser
    environment: ClassVar[Mapping[str, str]] = {
        "api_key": "ANTHROPIC_API_KEY",
        "auth_token": "ANTHROPIC_AUTH_TOKEN",
        "base_url": "ANTHROPIC_BASE_URL",
    }
    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(
        structured_output="without_tools",  # by a tool that the model is forced to call
        schema_beside_tools=True,
        thinking=True,
    )
    sdk_adapter: ClassVar[RawResponseAdapter | None] = RawResponseAdapter(
        "anthropic",
        "AnthropicError",
        lambda client: client.messages.with_raw_response.create,
        checks_duration=True,
    )

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        prompt_cache: bool | CacheLife = False,
        **kw: Any,
    ) -> None:
        if kw.get("sdk_client") is None and "config" not in kw:  # an SDK client reads them itself
            headers = {**_read_custom_headers(), **(kw.get("extra_headers") or {})}
            if headers:
                kw["extra_headers"] = headers
        arguments = self._build_init_arguments(
            kw,
            model=model,
            api_key=api_key,
            base_url=base_url,
            max_tokens=max_tokens,
            temperature=temperature,
            prompt_cache=prompt_cache,
        )
        self._init_with_defaults(arguments)

    @classmethod
    def _fill_from_environment(cls, config_arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config's arguments, with the key or the token of the environment.

        The environment's key is used before its token, and neither if the caller passes one.
        """
        passed = {name: config_arguments.get(name) or None for name in ("api_key", "auth_token")}
        others = {name: value for name, value in config_arguments.items() if name not in passed}
        filled = super()._fill_from_environment(others)
        if any(passed.values()):
            return {**filled, **passed}
        return {**filled, "auth_token": None} if filled.get("api_key") else filled

    def _init_with_defaults(self, arguments: dict[str, Any]) -> None:
        """Initialize the model, with a builder that fits the config."""
        builder = arguments.setdefault("request_builder", AnthropicMessagesBuilder())
        if isinstance(builder, AnthropicMessagesBuilder):
            arguments["request_builder"] = _make_configured_builder(
                builder, arguments["config"], None
            )
        super()._init_with_defaults(arguments)

    def build_provider_headers(self) -> dict[str, str]:
        credentials = super().build_provider_headers()
        return {"anthropic-version": self.config.api_version, **credentials}

    def _evolve(self, **changes: Any) -> Self:
        config, builder = changes.get("config"), self.request_builder
        if config is not None and isinstance(builder, AnthropicMessagesBuilder):
            changes.setdefault(
                "request_builder", _make_configured_builder(builder, config, self.config)
            )
        return super()._evolve(**changes)

    def _merge_options(self, layers: OptionLayers) -> dict[str, Any]:
        """Merge the options, with ``temperature`` or ``top_p`` but not both."""
        sampling = _choose_sampling_options(layers.config, layers.bound, layers.call)
        return {**super()._merge_options(layers), **sampling}

    def _get_option_rules(self, options: Mapping[str, Any]) -> OptionRules | None:
        return super(AnthropicModel, self._adapt_to_api_version(options))._get_option_rules(options)

    def _build_http_call_with_options(
        self, messages: Messages, tools: Sequence[ToolLike], options: Mapping[str, Any]
    ) -> HttpCall:
        model = self._adapt_to_api_version(options)
        return super(AnthropicModel, model)._build_http_call_with_options(messages, tools, options)

    def _adapt_to_api_version(self, options: Mapping[str, Any]) -> Self:
        """Return the model, or a copy whose builder knows that the API version has no sampling."""
        builder = self.request_builder
        if (
            isinstance(builder, AnthropicMessagesBuilder)
            and builder.sampling is None
            and self._get_api_version(options) >= NO_SAMPLING_API_VERSION
        ):
            return self._evolve(request_builder=attrs.evolve(builder, sampling=False))
        return self

    def _get_api_version(self, options: Mapping[str, Any]) -> str:
        """Return the version of the API that a call uses; an SDK client has one of its own."""
        for name, value in (options.get("extra_headers") or {}).items():
            if isinstance(name, str) and name.lower() == "anthropic-version":
                return str(value)
        client = self.sdk_client
        if client is None:
            return self.config.api_version
        version = client.default_headers.get("anthropic-version")
        if isinstance(version, str):
            return version
        # The clients for other clouds send the version in the body.
        major = int(sys.modules["anthropic"].__version__.partition(".")[0])
        return NO_SAMPLING_API_VERSION if major >= 2 else API_VERSION

    def make_sdk_client(self) -> Any:
        try:
            import anthropic
        except ImportError:
            raise ConfigurationError(
                'model.client is the anthropic SDK\'s: pip install "locus-llm[anthropic]"'
            ) from None
        config = self.config
        auth = self.make_sdk_auth(anthropic.DefaultAsyncHttpxClient)
        return anthropic.AsyncAnthropic(
            api_key=None if config.auth_token else config.get_sdk_api_key(),
            auth_token=config.auth_token,
            base_url=config.base_url,
            timeout=config.timeout,
            max_retries=config.max_retries,
            http_client=auth and anthropic.DefaultAsyncHttpxClient(auth=auth),
        )


def _read_custom_headers() -> dict[str, str]:
    """Return the headers in ``ANTHROPIC_CUSTOM_HEADERS``, one in each line, as the SDK does."""
    lines = os.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


_BUILDER_FIELDS: Final = ("prompt_cache", "thinking")
"""The fields of a config that are copied to the request builder."""


def _make_configured_builder(
    builder: AnthropicMessagesBuilder,
    config: AnthropicConfig,
    previous_config: AnthropicConfig | None,
) -> AnthropicMessagesBuilder:
    """Copy the builder, with the fields that differ between the two configs.

    :param previous_config: the config that the builder was made for; None compares with defaults.
    """
    fields = attrs.fields_dict(AnthropicConfig)
    previous_values = {
        name: getattr(previous_config, name) if previous_config else fields[name].default
        for name in _BUILDER_FIELDS
    }
    changes = {
        name: getattr(config, name)
        for name in _BUILDER_FIELDS
        if getattr(config, name) != previous_values[name]
    }
    return attrs.evolve(builder, **changes) if changes else builder


_SAMPLING_DEFAULTS: Final = {
    name: attrs.fields_dict(ModelConfig)[name].default for name in ("temperature", "top_p")
}


def _choose_sampling_options(
    config: ModelConfig, *option_layers: Mapping[str, Any]
) -> dict[str, Any]:
    """Return ``temperature`` and ``top_p``, one of them None: newer models accept only one.

    The one that was set last wins: by the config, then by each of ``option_layers``. A value that
    is only the config's default is not set.
    """
    chosen = {name: getattr(config, name) for name in _SAMPLING_DEFAULTS}
    not_default = {
        name: value for name, value in chosen.items() if value != _SAMPLING_DEFAULTS[name]
    }
    for layer in (not_default or {"temperature": config.temperature}, *option_layers):
        values = {name: layer[name] for name in _SAMPLING_DEFAULTS if name in layer}
        if any(value is not None for value in values.values()):
            chosen = dict.fromkeys(_SAMPLING_DEFAULTS)
        chosen.update(values)
    return chosen
