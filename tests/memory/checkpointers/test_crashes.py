"""Processes that are killed while they save: every acknowledged checkpoint can be loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.subprocess_scripts import PROJECT_ROOT

KILLS = 300


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by SIGKILL, and forks")
@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_every_acknowledged_checkpoint_survives_a_kill(backend: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.memory.checkpointers.crash_saver",
        backend,
        str(tmp_path),
    ]
    completed = subprocess.run(
        [*command, str(KILLS)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    kills, saved = map(int, completed.stdout.split())
    assert kills == KILLS
    assert saved > KILLS / 3  # otherwise they were killed too early
