"""``CustomClient``: sends through the caller's own client, such as an httpx or httpx2 client.

Locus never changes or closes the caller's client. ``sdk_senders`` has the senders for the clients
of the providers' SDKs.
"""

from __future__ import annotations

from typing import Any

import attrs

from locus.core.errors import ConfigurationError
from locus.transport.httpx_common import find_httpx_module
from locus.transport.senders import AsyncSender, BlockingSender


@attrs.frozen
class CustomClient:
    """The senders for the caller's own client; None where that client cannot send."""

    blocking_sender: BlockingSender | None = None
    async_sender: AsyncSender | None = None

    def get_blocking_sender(self) -> BlockingSender:
        """Return the sender for blocking calls.

        :raises ConfigurationError: if the caller passed only an async client.
        """
        if self.blocking_sender is None:
            raise ConfigurationError(
                "this model has only an async client, so it cannot make blocking calls: use "
                "complete() and stream(), or pass a blocking client (http_client= accepts both as "
                "a pair)"
            )
        return self.blocking_sender

    def get_async_sender(self) -> AsyncSender:
        """Return the sender for async calls.

        :raises ConfigurationError: if the caller passed only a blocking client.
        """
        if self.async_sender is None:
            raise ConfigurationError(
                "this model has only a blocking client, so it cannot be awaited: use "
                "complete_sync() and stream_sync(), or pass an async client (http_client= accepts "
                "both as a pair)"
            )
        return self.async_sender


def wrap_http_client(http_client: Any) -> CustomClient:
    """Make the senders for ``http_client=``: one httpx or httpx2 client, or a blocking/async pair.

    :raises TypeError: if ``http_client`` is something else.
    """
    from locus.transport.httpx_senders import AsyncHttpxSender, BlockingHttpxSender

    clients = http_client if isinstance(http_client, (tuple, list)) else (http_client,)
    blocking_sender: BlockingSender | None = None
    async_sender: AsyncSender | None = None
    for client in clients:
        library = find_httpx_module(client)
        if library is None:
            break
        if isinstance(client, library.Client) and blocking_sender is None:
            blocking_sender = BlockingHttpxSender(client, library)
        elif not isinstance(client, library.Client) and async_sender is None:
            async_sender = AsyncHttpxSender(client, library)
        else:
            break
    else:
        if clients:
            return CustomClient(blocking_sender, async_sender)
    names = ", ".join(type(client).__name__ for client in clients) or "nothing"
    raise TypeError(
        "http_client= takes an httpx or httpx2 Client or AsyncClient, or a pair of both, "
        f"not {names}"
    )
