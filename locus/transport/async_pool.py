"""The connections of async calls: what sends, and in which event loop it lives.

A connection belongs to the event loop it was opened in, so each loop has clients of its own, held
by an async generator: both runtimes close those at the end of a run, and with it the connections.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.lowlevel import RunVar

from locus.core.errors import APIError, ConfigurationError
from locus.transport.http_call import Call, HttpRequest
from locus.transport.httpx_compat import (
    Requests,
    ThroughHttpx,
    body_class,
    build,
    check_open,
    connection_options,
    goes_direct,
)

if TYPE_CHECKING:
    import httpx

CLOSE_SECONDS = 2.0
"""How long closing may take when the caller has been cancelled."""


class AsyncSender(Protocol):
    """Opens an answer: through an httpx client, or a provider's SDK."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What reading the body of an answer may raise."""
        ...

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread. Raises an ``APIError``."""
        ...

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for one of ``errors``."""
        ...


class AsyncHttpxSender(ThroughHttpx):
    """Sends through an httpx or httpx2 client."""

    __slots__ = ("client",)

    def __init__(self, client: Any, library: ModuleType) -> None:
        super().__init__(library)
        self.client = client

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread, streamed or not."""
        check_open(self.client)
        try:
            built, options = build(self.client, call, self.library)
            built.stream = body_class(self.library)(call.request.content)
            response: httpx.Response = await self.client.send(built, stream=True, **options)
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error
        except self.library.InvalidURL as error:
            raise ConfigurationError(f"base_url makes no valid address: {error}") from error
        return response

    async def close(self) -> None:
        """Close the client, if it is Locus's own."""
        await self.client.aclose()


class AsyncTransportSender(ThroughHttpx):
    """Sends through a bare httpx transport: Locus's own connections."""

    __slots__ = ("_requests", "transport")

    def __init__(self, transport: httpx.AsyncHTTPTransport, library: ModuleType) -> None:
        super().__init__(library)
        self.transport = transport
        self._requests = Requests(library)

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread, streamed or not."""
        request = self._requests.make(call.signed())
        request.stream = body_class(self.library)(call.request.content)
        try:
            return await self.transport.handle_async_request(request)
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.aclose()


class AsyncPool:
    """A model's claim to connections, in whichever loop it is used."""

    __slots__ = ("__weakref__",)

    async def sender(self, request: HttpRequest) -> AsyncSender:
        """What sends ``request`` from the current loop."""
        loop = await current_loop()
        sender = loop.senders.get(weakref.ref(self))
        if sender is None:
            import httpx

            options = connection_options(request.url)
            if goes_direct(request.url):
                sender = AsyncTransportSender(httpx.AsyncHTTPTransport(**options), httpx)
            else:
                sender = AsyncHttpxSender(httpx.AsyncClient(**options), httpx)
            loop.senders[weakref.ref(self, loop.let_go)] = sender
        return sender

    async def aclose(self) -> None:
        """Release the current loop's connections. The next call opens new ones."""
        loop = await current_loop()
        sender = loop.senders.pop(weakref.ref(self), None)
        if sender is not None:
            await sender.close()


class Loop:
    """What Locus keeps for one event loop."""

    def __init__(self) -> None:
        self.senders: dict[weakref.ref[AsyncPool], AsyncTransportSender | AsyncHttpxSender] = {}
        # Open streams stand here, so that one which dies in a reference cycle does not take httpx's
        # generators with it: trio would complain of them.
        self.readings: set[object] = set()
        self.abandoned: deque[Callable[[], Awaitable[None]]] = deque()
        self.at_end: dict[weakref.ref[Any], Callable[[], Awaitable[None]]] = {}
        self.holder: AsyncGenerator[None, None] | None = None
        self.forget: Callable[[], None] | None = None

    def let_go(self, pool: weakref.ref[AsyncPool]) -> None:
        """A model is gone; this may run in any thread, so closing has to wait."""
        sender = self.senders.pop(pool, None)
        if sender is not None:
            self.abandoned.append(sender.close)

    def let_go_at_end(self, owner: weakref.ref[Any]) -> None:
        """Likewise for what :func:`at_loop_end` was told of."""
        close = self.at_end.pop(owner, None)
        if close is not None:
            self.abandoned.append(close)

    async def clean_up(self) -> None:
        """Close what was dropped where nobody could await."""
        while self.abandoned:
            await self.abandoned.popleft()()

    async def hold(self) -> AsyncGenerator[None, None]:
        """Held open by the loop, and closed with it."""
        try:
            yield
        finally:
            # The generator knows the loop, and a loop that is known here would live for ever.
            self.holder = None
            if self.forget is not None:
                self.forget()
            self.readings.clear()  # the loop closes httpx's generators, and with them the answers
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                # Again for what is collected meanwhile, in whichever thread.
                while self.senders or self.at_end or self.abandoned:
                    for pool in list(self.senders):
                        self.let_go(pool)
                    for owner in list(self.at_end):
                        self.let_go_at_end(owner)
                    await self.clean_up()


_loop_state: RunVar[Loop] = RunVar("locus.transport")


async def current_loop() -> Loop:
    """What Locus keeps for the running loop, with what was dropped in it now closed."""
    loop = _loop_here()
    if loop.abandoned:
        await loop.clean_up()
    return loop


def _loop_here() -> Loop:
    loop = _loop_state.get(None)
    if loop is None:
        loop = Loop()
        loop.forget = partial(_loop_state.reset, _loop_state.set(loop))
        loop.holder = loop.hold()
        with suppress(StopIteration):  # it has got to its yield, and awaited nothing on the way
            loop.holder.__anext__().send(None)
    return loop


def at_loop_end(owner: object, close: Callable[[], Awaitable[None]]) -> None:
    """Have ``close`` called before the current loop ends, or some time after ``owner`` is gone.

    It releases what belongs to the loop, and must not hold the owner.
    """
    loop = _loop_here()
    loop.at_end[weakref.ref(owner, loop.let_go_at_end)] = close
