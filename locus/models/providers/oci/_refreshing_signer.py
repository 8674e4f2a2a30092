"""``OCISigner``: signs the requests of OCI models, and refreshes its credentials.

It is a ``locus.transport.signer.Signer``, which a model's ``get_signer()`` returns
(``_signer_cache.get_signer`` gives the process's signer for an ``OCIAuth``). Nothing is read, and
``oci`` is not imported, before ``ensure_ready()``. For ``model.client``,
``locus.transport.httpx_auth`` makes an ``httpx`` ``auth=`` of a signer.

Signing and refreshing are separate. A request is signed with a snapshot of the credentials, which
only computes. When the credentials will soon expire, the next caller starts one thread that fetches
new ones, and continues with the old ones; callers wait only when the credentials have expired.
Credentials are fetched under one lock, by threads that may block; there is no ``await`` in this
module. The error of a failed fetch is stored as ``last_refresh_error`` and logged, the old
credentials stay in use, and the next attempt is delayed.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

import attrs

from locus.core.error_context import ErrorContext
from locus.core.errors import APIStatusError, LocusError
from locus.models.providers.oci._credential_source import CredentialSource
from locus.models.providers.oci._credentials_snapshot import Credentials
from locus.models.providers.oci._refresh_policy import RefreshPolicy
from locus.models.providers.oci._request_signing import make_signed_copy
from locus.models.providers.oci.authentication import OCIAuth
from locus.transport.http_request import HttpRequest

logger = logging.getLogger("locus.oci")


@attrs.frozen(eq=False)
class _CachedCredentials:
    """Credentials in use, and the times when they are refreshed and expire.

    The times are on the clock of ``time.time``, ``obtained_at`` is on that of ``time.monotonic``.
    """

    credentials: Credentials
    obtained_at: float
    refresh_at: float = float("inf")
    stale_at: float = float("inf")
    expires_at: float = float("inf")

    @classmethod
    def from_credentials(
        cls, credentials: Credentials, refresh_policy: RefreshPolicy
    ) -> _CachedCredentials:
        """Compute the times of the credentials from the refresh policy."""
        now = time.time()
        expires_at = credentials.expires_at
        if expires_at is None:
            return cls(credentials, time.monotonic())
        lifetime = max(0.0, expires_at - (credentials.issued_at or now))
        return cls(
            credentials,
            time.monotonic(),
            expires_at - min(refresh_policy.refresh_before_expiry, lifetime / 2),
            expires_at - min(refresh_policy.expiry_margin, lifetime / 10),
            expires_at,
        )


class OCISigner:
    """A ``locus.transport.signer.Signer`` for one set of credentials.

    :ivar auth: which credentials these are.
    :ivar last_refresh_error: the error of the last refresh, or None if it succeeded.
    """

    def __init__(
        self,
        auth: OCIAuth,
        source: CredentialSource | None = None,
        refresh_policy: RefreshPolicy | None = None,
    ) -> None:
        self.auth = auth
        self.last_refresh_error: LocusError | None = None
        self._refresh_policy = refresh_policy or RefreshPolicy()
        self._version = 0
        self._cached: _CachedCredentials | None = None
        self._failure_count = 0
        self._failed_at = float("-inf")
        self._next_refresh_at = float("-inf")
        self._set_source_and_locks(source or CredentialSource(auth))
        _all_signers.add(self)

    def _set_source_and_locks(self, source: CredentialSource) -> None:
        """Set the source of credentials, and make new locks for it."""
        self._source = source
        self._fetch_lock = threading.Lock()  # held during a fetch
        self._start_lock = threading.Lock()  # held for a moment while the thread is started
        self._refresh_thread: threading.Thread | None = None

    def replace_source_and_locks_after_fork(self) -> None:
        """In a forked child, replace the locks and the source of credentials.

        The locks may be held by threads that do not exist in the child, and the source has locks
        and connections that belong to the parent. The credentials themselves stay valid.
        """
        _parent_sources.append(self._source)  # if it were collected, its connections would close
        self._set_source_and_locks(self._source.make_copy_after_fork())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.auth}, version {self._version}>"

    # The protocol of locus.transport.

    @property
    def credentials_version(self) -> int:
        """A number that grows whenever the credentials change."""
        return self._version

    def is_ready(self) -> bool:
        """Return whether there are credentials to sign with. It never blocks."""
        cached = self._cached
        if cached is None:
            return False
        now = time.time()
        if now < cached.refresh_at:
            return True
        if now >= cached.stale_at:
            return False
        self._start_background_refresh()
        return True

    def ensure_ready(self) -> None:
        """Fetch credentials if there are none or they have expired. Blocks.

        :raises ConfigurationError: if there are none, or they cannot be read.
        :raises APIError: if the service that issues them failed.
        """
        with self._fetch_lock:
            cached = self._cached
            if cached is not None and time.time() < cached.stale_at:
                return
            if time.monotonic() < self._failed_at + self._refresh_policy.failure_cache_seconds:
                error = self.last_refresh_error  # another caller has just tried
            else:
                error = self._refresh_and_return_error()
            if error is None or (cached is not None and time.time() < cached.expires_at):
                return
        # A copy, because each caller adds its own context to the error.
        raise copy.copy(error) from error.__cause__

    def make_signed_copy(self, request: HttpRequest) -> HttpRequest:
        """Return a copy of ``request`` with a signature over its headers and its body. No I/O."""
        cached = self._cached
        if cached is None:
            raise RuntimeError("make_signed_copy() before ensure_ready()")
        return make_signed_copy(request, cached.credentials)

    def refresh_credentials(self, version: int) -> bool:
        """Replace the credentials of ``version``, which the server rejected. Blocks.

        :returns: whether there are other credentials now. A failure keeps the old ones.
        """
        with self._fetch_lock:
            if self._version != version:
                return True
            cached, now = self._cached, time.monotonic()
            if cached is None or now < cached.obtained_at + self._refresh_policy.min_renewal_age:
                return False
            if now < self._next_refresh_at:
                return False
            return self._refresh_and_return_error() is None and self._version != version

    def get_secrets(self) -> Iterable[str]:
        """Return the texts that no error may show."""
        cached = self._cached
        return () if cached is None else cached.credentials.secrets

    # Fetching.

    def _refresh_and_return_error(self) -> LocusError | None:
        """Fetch and store credentials. Store, log and return an error in place of raising it."""
        try:
            credentials = self._source.fetch_credentials()
        except LocusError as error:
            self._record_failure(self._redact_error(error))
            return error
        except Exception:
            self._delay_next_refresh()
            raise
        self._failure_count = 0
        self.last_refresh_error = None
        cached, policy = self._cached, self._refresh_policy
        if cached is not None and credentials.is_equivalent_to(cached.credentials):
            # Nothing newer yet, as when another program writes the file. Look again a bit later.
            delay = min(policy.retry_delay, policy.min_renewal_age)
            self._next_refresh_at = time.monotonic() + delay
        else:
            self._cached = _CachedCredentials.from_credentials(credentials, policy)
            self._version += 1
        return None

    def _redact_error(self, error: LocusError) -> LocusError:
        """Remove all secrets from the messages of an error, and return it."""
        error_context = ErrorContext("oci", "", secrets=tuple(self.get_secrets()))
        error.args = tuple(error_context.redact(str(argument)) for argument in error.args)
        if isinstance(error, APIStatusError):
            error.body = error_context.redact(error.body)
        return error

    def _delay_next_refresh(self) -> None:
        """Set when the next attempt may start; half of the delay is random.

        Processes that failed at the same moment then do not try again at the same moment.
        """
        policy = self._refresh_policy
        delay = min(policy.max_retry_delay, policy.retry_delay * 2**self._failure_count)
        self._failure_count = min(self._failure_count + 1, 16)
        self._failed_at = time.monotonic()
        self._next_refresh_at = self._failed_at + random.uniform(delay / 2, delay)

    def _record_failure(self, error: LocusError) -> None:
        """Store and log the error of a failed fetch, and delay the next one."""
        self._delay_next_refresh()
        self.last_refresh_error = error
        if self._cached is not None:  # otherwise the error is raised
            logger.warning("OCI credentials could not be refreshed, the old ones stay: %s", error)

    def _start_background_refresh(self) -> None:
        """Start the thread that fetches, unless it runs already or must wait after a failure."""
        if self._refresh_thread is not None or time.monotonic() < self._next_refresh_at:
            return
        if not self._start_lock.acquire(blocking=False):
            return
        try:
            if self._refresh_thread is None:
                thread = threading.Thread(
                    target=self._run_background_refresh, name="locus.oci", daemon=True
                )
                self._refresh_thread = thread
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is shutting down, or no thread can be made
                    self._refresh_thread = None
        finally:
            self._start_lock.release()

    def _run_background_refresh(self) -> None:
        """Fetch credentials, in the background thread, if it is still time to."""
        try:
            with self._fetch_lock:
                cached = self._cached
                if cached is not None and time.time() >= cached.refresh_at:
                    self._refresh_and_return_error()
        finally:
            self._refresh_thread = None


_all_signers: weakref.WeakSet[OCISigner] = weakref.WeakSet()
_parent_sources: list[Any] = []


def _reset_signers_after_fork() -> None:
    """In a forked child, replace the locks and sources of all signers."""
    for signer in list(_all_signers):
        signer.replace_source_and_locks_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_signers_after_fork)
