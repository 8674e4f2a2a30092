"""Where a model's connections live: beside the immutable model, and never pickled with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from functools import partial
from inspect import isawaitable
from typing import Any

from anyio import NoEventLoopError
from anyio.lowlevel import current_token

from locus.transport.async_pool import AsyncPool, at_loop_end
from locus.transport.blocking_pool import BlockingPool


class Connections:
    """The pools of one model, shared with the copies made of it in this process."""

    __slots__ = ("__weakref__", "_sdk_clients", "blocking", "nonblocking")

    def __init__(self) -> None:
        self.blocking = BlockingPool()
        self.nonblocking = AsyncPool()
        # For each loop, a client for each of the configs that copies have.
        self._sdk_clients: weakref.WeakKeyDictionary[Any, dict[Hashable, Any]] = (
            weakref.WeakKeyDictionary()
        )

    def sdk_client(self, config: Hashable, make: Callable[[], Any]) -> Any:
        """The SDK's client for the running loop; the SDKs' connections belong to a loop too.

        It is closed with the loop. One that is made where no loop runs is the caller's to close.
        """
        loop = _running_loop()
        clients = self._sdk_clients.get(loop or self.blocking)
        if clients is None:
            clients = self._sdk_clients[loop or self.blocking] = {}
            if loop is not None:
                at_loop_end(self, partial(_close_all, clients))
        client = clients.get(config)
        if client is None:
            client = clients[config] = make()
        return client

    async def aclose(self) -> None:
        """Release the blocking connections and those of the running loop."""
        self.blocking.close()
        await self.nonblocking.aclose()
        await _close_all(self._sdk_clients.pop(_running_loop(), {}))


async def _close_all(clients: dict[Hashable, Any]) -> None:
    while clients:
        _, client = clients.popitem()
        closing = client.close()
        if isawaitable(closing):
            await closing


def _running_loop() -> Any:
    try:
        return current_token().native_token
    except NoEventLoopError:
        return None
