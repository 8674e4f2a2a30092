"""What every test shares: the profiles of hypothesis, the runtimes, and a loopback server."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings

from locus.testing.loopback_server import LoopbackServer
from tests.support.environment import remove_provider_variables
from tests.support.runtimes import (
    ASYNC_BACKENDS,
    RUNTIME_NAMES,
    AsyncRuntime,
    BlockingRuntime,
    Runtime,
)

settings.register_profile(
    "ci", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=5)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=RUNTIME_NAMES)
def runtime_name(request: pytest.FixtureRequest) -> str:
    """Each of the three runtimes, in turn: ``"blocking"``, ``"asyncio"``, ``"trio"``."""
    return str(request.param)


@pytest.fixture
def runtime(runtime_name: str) -> Iterator[Runtime]:
    """Each of the three ways of calling models, in turn."""
    if runtime_name == "blocking":
        yield BlockingRuntime()
        return
    with start_blocking_portal(runtime_name) as portal:
        yield AsyncRuntime(runtime_name, portal)


@pytest.fixture(params=ASYNC_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the two event loops, in turn: the ``backend`` of ``anyio.run``."""
    return str(request.param)


@pytest.fixture(params=ASYNC_BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each of the two event loops, in turn, for async tests."""
    return str(request.param)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without the variables that configure providers and proxies."""
    remove_provider_variables(monkeypatch)
    return monkeypatch


@pytest.fixture
def server(clean_environment: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A loopback server that has no replies yet, in an environment without proxies."""
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Collect what the test has dropped before it ends: warnings of finalizers are the test's."""
    gc.freeze()  # so that the collections below examine only the test's own objects
    yield
    for _ in range(3):  # what a finalizer releases is collected in the next round
        gc.collect()
    gc.unfreeze()
