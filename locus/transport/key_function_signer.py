"""``KeySigner``: sends an API key that a function returns, asked for each request.

Keys of a cloud's own directory last an hour, and a key store may replace a key at any time. The
function may block, and may be an async one. In the form of a
:class:`~locus.transport.signer.Signer`, the drivers call it where blocking is allowed: an async
driver calls a blocking function in a thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs
from anyio import to_thread

from locus.core.errors import ConfigurationError
from locus.transport.http_request import HttpRequest
from locus.transport.httpx_common import CREDENTIAL_HEADERS

KeyFunction: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
"""Returns an API key, or an awaitable of one."""


def is_async_function(function: Callable[..., Any]) -> bool:
    """Return whether calling ``function`` returns an awaitable, as far as that can be seen."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - of an object with an async __call__
    )


@attrs.define(eq=False)
class KeySigner:
    """Asks a function for the key of each request of one call, or of one SDK client.

    :param get_key: returns the key.
    :param build_headers: builds the headers with a key; it checks the key.
    :param keeps_other_credentials: whether headers of the request win, as those of a caller do.
    """

    get_key: KeyFunction = attrs.field(repr=False)
    build_headers: Callable[[str], Mapping[str, str]] = attrs.field(repr=False)
    keeps_other_credentials: bool = True
    credentials_version: int = 0
    _key: str = attrs.field(init=False, default="", repr=False)
    _is_fresh: bool = attrs.field(init=False, default=False, repr=False)

    def is_ready(self) -> bool:
        """Return whether the function was asked since the last request."""
        return self._is_fresh

    def ensure_ready(self) -> None:
        """Ask the function. It may block.

        :raises ConfigurationError: if the function is async, or returns no key.
        """
        if is_async_function(self.get_key):
            raise self._make_async_error()
        self._accept(self.get_key())

    async def ensure_ready_async(self, run_in_thread: Callable[[], Awaitable[None]]) -> None:
        """Ask the function, under asyncio or trio.

        :param run_in_thread: calls :meth:`ensure_ready` in a thread.
        """
        if is_async_function(self.get_key):
            result: Any = self.get_key()
            self._accept(await result)
        else:
            await run_in_thread()

    def _accept(self, key: Any) -> None:
        if inspect.isawaitable(key):
            if inspect.iscoroutine(key):
                key.close()  # or Python warns that nobody has awaited it
            raise self._make_async_error()
        if not isinstance(key, str) or not key:
            kind = "an empty string" if key == "" else type(key).__name__
            raise ConfigurationError(f"the function api_key= returned {kind}, not a key")
        self._key, self._is_fresh = key, True

    @staticmethod
    def _make_async_error() -> ConfigurationError:
        return ConfigurationError(
            "api_key= is an async function, which a blocking call cannot await: use complete or "
            "stream, or pass a blocking function (an async one is declared with `async def`)"
        )

    def make_signed_copy(self, request: HttpRequest) -> HttpRequest:
        """Return a copy of the request with the headers that hold the key."""
        self._is_fresh = False  # the next request asks anew
        headers = {name.lower(): value for name, value in request.headers.items()}
        own = {name.lower(): value for name, value in self.build_headers(self._key).items()}
        if self.keeps_other_credentials:
            return attrs.evolve(request, headers={**own, **headers})
        others = {name: headers[name] for name in headers if name not in CREDENTIAL_HEADERS}
        return attrs.evolve(request, headers={**others, **own})

    def refresh_credentials(self, version: int) -> bool:
        """Return False: the function was asked just before."""
        return False

    def get_secrets(self) -> Iterable[str]:
        """Return the key of the last request."""
        return (self._key,) if self._key else ()


def make_sdk_key(api_key: str | KeyFunction) -> str | Callable[[], Awaitable[str]]:
    """Return a key in the form that the async clients of OpenAI's SDK take: text, or an async
    function, which they ask for each request.
    """
    if isinstance(api_key, str):
        return api_key
    get_key = api_key

    async def get_key_async() -> str:
        result: Any = get_key() if is_async_function(get_key) else await to_thread.run_sync(get_key)
        key: str = await result if inspect.isawaitable(result) else result
        return key

    return get_key_async
