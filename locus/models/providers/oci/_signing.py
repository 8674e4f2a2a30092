"""Signing for the OCI models.

:func:`signer_for` gives the process's signer for an ``OCIAuth``; it is a
``locus.transport.http_call.Signer``, to be returned by a model's ``_signer()``. Nothing is read and
``oci`` is not imported before the signer's ``prepare()``. For ``model.client`` there is
``locus.transport.httpx_auth.signed_auth(signer, httpx2)``, an ``httpx`` ``auth=``.

Signing and refreshing are apart. A request is signed with a snapshot of the credentials, which
only computes. When they approach their end, whoever asks next starts one thread that fetches
others, and goes on with the old ones; only when those have really expired does anybody wait. All
fetching is done under one lock, by threads that may block, and there is not an ``await`` in this
module. What a fetch fails with is kept as ``last_refresh_error``, logged, and leaves the old
credentials in place; the next one is not tried at once.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import attrs

from locus.core.error_factory import Asked
from locus.core.errors import APIStatusError, LocusError
from locus.models.providers.oci._credential_sources import Source
from locus.models.providers.oci._credentials import Credentials
from locus.models.providers.oci.settings import OCIAuth
from locus.transport.http_call import HttpRequest
from locus.transport.httpx_compat import CREDENTIAL_HEADERS

logger = logging.getLogger("locus.oci")


@attrs.frozen
class Pace:
    """How early and how often credentials are refreshed, all in seconds.

    :param ahead: how long before their end others are fetched; at most half their life.
    :param margin: how long before their end they are no longer used, so that a request is not
        overtaken by it on its way; at most a tenth of their life.
    :param again: how long after a failure the next try is at the earliest. Doubles with each
        failure, up to ``longest``, half of it at random.
    :param settled: credentials that are refused although they are newer than this are not
        replaced: what is wrong is not their age.
    :param shared: how long a failure answers everybody who had to wait, without another try.
    """

    ahead: float = 300.0
    margin: float = 10.0
    again: float = 5.0
    longest: float = 300.0
    settled: float = 5.0
    shared: float = 1.0


@attrs.frozen(eq=False)
class _Held:
    """Credentials in use, with the moments that matter, on the clock of ``time.time``."""

    credentials: Credentials
    since: float  # on the clock of time.monotonic
    refresh_at: float = float("inf")
    stale_at: float = float("inf")
    expires: float = float("inf")

    @classmethod
    def new(cls, credentials: Credentials, pace: Pace) -> _Held:
        now = time.time()
        if credentials.expires is None:
            return cls(credentials, time.monotonic())
        life = max(0.0, credentials.expires - (credentials.issued or now))
        return cls(
            credentials,
            time.monotonic(),
            credentials.expires - min(pace.ahead, life / 2),
            credentials.expires - min(pace.margin, life / 10),
            credentials.expires,
        )


class OCISigner:
    """A ``locus.transport.http_call.Signer`` for one set of credentials, shared by the process.

    :ivar last_refresh_error: why the last refresh failed, or None.
    """

    def __init__(self, auth: OCIAuth, source: Source | None = None, pace: Pace | None = None):
        self.auth = auth
        self.last_refresh_error: LocusError | None = None
        self._pace = pace or Pace()
        self._version = 0
        self._held: _Held | None = None
        self._failures = 0
        self._failed_at = float("-inf")
        self._not_before = float("-inf")
        self._reset(source or Source(auth))
        _signers.add(self)

    def _reset(self, source: Source) -> None:
        self._source = source
        self._fetching = threading.Lock()  # held by whoever fetches
        self._starting = threading.Lock()  # held for a moment by whoever starts the thread
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """In a forked child: the locks may be taken, and the thread is not there any more.

        The credentials are as good as they were. What fetches them is made anew: it has locks and
        connections of its own, which are the parent's.
        """
        _inherited.append(self._source)  # not collected, which would close the connections
        self._reset(self._source.after_fork())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.auth}, version {self._version}>"

    # What locus.transport asks.

    @property
    def version(self) -> int:
        """Counts the credentials."""
        return self._version

    def ready(self) -> bool:
        """Whether there are credentials to sign with. Never blocks."""
        held = self._held
        if held is None:
            return False
        now = time.time()
        if now < held.refresh_at:
            return True
        if now >= held.stale_at:
            return False
        self._refresh_behind()
        return True

    def prepare(self) -> None:
        """Fetch credentials, if there are none or they have expired. Blocks.

        :raises ConfigurationError: there are none, or they cannot be read.
        :raises APIError: the service that issues them failed.
        """
        with self._fetching:
            held = self._held
            if held is not None and time.time() < held.stale_at:
                return
            if time.monotonic() < self._failed_at + self._pace.shared:
                error = self.last_refresh_error  # somebody has just tried
            else:
                error = self._fetch()
            if error is None or (held is not None and time.time() < held.expires):
                return
        # A copy: whoever raises an error adds to it.
        raise copy.copy(error) from error.__cause__

    def sign(self, request: HttpRequest) -> HttpRequest:
        """The request with a signature over its headers and its body. Computes only."""
        held = self._held
        if held is None:
            raise RuntimeError("sign() before prepare()")
        credentials = held.credentials
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() not in _DROPPED
        }
        headers.update(credentials.headers)
        host, target = _parts(request.url)
        host = headers.setdefault("host", host)
        if request.method in _WITH_BODY:
            headers["content-length"] = str(len(request.content))
        outgoing = _Outgoing(request.method, host, target, headers, request.content)
        credentials.signer.do_request_sign(outgoing)
        return attrs.evolve(request, headers=headers)

    def renew(self, version: int) -> bool:
        """Fetch other credentials than those of ``version``, which were refused. Blocks.

        Whether there are any now. A failure keeps the old ones.
        """
        with self._fetching:
            if self._version != version:
                return True
            held, now = self._held, time.monotonic()
            if held is None or now < held.since + self._pace.settled or now < self._not_before:
                return False
            return self._fetch() is None and self._version != version

    def secrets(self) -> Iterable[str]:
        """What must not show in an error."""
        held = self._held
        return () if held is None else held.credentials.secrets

    # Fetching.

    def _fetch(self) -> LocusError | None:
        """Fetch, with the lock held. What went wrong is kept, logged and returned."""
        try:
            credentials = self._source.fetch()
        except LocusError as error:
            self._failed(self._redacted(error))
            return error
        except Exception:
            self._pause()
            raise
        self._failures = 0
        self.last_refresh_error = None
        held = self._held
        if held is not None and credentials.same_as(held.credentials):
            # Nothing newer yet: a file that somebody else writes, say. Look again, not at once.
            self._not_before = time.monotonic() + min(self._pace.again, self._pace.settled)
        else:
            self._held = _Held.new(credentials, self._pace)
            self._version += 1
        return None

    def _redacted(self, error: LocusError) -> LocusError:
        struck = Asked("oci", "", secrets=tuple(self.secrets()))
        error.args = tuple(struck.redact(str(said)) for said in error.args)
        if isinstance(error, APIStatusError):
            error.body = struck.redact(error.body)
        return error

    def _pause(self) -> None:
        """Not at once again, and not together with others who failed at the same time."""
        pause = min(self._pace.longest, self._pace.again * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        self._failed_at = time.monotonic()
        self._not_before = self._failed_at + random.uniform(pause / 2, pause)

    def _failed(self, error: LocusError) -> None:
        self._pause()
        self.last_refresh_error = error
        if self._held is not None:  # else it is raised
            logger.warning("OCI credentials could not be refreshed, the old ones stay: %s", error)

    def _refresh_behind(self) -> None:
        """Start the thread that fetches, unless it runs or has failed a moment ago."""
        if self._thread is not None or time.monotonic() < self._not_before:
            return
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._refresh, name="locus.oci", daemon=True)
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is about to end, or there is no room
                    self._thread = None
        finally:
            self._starting.release()

    def _refresh(self) -> None:
        try:
            with self._fetching:
                held = self._held
                if held is not None and time.time() >= held.refresh_at:
                    self._fetch()
        finally:
            self._thread = None


class _Outgoing:
    """As much of a ``requests.PreparedRequest`` as ``oci`` looks at when it signs."""

    __slots__ = ("body", "headers", "method", "path_url", "url")

    def __init__(
        self, method: str, host: str, target: str, headers: dict[str, str], body: bytes
    ) -> None:
        self.method = method
        self.url = f"https://{host}{target}"
        self.path_url = target
        self.headers = headers
        self.body = body


_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_DROPPED: Final = frozenset(
    {
        # Credentials from elsewhere would contradict the signature.
        *CREDENTIAL_HEADERS,
        # The signature's own.
        *("date", "x-content-sha256", "content-length", "transfer-encoding"),
    }
)


@lru_cache(maxsize=128)
def _parts(url: str) -> tuple[str, str]:
    """The host and the target as they will stand in the request: httpx rewrites addresses."""
    import httpx

    parsed = httpx.URL(url)
    return parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii")


# One signer for equal settings, and what a forked child must know of them.

KEPT: Final = 256
"""How many signers are kept. Each delegation token has its own: a server may see many of them."""
_shared: OrderedDict[OCIAuth, OCISigner] = OrderedDict()  # the one used last is at the end
_shared_lock = threading.Lock()
_signers: weakref.WeakSet[OCISigner] = weakref.WeakSet()
_inherited: list[Any] = []


def signer_for(auth: OCIAuth) -> OCISigner:
    """The signer of this process for these credentials, kept unless ``KEPT`` others came since."""
    with _shared_lock:
        signer = _shared.get(auth)
        if signer is None:
            signer = _shared[auth] = OCISigner(auth)
            if len(_shared) > KEPT:
                _shared.popitem(last=False)
        _shared.move_to_end(auth)
    return signer


def _after_fork() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for signer in list(_signers):
        signer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
