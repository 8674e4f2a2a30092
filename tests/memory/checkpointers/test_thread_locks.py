"""Claims: one run at a time on a thread, and none that outlives its process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from locus.core.errors import LocusError
from locus.core.state import AgentState
from locus.memory import (
    BaseCheckpointer,
    CheckpointError,
    FileCheckpointer,
    MemoryCheckpointer,
    SQLiteCheckpointer,
    ThreadBusyError,
)
from tests.support.runtimes import ROOT

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def make(kind: str, path: Path) -> BaseCheckpointer:
    if kind == "memory":
        return MemoryCheckpointer()
    return FileCheckpointer(path) if kind == "file" else SQLiteCheckpointer(path / "a.db")


@pytest.fixture(params=["memory", "file", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def checkpointer(kind: str, tmp_path: Path) -> Iterator[BaseCheckpointer]:
    with make(kind, tmp_path) as made:
        yield made


def is_free(checkpointer: BaseCheckpointer, thread_id: str = "a") -> bool:
    try:
        with checkpointer.claim(thread_id):
            return True
    except ThreadBusyError:
        return False


# -- in one process ----------------------------------------------------------------------------


def test_a_second_claim_is_an_error_that_names_the_thread(checkpointer: BaseCheckpointer) -> None:
    with checkpointer.claim("order 7"):
        with (
            pytest.raises(ThreadBusyError, match=r"'order 7' is busy.*in this process") as caught,
            checkpointer.claim("order 7"),
        ):
            pass
        assert caught.value.thread_id == "order 7"
        assert isinstance(caught.value, LocusError)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.thread_id, str(again)) == ("order 7", str(caught.value))
    assert is_free(checkpointer, "order 7")


def test_other_threads_and_other_work_go_on_meanwhile(checkpointer: BaseCheckpointer) -> None:
    with checkpointer.claim("a"), checkpointer.claim("b"), checkpointer.claim("A"):
        checkpointer.save("a", AgentState(iteration=1))
        assert checkpointer.load("a") == AgentState(iteration=1)
        assert checkpointer.threads() == ("a",)
        checkpointer.delete("a")
        checkpointer.close()
        assert not is_free(checkpointer)
    assert is_free(checkpointer)


def test_a_claim_begins_where_with_does_and_ends_after_an_error(
    checkpointer: BaseCheckpointer,
) -> None:
    claim = checkpointer.claim("a")
    assert is_free(checkpointer)

    def fail() -> None:
        with claim:
            assert not is_free(checkpointer)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_free(checkpointer)


def test_a_claim_may_end_in_another_thread(checkpointer: BaseCheckpointer) -> None:
    claim = checkpointer.claim("a")
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(claim.__enter__).result()
        assert not other.submit(is_free, checkpointer).result()
        other.submit(claim.__exit__, None, None, None).result()
        assert one.submit(is_free, checkpointer).result()


def test_of_many_threads_one_has_the_claim(checkpointer: BaseCheckpointer) -> None:
    inside = 0
    most = 0
    won = 0
    start = threading.Barrier(8)

    def work() -> None:
        nonlocal inside, most, won
        start.wait()
        for _ in range(30):
            try:
                with checkpointer.claim("a"):
                    inside += 1
                    most = max(most, inside)
                    won += 1
                    time.sleep(0.0005)
                    inside -= 1
            except ThreadBusyError:
                time.sleep(0.0005)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert (most, inside) == (1, 0)
    assert won > 0


def test_of_two_tasks_one_has_the_claim(checkpointer: BaseCheckpointer, anyio_backend: str) -> None:
    lost: list[str] = []

    async def run(name: str, one_lost: anyio.Event) -> None:
        claim = checkpointer.claim("a")
        try:
            await anyio.to_thread.run_sync(claim.__enter__)
        except ThreadBusyError:
            lost.append(name)
            one_lost.set()
            return
        await one_lost.wait()
        await anyio.to_thread.run_sync(claim.__exit__, None, None, None)

    async def main() -> None:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                one_lost = anyio.Event()
                group.start_soon(run, "first", one_lost)
                group.start_soon(run, "second", one_lost)

    anyio.run(main, backend=anyio_backend)
    assert len(lost) == 1
    assert is_free(checkpointer)


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_two_checkpointers_at_one_place_know_of_each_other(kind: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    first, second = make(kind, tmp_path / "real"), make(kind, tmp_path / "link")
    with first.claim("a"):
        assert not is_free(second)
    assert is_free(second)


def test_checkpointers_in_memory_know_nothing_of_each_other() -> None:
    first, second = MemoryCheckpointer(), MemoryCheckpointer()
    with first.claim("a"):
        assert is_free(second)


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_no_lock_files_are_left_and_none_is_taken_for_a_checkpoint(
    checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    with checkpointer.claim("a"):
        assert len(list(tmp_path.rglob("*.lock"))) == 1
        assert checkpointer.threads() == ()
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_lock_file_that_is_removed_meanwhile_ends_nobody_elses_claim(
    kind: str, checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    """Somebody tidies up: the claim is lost, but its end must not free the one that came after."""
    first = checkpointer.claim("a")
    first.__enter__()
    (lock,) = tmp_path.rglob("*.lock")
    lock.unlink()
    with process(kind, tmp_path, HOLD):
        first.__exit__(None, None, None)
        assert not is_free(checkpointer)
    assert is_free(checkpointer)


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_place_that_cannot_be_locked_is_an_error_that_says_why(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checkpointer = make(kind, tmp_path / "file" / "below")
    with (
        pytest.raises(CheckpointError, match="'a' cannot be claimed") as caught,
        checkpointer.claim("a"),
    ):
        pass
    assert caught.value.thread_id == "a"


# -- between processes -------------------------------------------------------------------------

BEGIN = """
import os, signal, sys, time
def give_up_in(seconds):  # a deadlock is to be a failure, not a wait
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
give_up_in(30)
from pathlib import Path
from locus.memory import FileCheckpointer, SQLiteCheckpointer, ThreadBusyError
kind, path = sys.argv[1], Path(sys.argv[2])
saver = FileCheckpointer(path) if kind == "file" else SQLiteCheckpointer(path / "a.db")
def say(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def is_free():
    try:
        with saver.claim("a"):
            return True
    except ThreadBusyError:
        return False
"""
HOLD = """
with saver.claim("a"):
    say("held by", os.getpid())
    sys.stdin.read()
"""


@contextmanager
def process(kind: str, path: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Runs ``code``, and waits for its first line."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", BEGIN + code, kind, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            child.said = child.stdout.readline().split()  # type: ignore[attr-defined]
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_claim_holds_against_other_processes_and_dies_with_its_own(
    kind: str, checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    with process(kind, tmp_path, HOLD) as other:
        with pytest.raises(ThreadBusyError, match=f"process {other.pid}"), checkpointer.claim("a"):
            pass
        assert is_free(checkpointer, "b")
        other.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        other.wait(10)
        assert is_free(checkpointer)
    assert not list(tmp_path.rglob("*.lock"))  # what the dead one had left, too


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_of_many_processes_one_has_the_claim(kind: str, tmp_path: Path) -> None:
    code = """
    say("ready")
    sys.stdin.readline()
    count, until = path / "count", time.monotonic() + 0.7
    won = 0
    while time.monotonic() < until:
        try:
            with saver.claim("a"):
                number = int(count.read_text() or 0)
                count.write_text(str(number + 1))  # which two at once would get wrong
                won += 1
        except ThreadBusyError:
            time.sleep(0.0002)
    say(won)
    """
    code = "\n".join(line[4:] for line in code.splitlines())
    (tmp_path / "count").write_text("")
    with (
        process(kind, tmp_path, code) as one,
        process(kind, tmp_path, code) as two,
        process(kind, tmp_path, code) as three,
    ):
        for child in (one, two, three):
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        won = [int(child.stdout.readline()) for child in (one, two, three) if child.stdout]
    assert sum(won) == int((tmp_path / "count").read_text())
    assert sum(n > 0 for n in won) >= 2  # else they have not met


# -- forks -------------------------------------------------------------------------------------


@forks
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_forked_child_neither_has_nor_ends_its_parents_claim(kind: str, tmp_path: Path) -> None:
    code = """
with saver.claim("a"):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        say("child has ended")
        sys.stdin.readline()
    else:
        found = "taken" if not is_free() else "free"
if not child:  # it has left the `with` block of its parent
    (path / "child").write_text(found + (" taken" if not is_free() else " free"))
else:
    say("free" if is_free() else "taken")
"""
    with process(kind, tmp_path, code) as parent:
        assert parent.said == ["child", "has", "ended"]  # type: ignore[attr-defined]
        assert (tmp_path / "child").read_text() == "taken taken"
        with make(kind, tmp_path) as mine:
            assert not is_free(mine)
        out, _ = parent.communicate("go\n", timeout=10)
    assert out == "free\n"


@forks
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_forked_child_does_not_keep_the_claim_of_a_parent_that_dies(
    kind: str, tmp_path: Path
) -> None:
    code = """
with saver.claim("a"):
    if os.fork():
        sys.stdin.read()
    else:
        say("child", os.getpid())
        while True:
            time.sleep(1)
"""
    with process(kind, tmp_path, code) as parent:
        child = int(parent.said[1])  # type: ignore[attr-defined]
        try:
            with make(kind, tmp_path) as mine:
                assert not is_free(mine)
                parent.kill()
                parent.wait(10)
                assert is_free(mine)
        finally:
            os.kill(child, signal.SIGKILL)


@forks
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_forked_child_has_claims_and_connections_of_its_own(kind: str, tmp_path: Path) -> None:
    code = """
from locus.core.state import AgentState
import threading
saver.save("a", AgentState(iteration=1))
stop = threading.Event()
def keep_busy():  # so that there is a lock which somebody has when the child begins
    while not stop.is_set():
        with saver.claim("b"):
            saver.save("b", AgentState())
busy = threading.Thread(target=keep_busy)
busy.start()
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # to fork beside threads
for number in range(2, 22):
    child = os.fork()
    if not child:
        give_up_in(20)
        with saver.claim("a"):
            assert saver.load("a").iteration == number - 1
            saver.save("a", AgentState(iteration=number))
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert saver.load("a").iteration == number
stop.set()
busy.join()
saver.close()
say("well", "done")
"""
    with process(kind, tmp_path, code) as parent:
        assert parent.said == ["well", "done"]  # type: ignore[attr-defined]
        assert parent.wait(10) == 0
