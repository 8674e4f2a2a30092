"""The base classes of models whose provider needs an API key: a config and a model.

A provider that speaks a format of Locus is a subclass with a few class attributes::

    class GroqModel(KeyedChatCompletionsModel):
        prefix = "groq"
        title = "Groq"
        environment = {"api_key": "GROQ_API_KEY"}
        default_base_url = "https://api.groq.com/openai/v1"
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias, TypeVar

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY
from locus.models.base_url import normalize_base_url
from locus.models.config import ModelConfig
from locus.models.http_model import HttpModel
from locus.transport.http_request import check_headers
from locus.transport.key_function_signer import KeyFunction, KeySigner
from locus.transport.signer import Signer

ApiKey: TypeAlias = str | KeyFunction
"""A key, or a function that returns one and is asked for each request."""


@attrs.frozen(slots=False)  # only one base of a class can have slots: its wire format's config
class KeyedConfig(ModelConfig):
    """The key and the address of a provider.

    In a list of bases it comes before the config of the wire format.

    :param api_key: the key, or a function that returns it, blocking or async, and is asked for each
        request. Never shown.
    :param base_url: the API's root.
    """

    api_key: ApiKey | None = attrs.field(default=None, repr=False)
    base_url: str = attrs.field(kw_only=True, converter=normalize_base_url)

    def __attrs_post_init__(self) -> None:
        key = self.api_key
        if key is not None and not isinstance(key, str) and not callable(key):
            raise ConfigurationError(
                f"api_key must be a string, or a function that returns one; not "
                f"{type(key).__name__}"
            )
        check_headers(self.build_credential_headers())
        if isinstance(key, str) and key != key.strip():
            raise ConfigurationError("api_key has white space at its ends")

    @property
    def known_api_key(self) -> str | None:
        """The key, if it is known without asking a function."""
        return self.api_key if isinstance(self.api_key, str) and self.api_key else None

    def get_sdk_api_key(self) -> str:
        """Return the key for an SDK client that takes text only.

        ``"none"`` if there is none, or if a function returns it: then the httpx client of the SDK
        adds it to each request (:meth:`KeyedModel.make_sdk_auth`).
        """
        return self.known_api_key or "none"

    @property
    def has_credentials(self) -> bool:
        """Whether there is a key, or what the provider accepts in its place."""
        return bool(self.api_key)

    def build_credential_headers(self) -> dict[str, str]:
        """Build the headers that hold the credentials; by default a bearer token.

        A key that a function returns is not among them: it is added to each request.
        """
        key = self.known_api_key
        return {"authorization": f"Bearer {key}"} if key else {}


K = TypeVar("K", bound=KeyedConfig)


class KeyedModel(HttpModel[K]):
    """The base of the models of providers with an API key.

    In a list of bases it comes before the model of the wire format.

    :cvar title: the provider's name in error messages; by default the prefix.
    :cvar config_class: the class of the config.
    :cvar default_base_url: the API's root, if neither an argument nor the environment names one.
    :cvar url_path: what follows ``base_url`` in the URL of a request. If it depends on the model or
        on streaming, override :meth:`build_url`.
    :cvar environment: the environment variable of a field of the config, by the field's name; or
        several, of which the first that is set counts. A variable is used where the constructor
        gets no value for the field.
    :cvar requires_key: whether requests to the default base URL need a key.
    """

    __slots__ = ()

    title: ClassVar[str] = ""
    config_class: ClassVar[type[KeyedConfig]]
    default_base_url: ClassVar[str]
    url_path: ClassVar[str]
    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = EMPTY
    requires_key: ClassVar[bool] = True

    def __init_subclass__(cls, **kw: Any) -> None:
        super().__init_subclass__(**kw)
        variables = cls._get_variables("api_key")
        if "environment" in cls.__dict__ and variables and "key_hint" not in cls.__dict__:
            cls.key_hint = f"check api_key= or {' or '.join(variables)}"

    def __init__(
        self,
        model: str,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        arguments = self._build_init_arguments(
            kw,
            model=model,
            api_key=api_key,
            base_url=base_url,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        self._init_with_defaults(arguments)

    @classmethod
    def _get_variables(cls, name: str) -> tuple[str, ...]:
        """Return the environment variables of a field of the config."""
        variables = cls.environment.get(name, ())
        return (variables,) if isinstance(variables, str) else variables

    @classmethod
    def _build_init_arguments(cls, kw: dict[str, Any], **named_arguments: Any) -> dict[str, Any]:
        """Build the model's attributes, ``config`` included, from the constructor's arguments.

        :param kw: the keywords that the constructor does not name.
        :param named_arguments: those that it names; all belong to the config.
        :raises TypeError: if a keyword is unknown.
        """
        arguments = cls._pop_model_arguments(kw, cls.config_class)
        if "config" not in arguments:
            config_arguments = cls._fill_from_environment({**named_arguments, **kw})
            arguments["config"] = cls.config_class(**config_arguments)
        return arguments

    @classmethod
    def _fill_from_environment(cls, config_arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config's arguments, with the values of the environment and the default URL.

        An empty key or base URL is the same as none. Any other field is left as it was passed.
        """
        filled = dict(config_arguments)
        for name in cls.environment:
            if name not in filled or (name in ("api_key", "base_url") and not filled[name]):
                values = map(os.environ.get, cls._get_variables(name))
                filled[name] = next((value for value in values if value), None)
        filled["base_url"] = filled.get("base_url") or cls.default_base_url
        return filled

    def build_url(self, *, stream: bool = False) -> str:
        return f"{self.config.base_url}{self.url_path}"

    def get_signer(self) -> Signer | None:
        """Return what adds the key of a function to each request; None if the key is known."""
        get_key = self.config.api_key
        if get_key is None or isinstance(get_key, str):
            return None
        return self._make_key_signer(get_key)

    def _make_key_signer(self, get_key: KeyFunction) -> KeySigner:
        config = self.config
        return KeySigner(
            get_key, lambda key: attrs.evolve(config, api_key=key).build_credential_headers()
        )

    def make_sdk_auth(self, client_class: type) -> Any:
        """Make the ``auth=`` of an SDK's httpx client that asks the function ``api_key``.

        None if the key is known.

        :param client_class: the class of the clients that the SDK sends with.
        """
        get_key = self.config.api_key
        if get_key is None or isinstance(get_key, str):
            return None
        from locus.transport.httpx_auth import build_signing_auth, find_httpx_library

        signer = attrs.evolve(self._make_key_signer(get_key), keeps_other_credentials=False)
        return build_signing_auth(signer, find_httpx_library(client_class))

    def build_provider_headers(self) -> dict[str, str]:
        """Build the headers with the credentials.

        :raises ConfigurationError: if the provider needs a key and there is none. Another server
            may need none, and the caller's own client may have its own.
        """
        config = self.config
        if (
            self.requires_key
            and not config.has_credentials
            and config.base_url == self.default_base_url
            and self._custom_client is None
        ):
            variables = " or ".join(self._get_variables("api_key"))
            raise ConfigurationError(
                f"{self.title or self.prefix} needs an API key: pass api_key="
                f"{f', or set {variables}' if variables else ''}; for another server pass base_url="
            )
        return config.build_credential_headers()
