"""Requests that are given up while their credentials are fetched leave nothing behind.

The service that issues tokens hangs; whoever waits for it is cancelled, again and again.
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
from locus.models.providers.oci._credentials import Credentials
from locus.models.providers.oci._signing import OCISigner, Pace
from locus.models.providers.oci.settings import auth_of
from locus.transport import single_flight
from locus.transport.httpx_auth import signed_auth
from tests.support import runtimes
from tests.support.oci import profiles, signed_models
from tests.support.oci.cloud import CHAT, COMPARTMENT
from tests.support.oci.credential_services import Services
from tests.support.oci.signed_models import QUICK, quick, signed_model
from tests.support.runtimes import TEXT, run, script

pytest.importorskip("oci")

backend, no_leaks = runtimes.backend, runtimes.no_leaks
home, surroundings = profiles.home, signed_models.surroundings
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]

INSTANCE = auth_of(auth_type="instance_principal")
MANY = 45
"""More than anyio's worker threads."""


class Watched(OCISigner):
    """Knows how many threads are in it."""

    def __init__(self) -> None:
        super().__init__(INSTANCE, pace=QUICK)
        self.inside = self.most = self.times = 0
        self._counting = threading.Lock()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._counting:
            self.inside += 1
            self.times += 1
            self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            with self._counting:
                self.inside -= 1

    def prepare(self) -> None:
        with self._counted():
            super().prepare()

    def renew(self, version: int) -> bool:
        with self._counted():
            return super().renew(version)


class Hanging:
    """``with Hanging(signer):`` what issues tokens for the signer says nothing."""

    def __init__(self, signer: OCISigner) -> None:
        self._source: Any = signer._source
        self._answers = threading.Event()

    def __enter__(self) -> None:
        fetch: Callable[[], Credentials] = self._source.fetch

        def hanging() -> Credentials:
            assert self._answers.wait(30)
            return fetch()

        self._source.fetch = hanging

    def __exit__(self, *exc: object) -> None:
        self._answers.set()
        del self._source.fetch


@pytest.mark.parametrize("refused", [False, True], ids=["at first", "after a 401"])
@pytest.mark.parametrize("through", ["model", "sdk"])
def test_requests_that_are_given_up_share_one_thread_and_the_next_one_succeeds(
    cloud: Services, backend: str, through: str, refused: bool
) -> None:
    signer = Watched()
    if refused:
        signer.prepare()
        cloud.distrusted.add(cloud.issued[0])

    async def main() -> None:
        model = signed_model(cloud, signer)
        client = httpx.AsyncClient(auth=signed_auth(signer, httpx))

        async def ask() -> str | None:
            if through == "model":
                return (await model.complete("hello")).content
            headers = {"opc-compartment-id": COMPARTMENT}
            answer = await client.post(f"{cloud.url}{CHAT}", json={}, headers=headers)
            content: str = answer.json()["choices"][0]["message"]["content"]
            return content

        before = threading.active_count()
        async with model, client:
            with Hanging(signer), anyio.fail_after(30):
                given_up = 0
                while given_up < MANY:
                    with anyio.move_on_after(0.02):
                        await ask()
                    given_up += signer.inside  # the first may not even have been refused
                assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
                assert signer.inside == 1
                assert not single_flight._running[signer].waiting
                if not refused:  # else the server has threads too, one for each connection
                    assert threading.active_count() <= before + 2
            with anyio.fail_after(10):
                assert await ask() == TEXT

    run(backend, main)
    assert signer.most == 1
    assert len(cloud.issued) == 1 + refused


def test_whoever_is_given_up_does_not_take_the_others_along(cloud: Services, backend: str) -> None:
    signer = Watched()

    async def main() -> None:
        hanging = Hanging(signer)
        async with anyio.create_task_group() as others:
            with hanging:
                with anyio.move_on_after(0.05):
                    await single_flight.prepare(signer)  # it is this one that begins
                for _ in range(5):
                    others.start_soon(single_flight.prepare, signer)
                await anyio.sleep(0.05)

    run(backend, main)
    assert signer.ready()
    assert signer.times == 1


def test_loops_in_many_threads_wait_for_one(cloud: Services, backend: str) -> None:
    signer = Watched()
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            anyio.run(single_flight.prepare, signer, backend=backend)
        except BaseException as error:  # noqa: BLE001 - looked at below
            failures.append(error)

    with Hanging(signer):
        threads = [threading.Thread(target=loop) for _ in range(5)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(10)
    assert signer.ready()
    assert not failures
    assert signer.most == 1
    assert len(cloud.issued) == 1


def test_those_who_want_something_else_come_after(cloud: Services, backend: str) -> None:
    signer = Watched()
    signer.prepare()
    renewed: list[bool] = []

    async def renew(version: int) -> None:
        renewed.append(await single_flight.renew(signer, version))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            with Hanging(signer):
                for name in ("refresh_at", "stale_at", "expires"):
                    object.__setattr__(signer._held, name, 0.0)
                tasks.start_soon(single_flight.prepare, signer)
                await anyio.sleep(0.02)
                tasks.start_soon(renew, 0)  # replaced long ago
                tasks.start_soon(renew, 1)
                await anyio.sleep(0.02)
                assert renewed == [True]
                assert signer.inside == 1

    run(backend, main)
    assert renewed == [True] * 2
    assert signer.most == 1
    assert signer.times == 3
    assert len(cloud.issued) == 2


def test_a_failure_is_told_to_each_who_waits_in_an_error_of_its_own(
    cloud: Services, backend: str
) -> None:
    signer = quick(INSTANCE, Pace(shared=0.0))
    cloud.broken = 403
    failures: list[LocusError] = []

    async def ask() -> None:
        try:
            await single_flight.prepare(signer)
        except LocusError as error:
            failures.append(error)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)

    run(backend, main)
    assert len(set(map(id, failures))) == 20
    assert len({str(error) for error in failures}) == 1
    assert cloud.asked == ["x509"]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork")
def test_a_child_forked_while_tasks_wait_fetches_by_itself(cloud: Services, backend: str) -> None:
    cloud.delay = 0.5
    said = script(
        """
        import os, sys, threading, time, warnings
        import anyio
        import locus.models.providers.oci._signing as signing
        from locus.models.providers.oci.settings import auth_of
        from locus.transport import single_flight

        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        signer = signing.OCISigner(auth_of(auth_type="instance_principal"))

        def ask(who):
            anyio.run(single_flight.prepare, signer, backend=sys.argv[1])
            print(who, signer.ready(), signer.version, flush=True)

        thread = threading.Thread(target=ask, args=("parent",))
        thread.start()
        while not signer._fetching.locked():
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            ask("child")
            os._exit(0)
        thread.join()
        print("child ended with", os.waitpid(child, 0)[1], flush=True)
        """,
        backend,
        early="import oci.signer, httpx\n",
    )
    assert sorted(said.splitlines()) == ["child True 1", "child ended with 0", "parent True 1"]
