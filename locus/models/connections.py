"""The connections of a model: its pools and SDK clients. They are never pickled with the model."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from inspect import isawaitable
from typing import Any

from anyio import NoEventLoopError
from anyio.lowlevel import current_token

from locus.transport.async_pool import AsyncPool
from locus.transport.blocking_pool import BlockingPool
from locus.transport.loop_state import LoopResource, release_at_loop_end


class Connections:
    """The connection pools of one model, shared with its copies in this process."""

    __slots__ = ("__weakref__", "_sdk_clients", "async_pool", "blocking_pool")

    def __init__(self) -> None:
        self.blocking_pool = BlockingPool()
        self.async_pool = AsyncPool()
        # For each event loop, one client for each config: copies of a model may have other configs.
        self._sdk_clients: weakref.WeakKeyDictionary[Any, dict[Hashable, Any]] = (
            weakref.WeakKeyDictionary()
        )

    def get_or_make_sdk_client(self, config: Hashable, make_client: Callable[[], Any]) -> Any:
        """Return the SDK client of the running event loop; make it if there is none.

        It is closed when the loop ends. If no loop is running, the caller has to close it.

        :param config: the config of the calling model; equal configs share a client.
        :param make_client: makes the client if there is none yet.
        """
        loop = _find_running_loop()
        clients = self._sdk_clients.get(loop or self.blocking_pool)
        if clients is None:
            clients = self._sdk_clients[loop or self.blocking_pool] = {}
            if loop is not None:
                release_at_loop_end(self, _SdkClients(clients))
        client = clients.get(config)
        if client is None:
            client = clients[config] = make_client()
        return client

    async def aclose(self) -> None:
        """Release the blocking connections and those of the running loop."""
        self.blocking_pool.close()
        await self.async_pool.aclose()
        await _close_clients(self._sdk_clients.pop(_find_running_loop(), {}))


class _SdkClients(LoopResource):
    """The SDK clients that were made in one event loop."""

    def __init__(self, clients: dict[Hashable, Any]) -> None:
        self._clients = clients

    async def aclose(self) -> None:
        """Close and remove them."""
        await _close_clients(self._clients)


async def _close_clients(clients: dict[Hashable, Any]) -> None:
    """Close and remove all clients."""
    while clients:
        _, client = clients.popitem()
        result = client.close()
        if isawaitable(result):
            await result


def _find_running_loop() -> Any:
    """Return the running event loop of asyncio or trio, or None."""
    try:
        return current_token().native_token
    except NoEventLoopError:
        return None
