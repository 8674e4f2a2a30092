"""Expiring credentials: refreshed in time, once, and without delaying the requests.

A loopback auth service issues the tokens, which expire while the tests run.
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
from locus.models.providers.oci._refresh_policy import RefreshPolicy
from locus.models.providers.oci._refreshing_signer import OCISigner
from locus.models.providers.oci._signer_cache import get_signer
from locus.models.providers.oci.authentication import resolve_auth
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import Received, Reply
from tests.support.chat_replies import TEXT
from tests.support.effort import THOROUGH
from tests.support.oci import profiles, signed_models
from tests.support.oci.cloud import CHAT_PATH, COMPARTMENT
from tests.support.oci.credential_services import CredentialServices
from tests.support.oci.signed_models import make_signed_model, make_signer
from tests.support.subprocess_scripts import run_script
from tests.support.timing import FOREVER, HangGuard, wait_until

oci = pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]

REQUEST_COUNT = 200 if THOROUGH else 50
"""More than anyio's worker threads."""


INSTANCE_AUTH = resolve_auth(auth_type="instance_principal")


def expire_credentials(signer: OCISigner, *, expired: bool = False) -> None:
    """As if time had passed: the credentials are due for a refresh, or have expired."""
    cached = signer._cached
    for name in ("refresh_at", "stale_at", "expires_at")[: 3 if expired else 1]:
        object.__setattr__(cached, name, 0.0)


class Clock:
    """What ``time.time`` returns: the time, plus ``offset`` seconds."""

    def __init__(self) -> None:
        self._time, self.offset = time.time, 0.0

    def __call__(self) -> float:
        return self._time() + self.offset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def send_requests(
    runtime_name: str,
    model: Any,
    count: int = REQUEST_COUNT,
    closed_cloud: CredentialServices | None = None,
) -> None:
    """Send ``count`` requests at the same time.

    :param closed_cloud: a cloud whose auth service they wait for. It is opened after it was asked
        for a token, by the event loop that the requests run in: nothing may block the loop.
    """
    if runtime_name == "blocking":
        with ThreadPoolExecutor(32) as pool:
            jobs = [pool.submit(model.complete_sync, "hello") for _ in range(count)]
            if closed_cloud:
                wait_until(lambda: closed_cloud.waiting_count, "a request for a token")
                closed_cloud.is_open.set()
            blocking_texts = [job.result().content for job in jobs]
        model.close_sync()
        assert blocking_texts == [TEXT] * count
        return

    async def main() -> None:
        texts: list[str | None] = []

        async def send_request() -> None:
            texts.append((await model.complete("hello")).content)

        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(send_request)
            if closed_cloud:
                await anyio.to_thread.run_sync(wait_until, lambda: closed_cloud.waiting_count)
                for _ in range(20):
                    await anyio.sleep(0.001)
                closed_cloud.is_open.set()
        await model.aclose()
        assert texts == [TEXT] * count

    run_async(runtime_name, main)


every_runtime = pytest.mark.parametrize("runtime_name", ["blocking", "asyncio", "trio"])


# -- across an expiry --------------------------------------------------------------------------


@every_runtime
def test_many_requests_across_an_expiry_cause_one_refresh_and_no_failure(
    cloud: CredentialServices, clock: Clock, runtime_name: str
) -> None:
    cloud.token_lifetimes = [100.0, 3600.0]
    signer = make_signer(INSTANCE_AUTH)
    signer.ensure_ready()
    model = make_signed_model(cloud, signer)
    first = cloud.issued_tokens[0]
    send_requests(runtime_name, model, 5)
    assert cloud.accepted_key_ids == [f"ST${first}"] * 5
    clock.offset = 60.0  # half of its lifetime has passed
    cloud.is_open.clear()
    send_requests(runtime_name, model)  # they do not wait for the refresh
    cloud.is_open.set()
    wait_until(lambda: signer.credentials_version == 2)
    clock.offset = 120.0
    send_requests(runtime_name, model, 50)
    assert cloud.token_requests == ["x509"] * 2
    assert set(cloud.accepted_key_ids[-50:]) == {f"ST${cloud.issued_tokens[1]}"}
    assert not cloud.rejection_reasons
    assert signer.last_refresh_error is None


@every_runtime
def test_many_requests_after_an_expiry_wait_for_one_refresh(
    cloud: CredentialServices, runtime_name: str
) -> None:
    signer = make_signer(INSTANCE_AUTH)
    signer.ensure_ready()
    expire_credentials(signer, expired=True)
    cloud.is_open.clear()
    send_requests(runtime_name, make_signed_model(cloud, signer), closed_cloud=cloud)
    assert cloud.token_requests == ["x509"] * 2
    assert len(cloud.accepted_key_ids) == REQUEST_COUNT
    assert not cloud.rejection_reasons


@every_runtime
def test_many_requests_rejected_at_once_cause_one_refresh(
    cloud: CredentialServices, runtime_name: str
) -> None:
    signer = make_signer(INSTANCE_AUTH)
    signer.ensure_ready()
    cloud.revoked_tokens.add(cloud.issued_tokens[0])
    cloud.is_open.clear()
    send_requests(runtime_name, make_signed_model(cloud, signer), closed_cloud=cloud)
    assert cloud.token_requests == ["x509"] * 2
    assert set(cloud.rejection_reasons) == {"the token was revoked"}
    assert len(cloud.accepted_key_ids) == REQUEST_COUNT


@every_runtime
def test_many_first_requests_wait_for_one_token(
    cloud: CredentialServices, runtime_name: str
) -> None:
    cloud.is_open.clear()
    model = make_signed_model(cloud, make_signer(INSTANCE_AUTH))
    send_requests(runtime_name, model, closed_cloud=cloud)
    assert cloud.token_requests == ["x509"]


def test_a_slow_auth_service_does_not_block_the_event_loop(
    cloud: CredentialServices, backend: str
) -> None:
    signer = make_signer(INSTANCE_AUTH)
    model = make_signed_model(cloud, signer)
    cloud.is_open.clear()
    send_requests(backend, model, 5, closed_cloud=cloud)  # waits for the first token
    expire_credentials(signer)
    cloud.is_open.clear()
    send_requests(backend, model, 5)  # does not wait for the second
    assert signer.credentials_version == 1
    cloud.is_open.set()
    wait_until(lambda: signer.credentials_version == 2)
    expire_credentials(signer, expired=True)
    cloud.is_open.clear()
    send_requests(backend, model, 5, closed_cloud=cloud)
    cloud.revoked_tokens.update(cloud.issued_tokens)
    cloud.is_open.clear()
    send_requests(backend, model, 5, closed_cloud=cloud)  # refused
    assert cloud.token_requests == ["x509"] * 4


def test_two_loops_and_threads_share_one_signer(cloud: CredentialServices) -> None:
    signer = get_signer(INSTANCE_AUTH)
    signer.ensure_ready()
    expire_credentials(signer, expired=True)
    cloud.is_open.clear()
    with ThreadPoolExecutor(3) as pool:
        runtime_names = ("asyncio", "trio", "blocking")
        # One model for each: each run closes its model, but not the connections of the others.
        jobs = [
            pool.submit(send_requests, runtime_name, make_signed_model(cloud, signer), 40)
            for runtime_name in runtime_names
        ]
        wait_until(lambda: cloud.waiting_count)
        cloud.is_open.set()
        for job in jobs:
            job.result()
    assert cloud.token_requests == ["x509"] * 2
    assert len(cloud.accepted_key_ids) == 120


# -- when refreshing fails ---------------------------------------------------------------------


def test_a_failed_refresh_keeps_the_old_token_is_logged_and_retried_later(
    cloud: CredentialServices, caplog: pytest.LogCaptureFixture
) -> None:
    signer = make_signer(INSTANCE_AUTH, RefreshPolicy(retry_delay=2 * FOREVER))
    signer.ensure_ready()
    expire_credentials(signer)
    cloud.failure_status = 401
    model = make_signed_model(cloud, signer)
    with caplog.at_level(logging.WARNING, "locus.oci"):
        for _ in range(20):
            assert model.complete_sync("hello").content == TEXT
        wait_until(lambda: signer.last_refresh_error is not None)
        for _ in range(20):
            assert model.complete_sync("hello").content == TEXT
        wait_until(lambda: signer._refresh_thread is None)
    assert cloud.token_requests == ["x509"] * 2
    error = signer.last_refresh_error
    assert isinstance(error, AuthenticationError)
    assert "auth_type='instance_principal': 401: the auth service is out of order" in str(error)
    assert [record.name for record in caplog.records] == ["locus.oci"]
    assert "the old ones stay" in caplog.text
    assert cloud.issued_tokens[0] not in caplog.text
    cloud.failure_status = None
    signer._next_refresh_at = time.monotonic() + 0.1
    wait_until(lambda: model.complete_sync("hello") and signer.credentials_version == 2)
    model.close_sync()
    assert signer.last_refresh_error is None
    assert not cloud.rejection_reasons


@pytest.mark.parametrize("runtime_name", ["blocking", "asyncio", "trio"])
def test_many_requests_share_one_failure_when_there_is_no_token(
    cloud: CredentialServices, runtime_name: str
) -> None:
    signer = make_signer(INSTANCE_AUTH, RefreshPolicy(failure_cache_seconds=FOREVER))
    cloud.failure_status = 403
    model = make_signed_model(cloud, signer)
    failures: list[BaseException] = []

    def send_blocking(_: int) -> None:
        try:
            model.complete_sync("hello")
        except LocusError as exc:
            failures.append(exc)

    async def main() -> None:
        async def send_async() -> None:
            try:
                await model.complete("hello")
            except LocusError as exc:
                failures.append(exc)

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(send_async)

    if runtime_name == "blocking":
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(send_blocking, range(50)))
        model.close_sync()
    else:
        run_async(runtime_name, main)
    assert len(failures) == len(set(map(id, failures))) == 50
    assert all("403: the auth service is out of order" in str(exc) for exc in failures)
    assert cloud.token_requests == ["x509"]


def test_a_failed_refresh_after_a_401_is_not_repeated_for_each_request(
    cloud: CredentialServices, runtime: Runtime
) -> None:
    signer = make_signer(INSTANCE_AUTH, RefreshPolicy(min_renewal_age=0.0, retry_delay=2 * FOREVER))
    signer.ensure_ready()
    cloud.revoked_tokens.add(cloud.issued_tokens[0])
    cloud.failure_status = 403
    model = make_signed_model(cloud, signer)
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="the token was revoked") as exc_info:
            runtime.complete(model, "hello")
    runtime.close(model)
    assert cloud.token_requests == ["x509"] * 2
    assert cloud.issued_tokens[0] not in str(exc_info.value)
    assert "out of order" in str(signer.last_refresh_error)


def test_new_credentials_that_are_rejected_too_are_not_replaced_repeatedly(
    cloud: CredentialServices,
) -> None:
    signer = make_signer(INSTANCE_AUTH, RefreshPolicy(min_renewal_age=FOREVER))
    signer.ensure_ready()
    cloud.revoked_tokens.add(cloud.issued_tokens[0])
    model = make_signed_model(cloud, signer)
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            model.complete_sync("hello")
    model.close_sync()
    assert cloud.token_requests == ["x509"]


def test_an_expired_token_and_a_failing_auth_service_give_an_error(
    cloud: CredentialServices, runtime: Runtime
) -> None:
    signer = make_signer(INSTANCE_AUTH, RefreshPolicy())
    signer.ensure_ready()
    expire_credentials(signer, expired=True)
    cloud.failure_status = 400
    model = make_signed_model(cloud, signer)
    with pytest.raises(LocusError, match="instance_principal': 400: the auth service is out of"):
        runtime.complete(model, "hello")
    runtime.close(model)
    assert not cloud.accepted_key_ids


def test_the_retries_of_a_call_also_retry_the_auth_service(
    cloud: CredentialServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = make_signer(INSTANCE_AUTH, RefreshPolicy(failure_cache_seconds=0.0))
    down = Reply.json({"code": "TooManyRequests", "message": "try again"}, status=503)
    cloud.server.route("POST", "/v1/x509", down, down, down, cloud.reply_to_federation)
    monkeypatch.setattr(oci.retry.retry.time, "sleep", lambda _: None)  # oci tries three times
    model = make_signed_model(cloud, signer, max_retries=2)
    with HangGuard():
        assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert len(cloud.token_requests) == 1


# -- forks -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_during_a_refresh_signs_and_refreshes_by_itself(
    cloud: CredentialServices,
) -> None:
    def close_service(_: Received) -> Reply:
        cloud.is_open.clear()
        return Reply.json({})

    def open_service(_: Received) -> Reply:
        cloud.is_open.set()
        return Reply.json({})

    cloud.server.route("GET", "/close", close_service)
    cloud.server.route("GET", "/open", open_service)
    output = run_script(
        """
        import os, sys, time, warnings
        from locus.models.providers.oci._refreshing_signer import OCISigner
        from locus.models.providers.oci.authentication import resolve_auth
        from locus.transport.prepared_http_call import HttpRequest
        import httpx

        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        signer = OCISigner(resolve_auth(auth_type="instance_principal"))
        signer.ensure_ready()
        httpx.get(sys.argv[3] + "/close")

        def send_request(process):
            if not signer.is_ready():
                signer.ensure_ready()
            signed = signer.make_signed_copy(HttpRequest(sys.argv[1], {
                "opc-compartment-id": sys.argv[2],
                "content-type": "application/json"}, b"{}"))
            with httpx.Client() as client:
                response = client.post(signed.url, headers=signed.headers, content=signed.content)
            line = f"{process} {response.status_code} {signer.credentials_version}\\n"
            os.write(1, line.encode())

        def expire(*names):  # as if time had passed
            for name in names:
                object.__setattr__(signer._cached, name, 0.0)

        expire("refresh_at")
        assert signer.is_ready()  # and starts a refresh, which takes a while
        while not signer._fetch_lock.locked():
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            send_request("child")
            expire("refresh_at", "stale_at", "expires_at")
            httpx.get(sys.argv[3] + "/open")
            send_request("child")
            os._exit(0)
        send_request("parent")
        print("child ended with", os.waitpid(child, 0)[1], flush=True)
        """,
        f"{cloud.url}{CHAT_PATH}",
        COMPARTMENT,
        cloud.url,
        prelude="import oci.signer, httpx\n",
    )
    assert [line for line in output.splitlines() if line.startswith("child")] == [
        "child 200 1",
        "child 200 2",
        "child ended with 0",
    ]
    assert "parent 200" in output
