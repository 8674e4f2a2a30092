"""A live subject: one process, driven line by line over its standard input and output.

``python -P worker.py SUBJECT.py RUNTIME FORMAT`` loads the subject by path, so that nothing of this
folder or of the project is on its ``sys.path``. Each input line is a JSON object:
``{"case": "whole" | "stream" | "crowd", "url": ..., "n": N}`` runs the case N times, a crowd of
streams all at once (asyncio only), and answers with the CPU and wall seconds that took, all threads
of this process and nothing else, the most memory it ever had, in MB, and the last result, which
the parent checks. The first command for a URL also makes the client.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from types import ModuleType
from typing import Any

_resolve = socket.getaddrinfo


def _loopback_only(host: Any, *args: Any, **kwargs: Any) -> Any:
    """Some subjects fetch price lists and the like: a benchmark leaves the machine alone."""
    if host not in ("127.0.0.1", b"127.0.0.1", "localhost", None):
        raise OSError(f"the benchmark allows no connection to {host}")
    return _resolve(host, *args, **kwargs)


def _load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_subject", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Commands:
    """The commands from the parent, and the answers to it."""

    def __init__(self, make: Callable[[str, str], tuple[Any, Any]], wire: str) -> None:
        self._make = make
        self._wire = wire
        self._calls: dict[str, dict[str, Any]] = {}
        # Some subjects print. The answers get a descriptor of their own.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def __iter__(self) -> Commands:
        return self

    def __next__(self) -> tuple[Callable[[], Any], int]:
        line = sys.stdin.readline()
        if not line:
            raise StopIteration
        command = json.loads(line)
        url, case, n = command["url"], command["case"], command["n"]
        if url not in self._calls:
            whole, stream = self._make(url, self._wire)
            self._calls[url] = {"whole": whole, "stream": stream}
        gc.collect()
        if case == "crowd":
            return partial(crowd, self._calls[url]["stream"], n), 1
        return self._calls[url][case], n

    def answer(self, cpu: float, wall: float, result: Any) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = {"cpu": cpu, "wall": wall, "peak": peak, "result": result}
        print(json.dumps(answer), file=self._answers, flush=True)


async def crowd(stream: Callable[[], Awaitable[int]], n: int) -> int:
    """``n`` streams at once. They all have the same length, which is the result."""
    (length,) = set(await asyncio.gather(*(stream() for _ in range(n))))
    return length


def run_blocking(commands: Commands) -> None:
    for call, n in commands:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(n):
            result = call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        commands.answer(cpu, wall, result)


async def run_nonblocking(commands: Commands) -> None:
    call: Callable[[], Awaitable[Any]]
    for call, n in commands:  # blocks the event loop: between two measurements it has no work
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(n):
            result = await call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        commands.answer(cpu, wall, result)


def main(subject_path: str, runtime: str, wire: str) -> None:
    socket.getaddrinfo = _loopback_only
    subject = _load(subject_path)
    if runtime == "blocking":
        run_blocking(Commands(subject.blocking, wire))
        return
    commands = Commands(subject.nonblocking, wire)
    if runtime == "asyncio":
        asyncio.run(run_nonblocking(commands))
    else:
        import trio

        trio.run(run_nonblocking, commands)


if __name__ == "__main__":
    main(*sys.argv[1:])
