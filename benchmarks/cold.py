"""Measures cold starts: new processes until their first response, and imports.

A command-line tool or a serverless function needs this time at each start. (The first run of each
may write byte code and fill the disk cache; that round is discarded.)
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from .rounds import MeasurementFailed, Sample

_IMPORT_TEMPLATE = """
import time
cpu, wall = time.process_time(), time.perf_counter()
{statement}
print("times", time.process_time() - cpu, time.perf_counter() - wall, flush=True)
"""
_PROGRAM_TEMPLATE = """
{program}
import time
print("times", time.process_time(), 0, flush=True)
"""


def measure_first_response(
    python: Path, program: str, variables: Mapping[str, str], expected: str
) -> Sample:
    """Measure the time from the start of the process until it has printed the response."""
    start = time.perf_counter()
    output, cpu, _, finished = _run(python, _PROGRAM_TEMPLATE.format(program=program), variables)
    if output.rstrip("\n") != expected.rstrip("\n"):
        raise MeasurementFailed(f"wrong answer: {output!r:.60}")
    return Sample(cpu, finished - start)


def measure_import(python: Path, statement: str, variables: Mapping[str, str]) -> Sample:
    """Measure an import statement in a process that has imported nothing else."""
    _, cpu, wall, _ = _run(python, _IMPORT_TEMPLATE.format(statement=statement), variables)
    return Sample(cpu, wall)


def measure_program(python: Path, program: str, variables: Mapping[str, str]) -> Sample:
    """Return the times that the program itself prints, as ``times CPU WALL``."""
    _, cpu, wall, _ = _run(python, program, variables)
    return Sample(cpu, wall)


def _run(
    python: Path, program: str, variables: Mapping[str, str]
) -> tuple[str, float, float, float]:
    """The program's output before its times, its times, and when it printed them."""
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            [str(python), "-P", "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(variables),
            cwd=tempfile.gettempdir(),
            text=True,
        )
        assert process.stdout is not None
        output = ""
        with process:
            for line in process.stdout:
                finished = time.perf_counter()
                if line.startswith("times "):
                    _, cpu, wall = line.split()
                    return output, float(cpu), float(wall), finished
                output += line
        stderr.seek(0)
        raise MeasurementFailed((stderr.read().strip().splitlines() or ["no output"])[-1])
