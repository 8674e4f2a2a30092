"""Requests that are cancelled while their credentials are fetched leave no threads or tasks.

The service that issues tokens hangs, and the tasks that wait for it are cancelled repeatedly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread

from locus.core.errors import LocusError
from locus.models.providers.oci._credentials_snapshot import Credentials
from locus.models.providers.oci._refresh_policy import RefreshPolicy
from locus.models.providers.oci._refreshing_signer import OCISigner
from locus.models.providers.oci.authentication import resolve_auth
from locus.testing.formats.runtimes import run_async
from locus.testing.server import Received, Reply
from locus.transport import single_flight
from locus.transport.httpx_auth import build_signing_auth
from tests.support.chat_replies import TEXT
from tests.support.oci import profiles, signed_models
from tests.support.oci.cloud import CHAT_PATH, COMPARTMENT
from tests.support.oci.credential_services import CredentialServices
from tests.support.oci.signed_models import FAST_REFRESH_POLICY, make_signed_model, make_signer
from tests.support.subprocess_scripts import run_script
from tests.support.timing import FOREVER, HANG_SECONDS, wait_until

pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]

INSTANCE_AUTH = resolve_auth(auth_type="instance_principal")
REQUEST_COUNT = 45
"""More than anyio's worker threads."""


class CountingSigner(OCISigner):
    """Counts the threads that are inside its blocking methods."""

    def __init__(self) -> None:
        super().__init__(INSTANCE_AUTH, refresh_policy=FAST_REFRESH_POLICY)
        self.active_threads = self.max_active_threads = self.call_count = 0
        self._counter_lock = threading.Lock()

    @contextmanager
    def _count_thread(self) -> Iterator[None]:
        with self._counter_lock:
            self.active_threads += 1
            self.call_count += 1
            self.max_active_threads = max(self.max_active_threads, self.active_threads)
        try:
            yield
        finally:
            with self._counter_lock:
                self.active_threads -= 1

    def ensure_ready(self) -> None:
        with self._count_thread():
            super().ensure_ready()

    def refresh_credentials(self, version: int) -> bool:
        with self._count_thread():
            return super().refresh_credentials(version)


class HangingSource:
    """``with HangingSource(signer):`` makes the signer's source of credentials hang."""

    def __init__(self, signer: OCISigner) -> None:
        self._source: Any = signer._source
        self._released = threading.Event()

    def __enter__(self) -> None:
        fetch: Callable[[], Credentials] = self._source.fetch_credentials

        def fetch_after_release() -> Credentials:
            assert self._released.wait(FOREVER)
            return fetch()

        self._source.fetch_credentials = fetch_after_release

    def __exit__(self, *exc: object) -> None:
        self._released.set()
        del self._source.fetch_credentials


@pytest.mark.parametrize("after_401", [False, True], ids=["at first", "after a 401"])
@pytest.mark.parametrize("client_kind", ["model", "sdk"])
def test_cancelled_requests_share_one_thread_and_the_next_one_succeeds(
    cloud: CredentialServices, backend: str, client_kind: str, after_401: bool
) -> None:
    signer = CountingSigner()
    if after_401:
        signer.ensure_ready()
        cloud.revoked_tokens.add(cloud.issued_tokens[0])

    async def main() -> None:
        model = make_signed_model(cloud, signer)
        client = httpx.AsyncClient(auth=build_signing_auth(signer, httpx))

        async def send_request() -> str | None:
            if client_kind == "model":
                return (await model.complete("hello")).content
            headers = {"opc-compartment-id": COMPARTMENT}
            response = await client.post(f"{cloud.url}{CHAT_PATH}", json={}, headers=headers)
            content: str = response.json()["choices"][0]["message"]["content"]
            return content

        async def cancel_request() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send_request)
                while not waits_for_credentials():  # noqa: ASYNC110 - there is no event
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()

        def waits_for_credentials() -> bool:
            task = single_flight._tasks.get(signer)
            return task is not None and bool(task.waiters)

        before = threading.active_count()
        async with model, client:
            with HangingSource(signer), anyio.fail_after(HANG_SECONDS):
                for _ in range(REQUEST_COUNT):
                    await cancel_request()
                assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
                assert signer.active_threads == 1
                assert not single_flight._tasks[signer].waiters
                if not after_401:  # otherwise the server has threads too, one for each connection
                    assert threading.active_count() <= before + 2
            with anyio.fail_after(HANG_SECONDS):
                assert await send_request() == TEXT

    run_async(backend, main)
    assert signer.max_active_threads == 1
    assert len(cloud.issued_tokens) == 1 + after_401


def test_a_cancelled_task_does_not_cancel_the_others(
    cloud: CredentialServices, backend: str
) -> None:
    signer = CountingSigner()

    async def main() -> None:
        hanging = HangingSource(signer)
        async with anyio.create_task_group() as others:
            with hanging:
                with anyio.move_on_after(0.05):
                    await single_flight.ensure_signer_ready(signer)  # this one starts the task
                for _ in range(5):
                    others.start_soon(single_flight.ensure_signer_ready, signer)
                await anyio.sleep(0.05)

    run_async(backend, main)
    assert signer.is_ready()
    assert signer.call_count == 1


def test_loops_in_many_threads_wait_for_one_fetch(cloud: CredentialServices, backend: str) -> None:
    signer = CountingSigner()
    failures: list[BaseException] = []

    def run_loop() -> None:
        try:
            anyio.run(single_flight.ensure_signer_ready, signer, backend=backend)
        except BaseException as exc:  # noqa: BLE001 - looked at below
            failures.append(exc)

    with HangingSource(signer):
        threads = [threading.Thread(target=run_loop) for _ in range(5)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
    assert signer.is_ready()
    assert not failures
    assert signer.max_active_threads == 1
    assert len(cloud.issued_tokens) == 1


def test_another_kind_of_task_runs_afterwards(cloud: CredentialServices, backend: str) -> None:
    signer = CountingSigner()
    signer.ensure_ready()
    refreshed: list[bool] = []

    async def refresh(version: int) -> None:
        refreshed.append(await single_flight.refresh_credentials(signer, version))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            with HangingSource(signer):
                for name in ("refresh_at", "stale_at", "expires_at"):
                    object.__setattr__(signer._cached, name, 0.0)
                tasks.start_soon(single_flight.ensure_signer_ready, signer)
                await anyio.to_thread.run_sync(wait_until, lambda: signer.active_threads == 1)
                tasks.start_soon(refresh, 0)  # already replaced
                tasks.start_soon(refresh, 1)
                await anyio.to_thread.run_sync(wait_until, lambda: refreshed)
                assert refreshed == [True]
                assert signer.active_threads == 1

    run_async(backend, main)
    assert refreshed == [True] * 2
    assert signer.max_active_threads == 1
    assert signer.call_count == 3
    assert len(cloud.issued_tokens) == 2


def test_each_waiting_task_gets_its_own_copy_of_the_error(
    cloud: CredentialServices, backend: str
) -> None:
    signer = make_signer(INSTANCE_AUTH, RefreshPolicy(failure_cache_seconds=0.0))
    cloud.failure_status = 403
    failures: list[LocusError] = []

    async def fetch_credentials() -> None:
        try:
            await single_flight.ensure_signer_ready(signer)
        except LocusError as exc:
            failures.append(exc)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(fetch_credentials)

    run_async(backend, main)
    assert len(set(map(id, failures))) == 20
    assert len({str(exc) for exc in failures}) == 1
    assert cloud.token_requests == ["x509"]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork")
def test_a_child_forked_while_tasks_wait_fetches_its_own_credentials(
    cloud: CredentialServices, backend: str
) -> None:
    federation = cloud.reply_to_federation

    def reply_when_both_wait(received: Received) -> Reply:
        if cloud.token_requests:
            cloud.is_open.set()
        return federation(received)

    cloud.is_open.clear()
    cloud.server.route("POST", "/v1/x509", reply_when_both_wait)
    output = run_script(
        """
        import os, sys, threading, time, warnings
        import anyio
        from locus.models.providers.oci._refreshing_signer import OCISigner
        from locus.models.providers.oci.authentication import resolve_auth
        from locus.transport import single_flight

        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        signer = OCISigner(resolve_auth(auth_type="instance_principal"))

        def fetch(process):
            anyio.run(single_flight.ensure_signer_ready, signer, backend=sys.argv[1])
            line = f"{process} {signer.is_ready()} {signer.credentials_version}\\n"
            os.write(1, line.encode())

        thread = threading.Thread(target=fetch, args=("parent",))
        thread.start()
        while not signer._fetch_lock.locked():
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            fetch("child")
            os._exit(0)
        thread.join()
        print("child ended with", os.waitpid(child, 0)[1], flush=True)
        """,
        backend,
        prelude="import oci.signer, httpx\n",
    )
    assert sorted(output.splitlines()) == ["child True 1", "child ended with 0", "parent True 1"]
