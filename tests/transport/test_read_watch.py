"""One timer of an event loop watches all reads, whichever waits the shortest."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from locus.transport.read_watch import ReadWatch
from tests.support.timing import FOREVER, HangGuard


class Read:
    def __init__(self) -> None:
        self.ended = anyio.Event()

    def end_silence(self) -> None:
        self.ended.set()


def run_on(loop_name: str, main: Any) -> None:
    if loop_name == "uvloop":
        pytest.importorskip("uvloop").run(main())
    else:
        anyio.run(main, backend=loop_name)


@pytest.mark.parametrize("loop_name", ["asyncio", "trio", "uvloop"])
def test_each_read_ends_after_its_own_time(loop_name: str) -> None:
    async def main() -> None:
        watch = ReadWatch()
        reads = [Read() for _ in range(5)]
        for read, seconds in zip(reads, (FOREVER, 0.05, 0.01, 0.03, 0.02), strict=True):
            watch.begin(read, seconds)
        watch.end(reads[3])
        for read in (reads[1], reads[2], reads[4]):
            await read.ended.wait()
        assert not reads[0].ended.is_set()
        assert not reads[3].ended.is_set()
        watch.begin(reads[3], 0.01)  # after the only timer was for the patient one
        await reads[3].ended.wait()
        watch.end(reads[0])

    with HangGuard():
        run_on(loop_name, main)
