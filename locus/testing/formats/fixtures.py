"""The fixtures of the suites: the runtimes, a loopback server, and what makes tests independent."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal

from locus.testing.formats.runtimes import (
    RUNTIME_NAMES,
    AsyncRuntime,
    BlockingRuntime,
    Runtime,
)
from locus.testing.server import LoopbackServer

__all__ = ["formats_environment", "no_leaks", "runtime", "runtime_name", "server"]


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


@pytest.fixture
def formats_environment(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> pytest.MonkeyPatch:
    """An environment that says nothing about the providers of the module's records, nor of proxies.

    The home directory is one of this test run, where a format's models may keep what they need.
    """
    formats = getattr(request.module, "FORMATS", ())
    prefixes = tuple(name for wire in formats for name in wire.environment_prefixes)
    for name in list(os.environ):
        if name.startswith(prefixes) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    return monkeypatch


@pytest.fixture
def server(formats_environment: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A loopback server that has no replies yet, in an environment without proxies."""
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Collect what the test has dropped before it ends: warnings of finalizers are the test's."""
    was_frozen = gc.get_freeze_count() > 0
    gc.freeze()  # so that the collections below examine only the test's own objects
    yield
    for _ in range(3):  # what a finalizer releases is collected in the next round
        gc.collect()
    if not was_frozen:
        gc.unfreeze()
