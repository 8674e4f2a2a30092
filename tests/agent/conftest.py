"""How long the agent waits: no test of it depends on how busy the machine is."""

from __future__ import annotations

import pytest

from locus.agent import (
    async_driver,
    async_tool_runner,
    blocking_portal,
    blocking_tool_runner,
    choose_background_loop,
)
from tests.support.timing import HANG_SECONDS

GRACE = (blocking_portal, async_driver, async_tool_runner, blocking_tool_runner)


@pytest.fixture(autouse=True)
def grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cancelled run waits for has as long as it needs to end, and so has the shared loop."""
    for module in GRACE:
        monkeypatch.setattr(module, "GRACE_SECONDS", HANG_SECONDS)
    for name in ("_RESPONSE_SECONDS", "_HOME_SECONDS"):
        monkeypatch.setattr(choose_background_loop, name, HANG_SECONDS)


@pytest.fixture
def no_grace(grace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what does not end: it is given up at once."""
    for module in GRACE:
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)
    for name in ("_RESPONSE_SECONDS", "_HOME_SECONDS"):
        monkeypatch.setattr(choose_background_loop, name, 0.05)
