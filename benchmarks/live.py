"""Starts the processes that stay for many measurements: the workers and the loopback server."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from . import canned
from .rounds import MeasurementFailed, Sample

FOLDER = Path(__file__).parent


class Worker:
    """A subject's process. Its results are checked, so that no subject can skip the work."""

    def __init__(self, process: subprocess.Popen[str], stderr: IO[str]) -> None:
        self._process = process
        self._stderr = stderr

    def measure(self, case: str, url: str, n: int, expected: Any) -> Sample:
        """Measure the average of ``n`` calls, one after the other, or for ``crowd`` all at once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"case": case, "url": url, "n": n}), file=self._process.stdin)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise MeasurementFailed(self._read_last_error())
        reply = json.loads(line)
        if reply["result"] != expected:
            raise MeasurementFailed(f"wrong answer: {reply['result']!r:.60}")
        return Sample(reply["cpu"] / n, reply["wall"] / n, reply["peak"])

    def _read_last_error(self) -> str:
        self._process.wait()
        self._stderr.seek(0)
        return (self._stderr.read().strip().splitlines() or ["ended without a message"])[-1]


@contextmanager
def start_worker(
    python: Path, subject: Path, runtime: str, wire: str, variables: Mapping[str, str]
) -> Iterator[Worker]:
    """Start a worker; it is killed at the end of the ``with`` block."""
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            [str(python), "-P", str(FOLDER / "worker.py"), str(subject), runtime, wire],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(variables),
            cwd=tempfile.gettempdir(),
            text=True,
        ) as process,
    ):
        try:
            yield Worker(process, stderr)
        finally:
            process.kill()


def count_calls(seconds: float, worker: Worker, case: str, url: str, expected: Any) -> int:
    """Return how many calls the worker makes in ``seconds``, at least one. Also warms it up."""
    worker.measure(case, url, 2, expected)
    return max(1, round(seconds / worker.measure(case, url, 2, expected).wall))


def measure_crowd(start: Callable[[], AbstractContextManager[Worker]], url: str, n: int) -> Sample:
    """Measure ``n`` streams that a new process reads at the same time, and its memory."""
    with start() as worker:
        worker.measure("whole", url, 1, canned.WHOLE_TEXT)
        return worker.measure("crowd", url, n, canned.count_characters(canned.CHUNKS_ALONE))


def measure_lone_chunks(
    start: Callable[[], AbstractContextManager[Worker]], urls: tuple[str, str], n: int
) -> Sample:
    """Measure the chunks of ``n`` streams that a process reads at once, each arriving alone.

    Returns the times of a chunk, and the memory of all streams in MB.

    :param urls: those of a shorter and of a longer stream; what they have in common is subtracted.
    """
    few, many = canned.get_lone_chunks(n)
    with start() as worker:
        idle = worker.measure("whole", urls[0], 1, canned.WHOLE_TEXT)
        samples = [
            worker.measure("crowd", url, n, canned.count_characters(count))
            for url, count in ((urls[0], few), (urls[0], few), (urls[1], many))
        ]
    shorter, longer = samples[1:]
    cpu, wall = longer.cpu - shorter.cpu, longer.wall - shorter.wall
    if cpu <= 0:
        raise MeasurementFailed("the machine is too busy for a measurement")
    memory = max(longer.peak - idle.peak, 1e-3)
    return Sample(cpu / (many - few), wall / (many - few), memory)


@contextmanager
def start_server(python: str) -> Iterator[str]:
    """Start the server; gives its URL, ``http://127.0.0.1:port``, for the ``with`` block."""
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [python, str(FOLDER / "server.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stack.callback(process.stdin.close)  # the server ends when its standard input does
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
