"""Runs one subject in a process that gets its commands on standard input, one in each line.

``python -P worker.py SUBJECT.py RUNTIME FORMAT`` loads the subject by path, so that nothing from
this folder or the project is on its ``sys.path``. Each input line is a JSON object:
``{"case": "whole" | "stream" | "crowd", "url": ..., "n": N}`` runs the case N times, or a crowd
of N streams at the same time: in tasks, or blocking in threads. The output line has the CPU and
wall-clock seconds of all threads of this process, its peak memory in MB, and the last result, which
the parent checks. The first command for a URL also creates the client.
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
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType
from typing import Any

_getaddrinfo = socket.getaddrinfo


def _resolve_loopback(host: Any, *args: Any, **kwargs: Any) -> Any:
    """Allow connections to this machine only: some subjects fetch price lists and similar."""
    if host not in ("127.0.0.1", b"127.0.0.1", "localhost", None):
        raise OSError(f"the benchmark allows no connection to {host}")
    return _getaddrinfo(host, *args, **kwargs)


def _load_subject(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_subject", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Commands:
    """Reads the commands of the parent process, and sends it the results."""

    def __init__(
        self,
        make_calls: Callable[[str, str], tuple[Any, Any]],
        wire: str,
        run_crowd: Callable[[Callable[[], Any], int], Any],
    ) -> None:
        self._make_calls = make_calls
        self._run_crowd = run_crowd
        self._wire = wire
        self._calls: dict[str, dict[str, Any]] = {}
        # Some subjects print. The results get a file descriptor of their own.
        self._output = os.fdopen(os.dup(1), "w")
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
            complete, stream = self._make_calls(url, self._wire)
            self._calls[url] = {"whole": complete, "stream": stream}
        gc.collect()
        if case == "crowd":
            return partial(self._run_crowd, self._calls[url]["stream"], n), 1
        return self._calls[url][case], n

    def send_result(self, cpu: float, wall: float, result: Any) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        reply = {"cpu": cpu, "wall": wall, "peak": peak, "result": result}
        print(json.dumps(reply), file=self._output, flush=True)


async def run_tasks(stream: Callable[[], Awaitable[int]], n: int) -> int:
    """Read ``n`` streams at the same time. All have the same length, which is the result."""
    (length,) = set(await asyncio.gather(*(stream() for _ in range(n))))
    return length


async def run_trio_tasks(stream: Callable[[], Awaitable[int]], n: int) -> int:
    """Read ``n`` streams at the same time, under trio."""
    import trio

    lengths: list[int] = []

    async def read() -> None:
        lengths.append(await stream())

    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(read)
    (length,) = set(lengths)
    return length


def run_threads(stream: Callable[[], int], n: int) -> int:
    """Read ``n`` streams at the same time, each in a thread."""
    with ThreadPoolExecutor(n) as pool:
        (length,) = set(pool.map(lambda _: stream(), range(n)))
    return length


def run_blocking(commands: Commands) -> None:
    for call, n in commands:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(n):
            result = call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        commands.send_result(cpu, wall, result)


async def run_async(commands: Commands) -> None:
    call: Callable[[], Awaitable[Any]]
    for (
        call,
        n,
    ) in commands:  # this blocks the event loop, which has no other work between two commands
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(n):
            result = await call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        commands.send_result(cpu, wall, result)


def main(subject_path: str, runtime: str, wire: str) -> None:
    socket.getaddrinfo = _resolve_loopback
    subject = _load_subject(subject_path)
    if runtime == "blocking":
        run_blocking(Commands(subject.make_blocking_calls, wire, run_threads))
    elif runtime == "trio":
        import trio

        trio.run(run_async, Commands(subject.make_async_calls, wire, run_trio_tasks))
    else:
        commands = Commands(subject.make_async_calls, wire, run_tasks)
        if runtime == "uvloop":
            import uvloop

            uvloop.run(run_async(commands))
        else:
            asyncio.run(run_async(commands))


if __name__ == "__main__":
    main(*sys.argv[1:])
