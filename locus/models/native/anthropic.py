"""Anthropic's messages, and every server that speaks the same format.

The API is documented under "Messages" in Anthropic's API reference. ``base_url`` reaches gateways,
llama.cpp, vLLM and the rest; ``sdk_client=`` Amazon Bedrock, Google Vertex and Microsoft Foundry.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import attrs

from locus.core.conversation import Messages
from locus.core.errors import APIStatusError, ConfigurationError
from locus.core.tool_schemas import Tool
from locus.models.base import ModelConfig
from locus.models.http_model import HttpModel
from locus.models.native.openai import check_base_url
from locus.transport.custom_client import SdkMethod
from locus.transport.http_call import Call, check_headers
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.anthropic_messages.request import Thinking, thinking_of

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"
API_VERSION: Final = "2023-06-01"
"""The version of the API that Locus asks for; the header ``anthropic-version``."""
WITHOUT_SAMPLING: Final = "2026-10-21"
"""The first version that takes ``temperature`` and ``top_p`` of no model."""


@attrs.frozen
class AnthropicConfig(ModelConfig):
    """What an Anthropic model can be told besides :class:`~locus.models.base.ModelConfig`.

    :param api_key: sent as ``x-api-key``. Never shown.
    :param auth_token: sent as a bearer token, where there is no API key. Never shown.
    :param base_url: the API's root; ``/v1/messages`` is added to it.
    :param api_version: the version of the API to ask for.
    :param prompt_cache: mark the system prompt and the last tool for the prompt cache.
    :param thinking: how much the model may think before it answers: a number of tokens,
        ``"adaptive"``, or the API's own mapping. None leaves it to the model.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    auth_token: str | None = attrs.field(default=None, repr=False)
    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=check_base_url)
    api_version: str = API_VERSION
    prompt_cache: bool = False
    thinking: Thinking = attrs.field(default=None, converter=thinking_of, hash=False)

    def __attrs_post_init__(self) -> None:
        if self.api_key and self.auth_token:
            raise ConfigurationError("api_key= and auth_token= exclude each other")
        check_headers({"anthropic-version": self.api_version, **self.credentials()})

    def credentials(self) -> dict[str, str]:
        """The headers that say who asks."""
        if self.api_key:
            return {"x-api-key": self.api_key}
        return {"authorization": f"Bearer {self.auth_token}"} if self.auth_token else {}


@attrs.frozen(init=False, getstate_setstate=False)
class AnthropicModel(HttpModel[AnthropicConfig]):
    """A model of Anthropic, or of a server that speaks its messages format.

    :param model: the model's name.
    :param api_key: else ``ANTHROPIC_API_KEY``, else ``ANTHROPIC_AUTH_TOKEN`` as a bearer token.
    :param base_url: else ``ANTHROPIC_BASE_URL``, else Anthropic's.
    :param max_tokens: the longest answer, in tokens, thinking included.
    :param temperature: 0 to 1. Not sent to models that refuse it, nor where the model thinks.
    :param prompt_cache: mark the system prompt and the last tool for the prompt cache.
    :param http_client: an httpx or httpx2 client to send with, or a pair of a blocking and an
        async one. Locus never closes it.
    :param sdk_client: an ``anthropic`` client to send through, blocking or async,
        ``AnthropicBedrock`` and ``AnthropicVertex`` included.
    :param kw: the other fields of :class:`AnthropicConfig`, and ``request_builder`` and
        ``response_parser`` for a server that differs.
    :raises TypeError: an unknown keyword; says the nearest.
    :raises ConfigurationError: a value that cannot work.
    """

    prefix: ClassVar[str] = "anthropic"
    key_hint: ClassVar[str] = "check api_key= or ANTHROPIC_API_KEY"
    sdk: ClassVar[SdkMethod | None] = SdkMethod(
        "anthropic", "AnthropicError", lambda client: client.messages.with_raw_response.create
    )

    def __init__(
        self,
        model: str = "claude-sonnet-4-20250514",
        api_key: str | None = None,
        base_url: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        prompt_cache: bool = False,
        **kw: Any,
    ) -> None:
        own = self._take_own(kw, AnthropicConfig)
        if "config" not in own:
            environ = os.environ
            if not api_key and not kw.get("auth_token"):
                api_key = environ.get("ANTHROPIC_API_KEY")
                kw["auth_token"] = None if api_key else environ.get("ANTHROPIC_AUTH_TOKEN")
            own["config"] = AnthropicConfig(
                model=model,
                api_key=api_key,
                base_url=base_url or environ.get("ANTHROPIC_BASE_URL") or DEFAULT_BASE_URL,
                max_tokens=max_tokens,
                temperature=temperature,
                prompt_cache=prompt_cache,
                **kw,
            )
        builder = own.setdefault("request_builder", AnthropicMessagesBuilder())
        if isinstance(builder, AnthropicMessagesBuilder):
            own["request_builder"] = _told(builder, own["config"], None)
        own.setdefault("response_parser", AnthropicMessagesParser())
        self.__attrs_init__(**own)

    def _url(self) -> str:
        return f"{self.config.base_url}/v1/messages"

    def _headers(self) -> dict[str, str]:
        credentials = self.config.credentials()
        if not credentials and self.config.base_url == DEFAULT_BASE_URL and self._brought is None:
            raise ConfigurationError(
                "Anthropic wants an API key: pass api_key=, or set ANTHROPIC_API_KEY; for another "
                "server pass base_url="
            )
        return {"anthropic-version": self.config.api_version, **credentials}

    def _evolve(self, **changes: Any) -> Self:
        config, builder = changes.get("config"), self.request_builder
        if config is not None and isinstance(builder, AnthropicMessagesBuilder):
            changes.setdefault("request_builder", _told(builder, config, self.config))
        return super()._evolve(**changes)

    # One of two.

    def _call(
        self,
        messages: Messages,
        tools: Sequence[Tool] | None,
        said: Mapping[str, Any],
        *,
        stream: bool,
    ) -> Call:
        chosen = _temperature_or_top_p(self.config, self.options, said)
        return super()._call(messages, tools, {**said, **chosen}, stream=stream)

    # Another try, without what the model turned out not to take.

    def _call_with(
        self, messages: Messages, tools: Sequence[Tool], options: Mapping[str, Any]
    ) -> Call:
        builder = self.request_builder
        if (
            isinstance(builder, AnthropicMessagesBuilder)
            and builder.sampling is None
            and self._api_version(options) >= WITHOUT_SAMPLING
        ):
            without = attrs.evolve(builder, sampling=False)
            return self._evolve(request_builder=without)._call_with(messages, tools, options)
        call = super()._call_with(messages, tools, options)

        def fallback(error: APIStatusError) -> Call | None:
            if error.status_code not in (400, 422) or not isinstance(
                builder, AnthropicMessagesBuilder
            ):
                return None
            other = _without(builder, error.body.lower())
            if other is None:
                return None
            again = self._evolve(request_builder=other)._call_with(messages, tools, options)
            return again if again.request.content != call.request.content else None

        return attrs.evolve(call, fallback=fallback)

    def _api_version(self, options: Mapping[str, Any]) -> str:
        """The version of the API that a call is made in; an SDK has one of its own."""
        for name, value in (options.get("extra_headers") or {}).items():
            if isinstance(name, str) and name.lower() == "anthropic-version":
                return str(value)
        client = self.sdk_client
        if client is None:
            return self.config.api_version
        version = client.default_headers.get("anthropic-version")
        if isinstance(version, str):
            return version
        # The clients for other clouds put it in the body.
        major = int(sys.modules["anthropic"].__version__.partition(".")[0])
        return WITHOUT_SAMPLING if major >= 2 else API_VERSION

    def _make_client(self) -> Any:
        try:
            import anthropic
        except ImportError:
            raise ConfigurationError(
                'model.client is the anthropic SDK\'s: pip install "locus-llm[anthropic]"'
            ) from None
        config = self.config
        return anthropic.AsyncAnthropic(
            api_key=config.api_key or (None if config.auth_token else "none"),
            auth_token=config.auth_token,
            base_url=config.base_url,
            timeout=config.timeout,
            max_retries=config.max_retries,
        )


_BUILDERS: Final = ("prompt_cache", "thinking")
"""What of a config is the builder's to know."""


def _told(
    builder: AnthropicMessagesBuilder, config: AnthropicConfig, before: AnthropicConfig | None
) -> AnthropicMessagesBuilder:
    """The builder with what ``config`` says that ``before``, or the defaults, did not."""
    fields = attrs.fields_dict(AnthropicConfig)
    changes = {
        name: getattr(config, name)
        for name in _BUILDERS
        if getattr(config, name) != (getattr(before, name) if before else fields[name].default)
    }
    return attrs.evolve(builder, **changes) if changes else builder


_SAMPLING: Final = {
    name: attrs.fields_dict(ModelConfig)[name].default for name in ("temperature", "top_p")
}


def _temperature_or_top_p(config: ModelConfig, *said: Mapping[str, Any]) -> dict[str, Any]:
    """Whichever of the two was asked for last: the newer models that take them take one."""
    chosen = {name: getattr(config, name) for name in _SAMPLING}
    asked = {name: value for name, value in chosen.items() if value != _SAMPLING[name]}
    for layer in (asked or {"temperature": config.temperature}, *said):
        named = {name: layer[name] for name in _SAMPLING if name in layer}
        if any(value is not None for value in named.values()):
            chosen = dict.fromkeys(_SAMPLING)
        chosen.update(named)
    return chosen


_NOT_TAKEN: Final = (
    "deprecated",
    "not support",
    "unsupported",
    "not permitted",
    "not allowed",
    "removed",
    "both be specified",
    "only be set",
)


def _without(builder: AnthropicMessagesBuilder, refusal: str) -> AnthropicMessagesBuilder | None:
    """A builder that leaves out what a refusal, in lower case, complains of; None for others."""
    if ("temperature" in refusal or "top_p" in refusal) and any(
        word in refusal for word in _NOT_TAKEN
    ):
        return attrs.evolve(builder, sampling=False)
    if "tool_choice" in refusal:
        return attrs.evolve(builder, forced_tools=False)
    if "role" in refusal and "system" in refusal:
        return attrs.evolve(builder, system_turns=False)
    return None
