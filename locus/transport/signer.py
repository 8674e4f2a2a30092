"""The protocol ``Signer``: adds credentials to requests just before they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from locus.transport.http_request import HttpRequest


class Signer(Protocol):
    """Adds credentials to requests just before they are sent: a signature, or a token.

    A driver calls :meth:`ensure_ready` before each attempt. After a 401 it calls
    :meth:`refresh_credentials` and sends the request once more. Async drivers call the methods
    that may block in a worker thread. One signer can be used by any number of threads, tasks and
    event loops at the same time.
    """

    @property
    def credentials_version(self) -> int:
        """A number that changes when the credentials change."""
        ...

    def is_ready(self) -> bool:
        """Return whether :meth:`make_signed_copy` can be called. It never blocks.

        It may start a refresh in the background: credentials that are about to expire still sign,
        so that no request waits for the refresh.
        """
        ...

    def ensure_ready(self) -> None:
        """Fetch the credentials if :meth:`make_signed_copy` needs them. May block.

        One caller fetches them; other callers wait for that one.

        :raises ConfigurationError: if there are no credentials, or they cannot be read.
        :raises APIError: if the service that issues them failed.
        """
        ...

    def make_signed_copy(self, request: HttpRequest) -> HttpRequest:
        """Return a copy of the request with the headers that authenticate it. No I/O."""
        ...

    def refresh_credentials(self, version: int) -> bool:
        """Replace the credentials of ``version``, which the server has rejected. May block.

        :param version: the ``credentials_version`` of the rejected request. If the credentials have
            changed since, they are not refreshed again.
        :returns: whether there are other credentials now. If the refresh fails, the old ones stay
            and no error is raised.
        """
        ...

    def get_secrets(self) -> Iterable[str]:
        """Return the texts that must not appear in any error message."""
        ...
