"""Processes that are killed while they save: what was acknowledged is there, and whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runtimes import ROOT

KILLS = 300


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by SIGKILL, and forks")
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_every_acknowledged_checkpoint_outlives_a_kill(kind: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.memory.checkpointers.crash_saver",
        kind,
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, str(KILLS)], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    kills, saved = map(int, done.stdout.split())
    assert kills == KILLS
    assert saved > KILLS / 3  # else they were killed before there was anything to lose
