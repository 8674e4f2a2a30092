"""Processes that are killed while they save: every acknowledged checkpoint can be loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.processes import run_process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by SIGKILL, and forks")
@pytest.mark.parametrize("kills", [20, pytest.param(600, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_every_acknowledged_checkpoint_survives_a_kill(
    backend: str, kills: int, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.memory.checkpointers.crash_saver",
        backend,
        str(tmp_path),
    ]
    completed = run_process([*command, str(kills)])
    assert (completed.returncode, completed.stderr) == (0, "")
    killed, saved = map(int, completed.stdout.split())
    assert killed == kills
    assert saved > kills / 2  # two of three are killed after a save
