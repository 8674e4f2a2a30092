"""Kills processes that save checkpoints, and checks what is left: ``python -m
tests.memory.checkpointers.crash_saver``.

The arguments are the checkpointer's backend, a directory, and how many processes to kill. One
process imports everything, and forks the processes that are killed, which takes a millisecond each.
Each locks a thread, continues from its checkpoint, and writes to a pipe which saves were
acknowledged. The ``n``-th state depends on ``n`` alone, so that the reader knows what to expect.
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
from tests.support.timing import HANG_SECONDS

THREADS = ("first", "second/odd")
RESTART_AFTER = 25
"""The number of messages after which a history starts again, so that replacing is tested, too."""


def open_checkpointer(backend: str, directory: Path) -> BaseCheckpointer:
    if backend == "file":
        return FileCheckpointer(directory / "saved")
    return SQLiteCheckpointer(directory / "saved.db")


def make_state(number: int) -> AgentState:
    start = number - number % RESTART_AFTER
    messages = [Message.user(f"message {index} " * 20) for index in range(start, number + 1)]
    return AgentState(tuple(messages), iteration=number, metadata={"number": number})


def save_forever(backend: str, directory: Path, pipe: int) -> None:
    with open_checkpointer(backend, directory) as checkpointer:
        thread = random.choice(THREADS)
        with checkpointer.claim(thread):
            state = checkpointer.load(thread)
            number = 0 if state is None else state.iteration + 1
            while True:
                next_state = make_state(number)
                if state is not None and number % RESTART_AFTER:
                    next_state = state.with_messages(next_state.messages[-1]).evolve(
                        iteration=number, metadata=next_state.metadata
                    )
                checkpointer.save(thread, next_state)
                os.write(pipe, json.dumps([thread, number]).encode() + b"\n")
                state, number = next_state, number + 1


def kill_one(
    backend: str, directory: Path, acknowledged: dict[str, int], *, after_a_save: bool
) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        random.seed()
        try:
            save_forever(backend, directory, writer)
        finally:
            os._exit(1)  # reached only after an error
    os.close(writer)
    if after_a_save:
        assert select.select([reader], [], [], HANG_SECONDS)[0], "nothing was saved"
    time.sleep(random.expovariate(1 / 0.006))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the saver failed by itself: {status}"
    with open(reader, "rb") as lines:
        for line in lines.read().splitlines():
            thread, number = json.loads(line)
            acknowledged[thread] = number


def main(backend: str, directory: Path, kills: int) -> None:
    acknowledged: dict[str, int] = {}
    saved = 0
    for number in range(kills):
        before = dict(acknowledged)
        kill_one(backend, directory, acknowledged, after_a_save=number % 3 > 0)
        saved += sum(acknowledged[name] - before.get(name, -1) for name in acknowledged)
        with open_checkpointer(backend, directory) as checkpointer:
            for thread in THREADS:
                with checkpointer.claim(thread):  # the kill has released the lock
                    state = checkpointer.load(thread)
                last_acknowledged = acknowledged.get(thread, -1)
                if state is None:
                    assert last_acknowledged == -1, (
                        f"{thread}: {last_acknowledged} was acknowledged, but is missing"
                    )
                    continue
                # A state that was saved just before the kill may not have been acknowledged.
                assert state.iteration in (last_acknowledged, last_acknowledged + 1), (
                    f"{state.iteration}, not {last_acknowledged}"
                )
                assert state == make_state(state.iteration)
                acknowledged[thread] = state.iteration
    sys.stdout.write(f"{kills} {saved}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
