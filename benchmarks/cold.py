"""Cold starts: new processes, from nothing to a first answer, and what an import costs.

What a command-line tool or a serverless function pays at each start. (The first run of each may
write byte code and fill the disk cache; it is the round that is dropped.)
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from .rounds import Failure, Sample

_TIMED_IMPORT = """
import time
cpu, wall = time.process_time(), time.perf_counter()
{statement}
print("times", time.process_time() - cpu, time.perf_counter() - wall, flush=True)
"""
_TIMED_PROGRAM = """
{program}
import time
print("times", time.process_time(), 0, flush=True)
"""


def first_answer(python: Path, program: str, variables: Mapping[str, str], expected: str) -> Sample:
    """The times from the start of the process until it has printed the answer."""
    started = time.perf_counter()
    output, cpu, _, finished = _run(python, _TIMED_PROGRAM.format(program=program), variables)
    if output.rstrip("\n") != expected.rstrip("\n"):
        raise Failure(f"wrong answer: {output!r:.60}")
    return Sample(cpu, finished - started)


def import_cost(python: Path, statement: str, variables: Mapping[str, str]) -> Sample:
    """The times of an import statement in a process that has imported nothing else."""
    _, cpu, wall, _ = _run(python, _TIMED_IMPORT.format(statement=statement), variables)
    return Sample(cpu, wall)


def timed(python: Path, program: str, variables: Mapping[str, str]) -> Sample:
    """The times that the program itself prints, as ``times CPU WALL``."""
    _, cpu, wall, _ = _run(python, program, variables)
    return Sample(cpu, wall)


def _run(
    python: Path, program: str, variables: Mapping[str, str]
) -> tuple[str, float, float, float]:
    """What the program printed before its times, its times, and when it printed them."""
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
        raise Failure((stderr.read().strip().splitlines() or ["no output"])[-1])
