"""A model behind HTTP: a config, a wire format, and connections, put together.

A provider is a subclass that says where to send, with which headers, and in which format.
"""

from __future__ import annotations

import json
import math
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import attrs

from locus.core.call_options import CALL_KEYWORDS, CallOptions, unknown_keyword
from locus.core.conversation import Messages
from locus.core.error_factory import Asked, make_status_error
from locus.core.errors import APIError, APIStatusError, ConfigurationError
from locus.core.frozendict import EMPTY, FrozenDict, frozen_dict, snapshot
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.core.tool_schemas import Tool, tool_schemas
from locus.models.base import ModelConfig, RequestBuilder, ResponseParser
from locus.models.connections import Connections
from locus.models.model import Model
from locus.transport import async_driver, blocking_driver
from locus.transport.async_driver import AsyncStream
from locus.transport.async_pool import AsyncSender
from locus.transport.blocking_driver import BlockingStream
from locus.transport.blocking_pool import Sender
from locus.transport.custom_client import Brought, Sdk, http_clients
from locus.transport.http_call import Call, HttpRequest, Signer, check_headers
from locus.version import USER_AGENT
from locus.wire.json import encode

C = TypeVar("C", bound=ModelConfig)
_SECRET_HEADER: Final = re.compile("auth|cookie|credential|key|passw|secret|signature|token", re.I)
_DEFAULT_TIMEOUT: Final = attrs.fields(ModelConfig).timeout.default


def _own_tools(tools: Sequence[Tool]) -> tuple[Mapping[str, Any], ...]:
    return tuple(snapshot(schema) for schema in tool_schemas(tools))


def _own_options(options: Mapping[str, Any]) -> FrozenDict[str, Any]:
    own: FrozenDict[str, Any] = snapshot(frozen_dict(options))
    return own


@attrs.frozen(init=False, getstate_setstate=False)
class HttpModel(Model, Generic[C]):
    """The base of every model that sends HTTP requests. Immutable, and equal by value.

    :cvar prefix: the provider's, in the registry and in errors.
    :ivar config: what the model was told.
    :ivar tools: the schemas of the bound tools.
    :ivar options: the bound keywords.
    """

    prefix: ClassVar[str]
    key_hint: ClassVar[str] = "check the API key"
    sdk: ClassVar[Sdk | None] = None

    config: C
    request_builder: RequestBuilder
    response_parser: ResponseParser
    tools: tuple[Mapping[str, Any], ...] = attrs.field(default=(), converter=_own_tools, hash=False)
    options: Mapping[str, Any] = attrs.field(
        default=EMPTY, converter=_own_options, hash=False, repr=lambda options: _shown(options)
    )
    http_client: Any = attrs.field(default=None, repr=False)
    sdk_client: Any = attrs.field(default=None, repr=False)
    connections: Connections = attrs.field(factory=Connections, eq=False, repr=False)
    _brought: Brought | None = attrs.field(init=False, default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.http_client is not None and self.sdk_client is not None:
            raise ConfigurationError("http_client= and sdk_client= exclude each other")
        brought = None
        if self.http_client is not None:
            brought = http_clients(self.http_client)
        elif self.sdk_client is not None:
            if self.sdk is None:
                raise ConfigurationError(f"{self.prefix} models take no sdk_client=")
            brought = self.sdk.brought(self.sdk_client)
        object.__setattr__(self, "_brought", brought)

    @classmethod
    def _take_own(cls, kw: dict[str, Any], config: type[ModelConfig]) -> dict[str, Any]:
        """Take the model's own arguments out of a constructor's keywords; check the others.

        :raises TypeError: a keyword is neither the model's nor its config's.
        """
        own = {name: kw.pop(name) for name in _FIELDS if name in kw}
        fields = {field.name for field in attrs.fields(config)}
        for name in kw:
            if name not in fields:
                raise unknown_keyword(name, fields.union(_FIELDS), cls.__name__)
        if kw and "config" in own:
            raise TypeError(f"{cls.__name__}: {', '.join(kw)} would be ignored beside config=")
        return own

    @property
    def provider(self) -> str:
        """Whose model this is: the provider's prefix in the registry."""
        return self.prefix

    @property
    def _sdk_retries(self) -> bool:
        """Whether requests go through an SDK that tries again by itself."""
        return self.sdk_client is not None and self.sdk is not None and self.sdk.retries

    # What a provider says.

    @abstractmethod
    def _url(self) -> str:
        """Where requests go."""

    @abstractmethod
    def _headers(self) -> dict[str, str]:
        """The headers of a request, credentials included.

        :raises ConfigurationError: there are no credentials.
        """

    def _signer(self) -> Signer | None:
        """What signs the requests, where a provider wants that."""
        return None

    def _hints(self) -> Mapping[type[APIError], str]:
        """What to do next, by class of error, where this provider has more to say than others."""
        return EMPTY

    def _otherwise(
        self, error: APIStatusError, options: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Other options to ask with after a refusal, or None."""
        return None

    # Calling.

    def complete_sync(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One whole answer, blocking."""
        call = self._call(messages, tools, kwargs, stream=False)
        return blocking_driver.complete(self._sender(call), call)

    def stream_sync(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> BlockingStream:
        """One answer as it arrives, blocking: an iterator and a context manager."""
        call = self._call(messages, tools, kwargs, stream=True)
        return blocking_driver.stream(self._sender, call)

    async def complete(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One whole answer, under asyncio or trio."""
        call = self._call(messages, tools, kwargs, stream=False)
        return await async_driver.complete(await self._async_sender(call), call)

    def stream(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> AsyncStream:
        """One answer as it arrives, under asyncio or trio: iterator and context manager."""
        call = self._call(messages, tools, kwargs, stream=True)
        return async_driver.stream(self._async_sender, call)

    def request(
        self,
        messages: Messages,
        tools: Sequence[Tool] | None = None,
        *,
        stream: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The JSON body that a call with these arguments sends. Nothing is sent.

        :param stream: as :meth:`stream` asks for it, not as :meth:`complete` does.
        :raises: what such a call raises before it sends anything.
        """
        call = self._call(messages, tools, kwargs, stream=stream)
        body: dict[str, Any] = json.loads(call.request.content)
        return body

    def _sender(self, call: Call) -> Sender:
        if self._brought is not None:
            return self._brought.for_blocking()
        return self.connections.blocking.sender(call.request)

    async def _async_sender(self, call: Call) -> AsyncSender:
        if self._brought is not None:
            return self._brought.for_nonblocking()
        return await self.connections.nonblocking.sender(call.request)

    def _call(
        self,
        messages: Messages,
        tools: Sequence[Tool] | None,
        said: Mapping[str, Any],
        *,
        stream: bool,
    ) -> Call:
        """The call as a value: everything that can be wrong before the network is wrong here."""
        for name in said:
            if name not in CALL_KEYWORDS:
                raise unknown_keyword(name, CALL_KEYWORDS, f"a call of {type(self).__name__}")
        options = {**_config_options(self.config), **self.options, **said, "stream": stream}
        # What is iterated twice, and perhaps later (see `fallback`), must be there and the same.
        if isinstance(messages, Iterable) and not isinstance(messages, (str, Message)):
            messages = tuple(messages)
        if tools is None:
            tools = self.tools
        elif not isinstance(tools, (str, Mapping)) and isinstance(tools, Iterable):
            tools = tuple(tools)
        # A client that the caller brought has a timeout of its own, unless one was said here.
        named = "timeout" in said or "timeout" in self.options
        if self._brought is not None and not named and options["timeout"] == _DEFAULT_TIMEOUT:
            del options["timeout"]
        return self._call_with(messages, tools, options)

    def _call_with(
        self, messages: Messages, tools: Sequence[Tool], options: Mapping[str, Any]
    ) -> Call:
        timeout = _seconds(options["timeout"]) if "timeout" in options else None
        content = encode(self.request_builder.build(messages, tools, **options))
        url, headers = self._url(), self._request_headers(options.get("extra_headers"))
        signer = None if self.sdk_client is not None else self._signer()

        def fallback(error: APIStatusError) -> Call | None:
            other = self._otherwise(error, options)
            return None if other is None else self._call_with(messages, tools, other)

        return Call(
            request=HttpRequest(url, headers, content, timeout),
            asked=self._asked(url, headers, signer),
            read=self.response_parser.parse,
            decoder=self.response_parser.decoder,
            refused=make_status_error,
            max_retries=0 if self._sdk_retries else self.config.max_retries,
            fallback=fallback,
            signer=signer,
        )

    def _request_headers(self, extra: Mapping[str, str] | None) -> Mapping[str, str]:
        if self.sdk_client is not None:  # it has headers and credentials of its own
            headers: dict[str, str] = {}
        else:
            headers = {
                "content-type": "application/json",
                "user-agent": USER_AGENT,
                **self._headers(),
            }
        if extra:
            check_headers(extra)
            headers.update({name.lower(): value for name, value in extra.items()})
        return headers

    def _asked(self, url: str, headers: Mapping[str, str], signer: Signer | None) -> Asked:
        secrets = []
        clients = self.http_client
        brought = clients if isinstance(clients, (tuple, list)) else (clients,)
        for sent in (headers, *(client.headers for client in brought if client is not None)):
            for name, value in sent.items():
                if _SECRET_HEADER.search(name):
                    secrets += [value, value.partition(" ")[2]]
        sdk_key = getattr(self.sdk_client, "api_key", None)
        if isinstance(sdk_key, str):
            secrets.append(sdk_key)
        target = str(getattr(self.sdk_client, "base_url", url))
        return Asked(
            provider=self.prefix,
            model=self.config.model,
            target=(url if "@" in target else target).partition("?")[0],
            key_hint=self.key_hint,
            hints=self._hints(),
            # The longer first, and nothing so short that it is found in ordinary words.
            secrets=tuple(sorted((s for s in secrets if len(s) > 5), key=len, reverse=True)),
            more_secrets=tuple if signer is None else signer.secrets,
        )

    # Copies.

    def bind_tools(self, tools: Sequence[Tool], **kwargs: Any) -> Self:
        """A copy that uses ``tools`` and the keywords where a call does not say otherwise."""
        for name in kwargs:
            if name not in CALL_KEYWORDS:
                raise unknown_keyword(name, CALL_KEYWORDS, f"{type(self).__name__}.bind_tools")
        return self._evolve(tools=tools, options={**self.options, **kwargs})

    def copy(self, **changes: Any) -> Self:
        """A copy with other constructor arguments, such as ``model.copy(temperature=0)``."""
        if "config" not in changes:
            fields = {field.name for field in attrs.fields(type(self.config))}
            told = {name: changes.pop(name) for name in fields & changes.keys()}
            self._take_own(dict(changes), type(self.config))
            changes["config"] = attrs.evolve(self.config, **told)
            if "base_url" in told:
                changes.setdefault("connections", Connections())
        return self._evolve(**changes)

    __replace__ = copy

    def _evolve(self, **changes: Any) -> Self:
        new = object.__new__(type(self))
        for name in _FIELDS:
            changes.setdefault(name, getattr(self, name))
        new.__attrs_init__(**changes)
        return new

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        if self._brought is not None:
            raise TypeError(
                f"this {type(self).__name__} cannot be pickled: the client it was given cannot "
                "leave this process; build the model where it is used"
            )
        return {name: getattr(self, name) for name in _FIELDS if name != "connections"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__attrs_init__(**state)

    # Connections.

    @property
    def client(self) -> Any:
        """The provider's official SDK client, with this model's credentials and settings.

        :raises ConfigurationError: the SDK is not installed; says what to install.
        """
        if self.sdk_client is not None:
            return self.sdk_client
        return self.connections.sdk_client(self.config, self._make_client)

    def _make_client(self) -> Any:
        raise ConfigurationError(f"{self.prefix} has no SDK client")

    def close_sync(self) -> None:
        """Release the blocking connections. The model may be used again, and reconnects."""
        self.connections.blocking.close()

    async def aclose(self) -> None:
        """Release all connections, blocking ones and those of the running loop."""
        await self.connections.aclose()


def _shown(options: Mapping[str, Any]) -> str:
    """The bound keywords without the values of headers: those may be secret."""
    hidden = {"extra_headers": sorted(options.get("extra_headers") or ())}
    return repr({name: hidden.get(name, value) for name, value in options.items()})


_FIELDS: Final = tuple(field.name for field in attrs.fields(HttpModel) if field.init)


def _seconds(timeout: Any) -> float:
    """The timeout for the transport."""
    if timeout is None:
        return math.inf
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not number or not timeout > 0:  # NaN is not more either
        raise ConfigurationError(f"timeout must be more than 0, or None; not {timeout!r}")
    return float(timeout)


def _config_options(config: ModelConfig) -> dict[str, Any]:
    """What a config says about every call, by the names of :class:`CallOptions`."""
    names = _SHARED.get(type(config))
    if names is None:
        options = {field.name for field in attrs.fields(CallOptions)}
        names = tuple(f.name for f in attrs.fields(type(config)) if f.name in options)
        _SHARED[type(config)] = names
    said = {name: getattr(config, name) for name in names}
    said["stop"] = config.stop_sequences
    return said


_SHARED: Final[dict[type[ModelConfig], tuple[str, ...]]] = {}
