"""Kills processes that save checkpoints, and looks what is left: ``python -m
tests.memory.checkpointers.crash_saver``.

The arguments are the kind of checkpointer, a directory, and how many processes are to be killed.
One process imports everything, and forks those that are killed, which takes a millisecond. Each
goes on from the checkpoint that it finds, inside a claim, and says what was acknowledged through a
pipe. The ``n``-th state is made from ``n`` alone, so that a reader knows what it should be.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from locus.core.messages import Message
from locus.core.state import AgentState
from locus.memory import BaseCheckpointer, FileCheckpointer, SQLiteCheckpointer

THREADS = ("first", "second/odd")
ROUND = 25
"""After so many messages a history begins anew, so that replacing is interrupted, too."""


def open_checkpointer(kind: str, directory: Path) -> BaseCheckpointer:
    if kind == "file":
        return FileCheckpointer(directory / "saved")
    return SQLiteCheckpointer(directory / "saved.db")


def nth(number: int) -> AgentState:
    first = number - number % ROUND
    messages = [Message.user(f"message {at} " * 20) for at in range(first, number + 1)]
    return AgentState(tuple(messages), iteration=number, metadata={"number": number})


def save_for_ever(kind: str, directory: Path, pipe: int) -> None:
    with open_checkpointer(kind, directory) as checkpointer:
        thread = random.choice(THREADS)
        with checkpointer.claim(thread):
            state = checkpointer.load(thread)
            number = 0 if state is None else state.iteration + 1
            while True:
                new = nth(number)
                if state is not None and number % ROUND:
                    new = state.with_messages(new.messages[-1]).evolve(
                        iteration=number, metadata=new.metadata
                    )
                checkpointer.save(thread, new)
                os.write(pipe, json.dumps([thread, number]).encode() + b"\n")
                state, number = new, number + 1


def kill_one(kind: str, directory: Path, acknowledged: dict[str, int]) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        random.seed()
        try:
            save_for_ever(kind, directory, writer)
        finally:
            os._exit(1)  # only if it fails
    os.close(writer)
    if random.random() < 0.7:  # some are killed before they have saved anything
        select.select([reader], [], [], 5)
    time.sleep(random.expovariate(1 / 0.006))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the saver failed by itself: {status}"
    with open(reader, "rb") as lines:
        for line in lines.read().splitlines():
            thread, number = json.loads(line)
            acknowledged[thread] = number


def main(kind: str, directory: Path, kills: int) -> None:
    acknowledged: dict[str, int] = {}
    saved = 0
    for _ in range(kills):
        before = dict(acknowledged)
        kill_one(kind, directory, acknowledged)
        saved += sum(acknowledged[name] - before.get(name, -1) for name in acknowledged)
        with open_checkpointer(kind, directory) as checkpointer:
            for thread in THREADS:
                with checkpointer.claim(thread):  # which died with its holder
                    state = checkpointer.load(thread)
                last = acknowledged.get(thread, -1)
                if state is None:
                    assert last == -1, f"{thread}: {last} was acknowledged, and is gone"
                    continue
                # What was saved when the kill came may be there without having been acknowledged.
                assert state.iteration in (last, last + 1), f"{state.iteration}, not {last}"
                assert state == nth(state.iteration)
                acknowledged[thread] = state.iteration
    sys.stdout.write(f"{kills} {saved}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
