"""Credentials that expire: renewed in time, once, and without holding anybody up.

Tokens are issued by a loopback auth service, and expire while the tests run.
"""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from locus.core.errors import AuthenticationError, LocusError
from locus.models.providers.oci._signing import OCISigner, Pace, signer_for
from locus.models.providers.oci.settings import auth_of
from locus.testing.loopback_server import Received, Reply
from tests.support import runtimes
from tests.support.oci import profiles, signed_models
from tests.support.oci.cloud import CHAT, COMPARTMENT
from tests.support.oci.credential_services import Services
from tests.support.oci.signed_models import quick, signed_model
from tests.support.runtimes import TEXT, AtMost, Runtime, run, script

oci = pytest.importorskip("oci")

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
home, surroundings = profiles.home, signed_models.surroundings
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]

MANY = 200


INSTANCE = auth_of(auth_type="instance_principal")


def until(what: Any, seconds: float = 5.0) -> None:
    """Wait for ``what()``."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def hurry(signer: OCISigner, *, expired: bool = False) -> None:
    """As if time had gone by: the credentials are due, or have come to their end."""
    held = signer._held
    for name in ("refresh_at", "stale_at", "expires")[: 3 if expired else 1]:
        object.__setattr__(held, name, 0.0)


class AtLeast:
    """``with AtLeast(seconds):`` fails where the block takes less."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        assert kind is not None or time.monotonic() >= self._began + self._seconds


class Heartbeat:
    """How long an event loop was held up, at the worst."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def beat(self) -> None:
        while True:
            before = time.monotonic()
            await anyio.sleep(0.005)
            self.worst = max(self.worst, time.monotonic() - before)


def ask_many(runtime: str, model: Any, count: int = MANY) -> float:
    """So many requests at once; how long an event loop was held up meanwhile."""
    heart = Heartbeat()
    if runtime == "blocking":
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: model.complete_sync("hello").content, range(count)))
        model.close_sync()
        assert answers == [TEXT] * count
        return 0.0

    async def main() -> None:
        answers: list[str | None] = []

        async def ask() -> None:
            answers.append((await model.complete("hello")).content)

        async with anyio.create_task_group() as heartbeat:
            heartbeat.start_soon(heart.beat)
            async with anyio.create_task_group() as tasks:
                for _ in range(count):
                    tasks.start_soon(ask)
            heartbeat.cancel_scope.cancel()
        await model.aclose()
        assert answers == [TEXT] * count

    run(runtime, main)
    return heart.worst


EVERY = pytest.mark.parametrize("how", ["blocking", "asyncio", "trio"])


# -- across an expiry --------------------------------------------------------------------------


@EVERY
def test_many_requests_across_an_expiry_cause_one_refresh_and_no_failure(
    cloud: Services, how: str
) -> None:
    cloud.lives = [2.0, 3600.0]
    signer = quick(INSTANCE)
    signer.prepare()
    began = time.monotonic()
    model = signed_model(cloud, signer)
    first = cloud.issued[0]
    ask_many(how, model, 5)
    assert cloud.accepted == [f"ST${first}"] * 5
    until(lambda: time.monotonic() > began + 1.05)  # half its life is over
    cloud.delay = 0.3
    ask_many(how, model)
    until(lambda: signer.version == 2)
    until(lambda: time.monotonic() > began + 2.05)
    ask_many(how, model, 50)
    assert cloud.asked == ["x509"] * 2
    assert set(cloud.accepted[-50:]) == {f"ST${cloud.issued[1]}"}
    # Of a slow machine, some may have been overtaken by the end, and were sent once more.
    assert set(cloud.refused) <= {"the token has expired"}
    assert signer.last_refresh_error is None


@EVERY
def test_many_requests_after_an_expiry_wait_for_one_refresh(cloud: Services, how: str) -> None:
    signer = quick(INSTANCE)
    signer.prepare()
    hurry(signer, expired=True)
    cloud.delay = 0.3
    ask_many(how, signed_model(cloud, signer))
    assert cloud.asked == ["x509"] * 2
    assert len(cloud.accepted) == MANY
    assert not cloud.refused


@EVERY
def test_many_requests_refused_at_once_cause_one_refresh(cloud: Services, how: str) -> None:
    signer = quick(INSTANCE)
    signer.prepare()
    cloud.distrusted.add(cloud.issued[0])
    cloud.delay = 0.3
    ask_many(how, signed_model(cloud, signer))
    assert cloud.asked == ["x509"] * 2
    assert set(cloud.refused) == {"the token was revoked"}
    assert len(cloud.accepted) == MANY


@EVERY
def test_many_first_requests_wait_for_one_token(cloud: Services, how: str) -> None:
    cloud.delay = 0.3
    ask_many(how, signed_model(cloud, quick(INSTANCE)))
    assert cloud.asked == ["x509"]


def test_a_slow_auth_service_holds_up_no_event_loop(cloud: Services, backend: str) -> None:
    cloud.delay = 0.6
    signer = quick(INSTANCE)
    model = signed_model(cloud, signer)
    with AtLeast(0.6):
        assert ask_many(backend, model, 5) < 0.4  # waits for the first token
    hurry(signer)
    before = time.monotonic()
    assert ask_many(backend, model, 5) < 0.4  # does not wait for the second
    assert signer.version == 1 or time.monotonic() > before + 0.6
    until(lambda: signer.version == 2)
    hurry(signer, expired=True)
    with AtLeast(0.6):
        assert ask_many(backend, model, 5) < 0.4
    cloud.distrusted.update(cloud.issued)
    with AtLeast(0.6):
        assert ask_many(backend, model, 5) < 0.4  # refused
    assert cloud.asked == ["x509"] * 4


def test_two_loops_and_threads_share_one_signer(cloud: Services) -> None:
    signer = signer_for(INSTANCE)
    signer.prepare()
    hurry(signer, expired=True)
    cloud.delay = 0.3
    with ThreadPoolExecutor(3) as pool:
        hows = ("asyncio", "trio", "blocking")
        # A model for each: whoever is done closes it, and must not close the others' connections.
        jobs = [pool.submit(ask_many, how, signed_model(cloud, signer), 40) for how in hows]
        for done in jobs:
            done.result()
    assert cloud.asked == ["x509"] * 2
    assert len(cloud.accepted) == 120


# -- when refreshing fails ---------------------------------------------------------------------


def test_a_failed_refresh_keeps_the_old_token_is_logged_and_not_tried_at_once(
    cloud: Services, caplog: pytest.LogCaptureFixture
) -> None:
    signer = quick(INSTANCE, Pace(again=3.0))
    signer.prepare()
    hurry(signer)
    cloud.broken = 401
    model = signed_model(cloud, signer)
    with caplog.at_level(logging.WARNING, "locus.oci"):
        for _ in range(20):
            assert model.complete_sync("hello").content == TEXT
        until(lambda: signer.last_refresh_error is not None)
        for _ in range(20):
            assert model.complete_sync("hello").content == TEXT
        until(lambda: signer._thread is None)
    assert cloud.asked == ["x509"] * 2
    error = signer.last_refresh_error
    assert isinstance(error, AuthenticationError)
    assert "auth_type='instance_principal': 401: the auth service is out of order" in str(error)
    assert [record.name for record in caplog.records] == ["locus.oci"]
    assert "the old ones stay" in caplog.text
    assert cloud.issued[0] not in caplog.text
    cloud.broken = None
    signer._not_before = time.monotonic() + 0.1
    until(lambda: model.complete_sync("hello") and signer.version == 2)
    model.close_sync()
    assert signer.last_refresh_error is None
    assert not cloud.refused


@pytest.mark.parametrize("how", ["blocking", "asyncio", "trio"])
def test_many_requests_share_one_failure_when_there_is_no_token_at_all(
    cloud: Services, how: str
) -> None:
    signer = quick(INSTANCE, Pace(shared=5.0))
    cloud.broken = 403
    model = signed_model(cloud, signer)
    failures: list[BaseException] = []

    def ask(_: int) -> None:
        try:
            model.complete_sync("hello")
        except LocusError as error:
            failures.append(error)

    async def main() -> None:
        async def ask_async() -> None:
            try:
                await model.complete("hello")
            except LocusError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask_async)

    if how == "blocking":
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(50)))
        model.close_sync()
    else:
        run(how, main)
    assert len(failures) == len(set(map(id, failures))) == 50
    assert all("403: the auth service is out of order" in str(error) for error in failures)
    assert cloud.asked == ["x509"]


def test_a_refused_renewal_shows_the_refusal_and_is_not_tried_for_each_request(
    cloud: Services, runtime: Runtime
) -> None:
    signer = quick(INSTANCE, Pace(settled=0.0, again=60.0))
    signer.prepare()
    cloud.distrusted.add(cloud.issued[0])
    cloud.broken = 403
    model = signed_model(cloud, signer)
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="the token was revoked") as caught:
            runtime.ask(model, "hello")
    runtime.close(model)
    assert cloud.asked == ["x509"] * 2
    assert cloud.issued[0] not in str(caught.value)
    assert "out of order" in str(signer.last_refresh_error)


def test_new_credentials_that_are_refused_as_well_are_not_replaced_again_and_again(
    cloud: Services,
) -> None:
    signer = quick(INSTANCE, Pace(settled=60.0))
    signer.prepare()
    cloud.distrusted.add(cloud.issued[0])
    model = signed_model(cloud, signer)
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            model.complete_sync("hello")
    model.close_sync()
    assert cloud.asked == ["x509"]


def test_a_token_that_expired_with_the_auth_service_down_says_so(
    cloud: Services, runtime: Runtime
) -> None:
    signer = quick(INSTANCE, Pace())
    signer.prepare()
    hurry(signer, expired=True)
    cloud.broken = 400
    model = signed_model(cloud, signer)
    with pytest.raises(LocusError, match="instance_principal': 400: the auth service is out of"):
        runtime.ask(model, "hello")
    runtime.close(model)
    assert not cloud.accepted


def test_an_auth_service_that_recovers_is_asked_again_by_the_calls_own_retries(
    cloud: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = quick(INSTANCE, Pace(shared=0.0))
    down = Reply.json({"code": "TooManyRequests", "message": "try again"}, status=503)
    cloud.server.route("POST", "/v1/x509", down, down, down, cloud.federation)
    monkeypatch.setattr(oci.retry.retry.time, "sleep", lambda _: None)  # oci tries three times
    model = signed_model(cloud, signer, max_retries=2)
    with AtMost(10):
        assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert len(cloud.asked) == 1


# -- forks -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_in_the_middle_of_a_refresh_signs_and_renews_by_itself(
    cloud: Services,
) -> None:
    federation = cloud.federation

    def slowly(received: Received) -> Reply:
        cloud.delay = 1.0 if cloud.asked else 0.0
        return federation(received)

    cloud.server.route("POST", "/v1/x509", slowly)
    said = script(
        """
        import os, sys, time, warnings
        import locus.models.providers.oci._signing as signing
        from locus.models.providers.oci.settings import auth_of
        from locus.transport.http_call import HttpRequest
        import httpx

        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        signer = signing.OCISigner(auth_of(auth_type="instance_principal"))
        signer.prepare()

        def ask(who):
            if not signer.ready():
                signer.prepare()
            signed = signer.sign(HttpRequest(sys.argv[1], {"opc-compartment-id": sys.argv[2],
                "content-type": "application/json"}, b"{}"))
            with httpx.Client() as client:
                answer = client.post(signed.url, headers=signed.headers, content=signed.content)
            print(who, answer.status_code, signer.version, flush=True)

        def hurry(*names):  # as if time had gone by
            for name in names:
                object.__setattr__(signer._held, name, 0.0)

        hurry("refresh_at")
        assert signer.ready()  # and begins a refresh, which takes a while
        while not signer._fetching.locked():
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            ask("child")
            hurry("refresh_at", "stale_at", "expires")
            ask("child")
            os._exit(0)
        ask("parent")
        print("child ended with", os.waitpid(child, 0)[1], flush=True)
        """,
        f"{cloud.url}{CHAT}",
        COMPARTMENT,
        early="import oci.signer, httpx\n",
    )
    assert [line for line in said.splitlines() if line.startswith("child")] == [
        "child 200 1",
        "child 200 2",
        "child ended with 0",
    ]
    assert "parent 200" in said
