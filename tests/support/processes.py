"""Runs programs, and waits for them as long as they work.

A busy machine may give a program a few per cent of a processor: then the start of Python alone
takes half a minute. So no program has a time limit on the clock. It hangs if it uses no processor
any more, and then the test fails with its output, and with the places where its threads wait.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, AnyStr

import pytest

from tests.support.timing import HANG_SECONDS

PROJECT_ROOT = Path(__file__).parents[2]

MAX_PERIODS = 20
"""After so many periods of ``HANG_SECONDS`` a program that still works is in an endless loop."""


def run_process(
    command: Sequence[Any],
    *,
    input: AnyStr | None = None,
    env: Mapping[str, str] | None = None,
    text: bool = True,
) -> subprocess.CompletedProcess[Any]:
    """Run a program in the project's folder, and return its status and what it printed.

    :param text: whether the output is text, or bytes.
    """
    with subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=env,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=text,
    ) as process:
        out, err = wait_for_output(process, input)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def wait_for_output(
    process: subprocess.Popen[AnyStr], input: AnyStr | None = None
) -> tuple[AnyStr, AnyStr]:
    """Send ``input`` to a program, wait for its end, and return its output and errors.

    The test fails if the program hangs: it is killed, and with ``-X dev`` it prints first where its
    threads wait.
    """
    ticks: int | None = None
    for _ in range(MAX_PERIODS):
        try:
            return process.communicate(input, timeout=HANG_SECONDS)
        except subprocess.TimeoutExpired:
            input = None  # it has been taken, and may be passed once only
            before, ticks = ticks, count_cpu_ticks(process.pid)
            if ticks is not None and ticks - (before or 0) < 5:
                break
    process.send_signal(signal.SIGABRT)
    out, err = process.communicate()
    pytest.fail(f"{process.args!r} hangs. Its output is:\n{out!s}\n{err!s}")


def count_cpu_ticks(pid: int) -> int | None:
    """Return the CPU time of a process and its children, in 1/100 s; None where it is not known."""
    ticks = 0
    try:
        for process_id in _iter_process_tree(pid):
            fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime: see proc(5)
    except OSError:  # there is no /proc, or a child ended just now
        return None
    return ticks


def _iter_process_tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _iter_process_tree(int(child))
