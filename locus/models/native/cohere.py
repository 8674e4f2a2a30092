"""``CohereModel``: Cohere's chat API, version 2, and other servers with the same format.

The API is documented under "Chat" in Cohere's API reference (docs.cohere.com/reference/chat).
``OCIModel`` has Cohere's models on Oracle's service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict, make_frozen_copy, to_frozen_dict
from locus.models.base_url import normalize_base_url
from locus.models.capabilities import ModelCapabilities
from locus.models.keyed_model import ApiKey, KeyedConfig, KeyedModel
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.wire.cohere_chat import CohereChatBuilder, CohereChatParser

DEFAULT_BASE_URL: Final = "https://api.cohere.com"
_API_PATH: Final = re.compile(r"/v[12](/chat)?$")


def _normalize_thinking(thinking: Any) -> FrozenDict[str, Any] | None:
    """Convert a number of tokens, a boolean, or the API's own mapping to the mapping."""
    if thinking is None:
        return None
    if isinstance(thinking, bool):
        return FrozenDict({"type": "enabled" if thinking else "disabled"})
    if isinstance(thinking, int) and thinking > 0:
        return FrozenDict({"type": "enabled", "token_budget": thinking})
    if isinstance(thinking, Mapping):
        frozen: FrozenDict[str, Any] = make_frozen_copy(to_frozen_dict(thinking))
        return frozen
    raise ConfigurationError(
        "thinking is True, False, a number of tokens above 0, the API's own mapping "
        f'({{"type": "enabled", "token_budget": …}}), or None; not {thinking!r}'
    )


def _validate_top_k(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ConfigurationError(
            f"{field.name} is an integer of at least 0, or None; not {value!r}"
        )


def _remove_api_version(base_url: str) -> str:
    """Return the root of the API, without the version of its path at the end."""
    return _API_PATH.sub("", normalize_base_url(base_url))


@attrs.frozen
class CohereConfig(KeyedConfig):
    """The options of a Cohere model besides those of
    :class:`~locus.models.config.ModelConfig`.

    :param api_key: sent as a bearer token. Never shown.
    :param base_url: the API's root; ``/v2/chat`` is added to it.
    :param thinking: whether the model may think before it responds, or for how many tokens; or the
        API's own mapping. None is the model's default.
    :param top_k: from how many of the most likely tokens one is chosen: 0 (of all) to 500. None is
        the API's default, 0.
    """

    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=_remove_api_version)
    thinking: Mapping[str, Any] | None = attrs.field(
        default=None, converter=_normalize_thinking, hash=False
    )
    top_k: int | None = attrs.field(default=None, validator=_validate_top_k)

    def build_members(self) -> Mapping[str, Any]:
        """Build the members of a request for which calls have no keyword."""
        members = {"thinking": self.thinking, "k": self.top_k}
        return {name: value for name, value in members.items() if value is not None}


@attrs.frozen(init=False, getstate_setstate=False)
class CohereModel(KeyedModel[CohereConfig]):
    """A model of Cohere, or of another server with Cohere's chat format.

    :param model: the model's name.
    :param api_key: by default ``CO_API_KEY``.
    :param base_url: by default ``CO_API_URL``, or else Cohere's.
    :param max_tokens: the longest response, in tokens.
    :param temperature: 0 (always the most probable words) to 1.
    :param http_client: an httpx or httpx2 client to send with, or a pair of a blocking and an
        async one. Locus never closes it.
    :param kw: the other fields of :class:`CohereConfig`, and ``request_builder`` and
        ``response_parser`` for a server whose format differs.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid.
    """

    prefix: ClassVar[str] = "cohere"
    title: ClassVar[str] = "Cohere"
    config_class: ClassVar[type[KeyedConfig]] = CohereConfig
    default_base_url: ClassVar[str] = DEFAULT_BASE_URL
    url_path: ClassVar[str] = "/v2/chat"
    builder_class: ClassVar[type[RequestBuilder]] = CohereChatBuilder
    parser_class: ClassVar[type[ResponseParser]] = CohereChatParser
    environment: ClassVar[Mapping[str, str]] = {
        "api_key": "CO_API_KEY",
        "base_url": "CO_API_URL",
    }
    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(
        # `response_format` is "not supported when used in combinations with the `documents` or
        # `tools` parameters" (docs.cohere.com/reference/chat).
        structured_output="without_tools",
        thinking=True,
    )

    def __init__(
        self,
        model: str = "command-a-03-2025",
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        super().__init__(model, api_key, base_url, max_tokens, temperature, **kw)

    def make_sdk_client(self) -> Any:
        try:
            cohere: Any = import_module("cohere")  # no dependency of the type checks
            import httpx  # a dependency of the SDK
        except ImportError:
            raise ConfigurationError(
                "model.client is the cohere SDK's: pip install cohere"
            ) from None
        config = self.config
        auth = self.make_sdk_auth(httpx.AsyncClient)
        return cohere.AsyncClientV2(
            api_key=config.get_sdk_api_key(),
            base_url=config.base_url,
            timeout=config.timeout,
            httpx_client=auth and httpx.AsyncClient(auth=auth, timeout=config.timeout),
        )
