"""Models of an Ollama server: on this machine, on another, or at ollama.com.

The API is documented as ``docs/api.md`` in Ollama's repository, under "Generate a chat completion".
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias

import attrs

from locus.core.errors import APIConnectionError, APIError, ConfigurationError, NotFoundError
from locus.core.frozendict import EMPTY, frozen_dict
from locus.core.tool_schemas import Tool
from locus.models.base import ModelConfig
from locus.models.http_model import HttpModel
from locus.models.native.ollama_host import parse_host
from locus.transport.custom_client import Brought, Sdk
from locus.transport.http_call import Call, check_headers
from locus.wire.ollama_chat import OllamaChatBuilder, OllamaChatParser
from locus.wire.ollama_chat.request import OPTIONS, merged


class _Default(str):
    """The address where none was given, which ``OLLAMA_HOST`` may overrule."""

    __slots__ = ()


DEFAULT_BASE_URL: Final = _Default("http://localhost:11434")
Think: TypeAlias = bool | Literal["low", "medium", "high"]


def _options(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    options = frozen_dict(value, "options")
    for name in options:
        if name in OPTIONS:
            keyword = "stop_sequences" if name == "stop" else OPTIONS[name]
            raise ConfigurationError(f"options takes no {name!r}: say {keyword}= instead")
    return options


def _duration(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None or isinstance(value, str):
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(
            f"{attribute.name} is seconds, or a duration such as '10m'; not {value!r}"
        )


def _think(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, (bool, str)):
        raise ConfigurationError(
            f"{attribute.name} is True, False, 'low', 'medium' or 'high'; not {value!r}"
        )


@attrs.frozen
class OllamaConfig(ModelConfig):
    """What an Ollama model can be told besides :class:`~locus.models.base.ModelConfig`.

    :param base_url: where the server is, in any form that ``OLLAMA_HOST`` takes.
    :param api_key: sent as a bearer token; for ollama.com. Never shown.
    :param keep_alive: how long the model stays in memory after an answer: seconds, or a duration
        such as ``"10m"``; 0 unloads it at once, below 0 it stays. None is the server's default.
    :param options: further runtime options, such as ``{"num_ctx": 8192}``; Ollama lists them
        under "Valid Parameters and Values" in its Modelfile reference.
    :param think: whether, or how much, a thinking model thinks. None is the model's default.
    :param seed: for answers that repeat.
    :param frequency_penalty: against words used often, -2 to 2.
    :param presence_penalty: against words used at all, -2 to 2.
    """

    base_url: str = attrs.field(default=DEFAULT_BASE_URL, converter=parse_host)
    api_key: str | None = attrs.field(default=None, repr=False)
    keep_alive: float | str | None = attrs.field(default=None, validator=_duration)
    options: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_options, hash=False)
    think: Think | None = attrs.field(default=None, validator=_think)
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    def __attrs_post_init__(self) -> None:
        check_headers(self.credentials())

    def credentials(self) -> dict[str, str]:
        """The headers that say who asks."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def members(self) -> dict[str, Any]:
        """What stands in every request's body that is Ollama's alone."""
        said = {"keep_alive": self.keep_alive, "think": self.think, "options": self.options or None}
        return {name: value for name, value in said.items() if value is not None}


class _OllamaSdk:
    """The package ``ollama``, which tries nothing again."""

    retries = False

    def brought(self, sdk_client: Any) -> Brought:
        from locus.models.native.ollama_sdk import brought  # imports httpx

        return brought(sdk_client)


@attrs.frozen(init=False, getstate_setstate=False)
class OllamaModel(HttpModel[OllamaConfig]):
    """A model that an Ollama server runs.

    :param model: the model's name, with its tag where it has one: ``"qwen3:8b"``.
    :param base_url: where the server is: a host, a host and a port, or an address. Else
        ``OLLAMA_HOST``, else this machine, port 11434.
    :param max_tokens: the longest answer, in tokens (``num_predict``).
    :param temperature: 0 (the likeliest words) and up.
    :param kw: the other fields of :class:`OllamaConfig`; ``http_client``, ``sdk_client``,
        ``request_builder`` and ``response_parser``. ``api_key`` is else ``OLLAMA_API_KEY``.
    :raises TypeError: an unknown keyword; says the nearest.
    :raises ConfigurationError: a value that cannot work.
    """

    prefix: ClassVar[str] = "ollama"
    key_hint: ClassVar[str] = "type `ollama signin`, or check api_key= and OLLAMA_API_KEY"
    sdk: ClassVar[Sdk | None] = _OllamaSdk()

    def __init__(
        self,
        model: str = "llama3.3",
        base_url: str | None = DEFAULT_BASE_URL,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        # A model has bound `options` too; here they are Ollama's.
        runtime = {"options": kw.pop("options")} if "options" in kw else {}
        own = self._take_own(kw, OllamaConfig)
        if "config" not in own:
            environ = os.environ
            given = None if isinstance(base_url, _Default) else base_url
            own["config"] = OllamaConfig(
                model=model,
                base_url=given or environ.get("OLLAMA_HOST") or DEFAULT_BASE_URL,
                api_key=kw.pop("api_key", None) or environ.get("OLLAMA_API_KEY"),
                max_tokens=max_tokens,
                temperature=temperature,
                **runtime,
                **kw,
            )
        own.setdefault("request_builder", OllamaChatBuilder())
        own.setdefault("response_parser", OllamaChatParser())
        self.__attrs_init__(**own)

    def _url(self) -> str:
        # An SDK's client knows where the server is, and does not tell.
        root = self.config.base_url if self.sdk_client is None else ""
        return f"{root}/api/chat"

    def _headers(self) -> dict[str, str]:
        return self.config.credentials()

    def _hints(self) -> Mapping[type[APIError], str]:
        config = self.config
        return {
            APIConnectionError: "if no server is running there, type `ollama serve`; if it is "
            "elsewhere, set base_url= or OLLAMA_HOST",
            NotFoundError: f"if the server does not have the model, type `ollama pull "
            f"{config.model}`; else check base_url, which is the server's root",
        }

    def _call_with(self, messages: Any, tools: Sequence[Tool], options: Mapping[str, Any]) -> Call:
        extra = merged(self.config.members(), options.get("extra_body"))
        return super()._call_with(messages, tools, {**options, "extra_body": extra})

    def _make_client(self) -> Any:
        try:
            import ollama
        except ImportError:
            raise ConfigurationError(
                'model.client is the ollama package\'s: pip install "locus-llm[ollama]"'
            ) from None
        config = self.config
        return ollama.AsyncClient(
            host=config.base_url, timeout=config.timeout, headers=config.credentials()
        )
