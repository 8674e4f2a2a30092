"""Live workers and the loopback server: the processes that stay for many measurements."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from . import canned
from .rounds import Failure, Sample

HERE = Path(__file__).parent


class Worker:
    """A subject's process. Its answers are checked, so that nobody is fast by doing nothing."""

    def __init__(self, process: subprocess.Popen[str], stderr: IO[str]) -> None:
        self._process = process
        self._stderr = stderr

    def measure(self, case: str, url: str, n: int, expected: Any) -> Sample:
        """One of ``n`` calls, made one after the other, or for ``crowd`` all at once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"case": case, "url": url, "n": n}), file=self._process.stdin)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failure(self._last_words())
        answer = json.loads(line)
        if answer["result"] != expected:
            raise Failure(f"wrong answer: {answer['result']!r:.60}")
        return Sample(answer["cpu"] / n, answer["wall"] / n, answer["peak"])

    def _last_words(self) -> str:
        self._process.wait()
        self._stderr.seek(0)
        return (self._stderr.read().strip().splitlines() or ["died without a word"])[-1]


@contextmanager
def worker(
    python: Path, subject: Path, runtime: str, wire: str, variables: Mapping[str, str]
) -> Iterator[Worker]:
    """A worker for as long as the context lasts."""
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            [str(python), "-P", str(HERE / "worker.py"), str(subject), runtime, wire],
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


def calls_in(seconds: float, worker: Worker, case: str, url: str, expected: Any) -> int:
    """How many calls the worker makes in that time, one at the least. Warms it up, too."""
    worker.measure(case, url, 2, expected)
    return max(1, round(seconds / worker.measure(case, url, 2, expected).wall))


def crowd(start: Callable[[], AbstractContextManager[Worker]], url: str, n: int) -> Sample:
    """One of ``n`` streams that a fresh process reads all at once, and that process's memory."""
    with start() as worker:
        worker.measure("whole", url, 1, canned.WHOLE_TEXT)
        return worker.measure("crowd", url, n, canned.stream_length(canned.CHUNKS_ALONE))


@contextmanager
def loopback_server(python: str) -> Iterator[str]:
    """The server's address, ``http://127.0.0.1:port``, for as long as the context lasts."""
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [python, str(HERE / "server.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stack.callback(process.stdin.close)  # which ends it
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
