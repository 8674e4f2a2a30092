"""``claim``: one holder at a time, in all threads, tasks and processes."""

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
from tests.support.processes import PROJECT_ROOT
from tests.support.timing import HANG_SECONDS

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def make_checkpointer(backend: str, path: Path) -> BaseCheckpointer:
    if backend == "memory":
        return MemoryCheckpointer()
    return FileCheckpointer(path) if backend == "file" else SQLiteCheckpointer(path / "a.db")


@pytest.fixture(params=["memory", "file", "sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def checkpointer(backend: str, tmp_path: Path) -> Iterator[BaseCheckpointer]:
    with make_checkpointer(backend, tmp_path) as instance:
        yield instance


def is_free(checkpointer: BaseCheckpointer, thread_id: str = "a") -> bool:
    try:
        with checkpointer.claim(thread_id):
            return True
    except ThreadBusyError:
        return False


# -- in one process ----------------------------------------------------------------------------


def test_a_second_lock_is_an_error_that_names_the_thread(checkpointer: BaseCheckpointer) -> None:
    with checkpointer.claim("order 7"):
        with (
            pytest.raises(ThreadBusyError, match=r"'order 7' is busy.*in this process") as exc_info,
            checkpointer.claim("order 7"),
        ):
            pass
        assert exc_info.value.thread_id == "order 7"
        assert isinstance(exc_info.value, LocusError)
        unpickled = pickle.loads(pickle.dumps(exc_info.value))
        assert (unpickled.thread_id, str(unpickled)) == ("order 7", str(exc_info.value))
    assert is_free(checkpointer, "order 7")


def test_other_threads_and_operations_are_not_locked(checkpointer: BaseCheckpointer) -> None:
    with (
        checkpointer.claim("a"),
        checkpointer.claim("b"),
        checkpointer.claim("A"),
    ):
        checkpointer.save("a", AgentState(iteration=1))
        assert checkpointer.load("a") == AgentState(iteration=1)
        assert checkpointer.threads() == ("a",)
        checkpointer.delete("a")
        checkpointer.close()
        assert not is_free(checkpointer)
    assert is_free(checkpointer)


def test_the_lock_is_acquired_on_entering_and_released_after_an_error(
    checkpointer: BaseCheckpointer,
) -> None:
    lock = checkpointer.claim("a")
    assert is_free(checkpointer)

    def fail() -> None:
        with lock:
            assert not is_free(checkpointer)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_free(checkpointer)


def test_a_lock_may_be_released_in_another_thread(checkpointer: BaseCheckpointer) -> None:
    lock = checkpointer.claim("a")
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(lock.__enter__).result()
        assert not other.submit(is_free, checkpointer).result()
        other.submit(lock.__exit__, None, None, None).result()
        assert one.submit(is_free, checkpointer).result()


def test_only_one_of_many_threads_has_the_lock(checkpointer: BaseCheckpointer) -> None:
    holders = 0
    max_holders = 0
    acquired = 0
    start = threading.Barrier(8)

    def work() -> None:
        nonlocal holders, max_holders, acquired
        start.wait()
        for _ in range(30):
            try:
                with checkpointer.claim("a"):
                    holders += 1
                    max_holders = max(max_holders, holders)
                    acquired += 1
                    time.sleep(0.0005)
                    holders -= 1
            except ThreadBusyError:
                time.sleep(0.0005)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert (max_holders, holders) == (1, 0)
    assert acquired > 0


def test_only_one_of_two_tasks_has_the_lock(
    checkpointer: BaseCheckpointer, anyio_backend: str
) -> None:
    rejected: list[str] = []

    async def run(name: str, one_rejected: anyio.Event) -> None:
        lock = checkpointer.claim("a")
        try:
            await anyio.to_thread.run_sync(lock.__enter__)
        except ThreadBusyError:
            rejected.append(name)
            one_rejected.set()
            return
        await one_rejected.wait()
        await anyio.to_thread.run_sync(lock.__exit__, None, None, None)

    async def main() -> None:
        with anyio.fail_after(HANG_SECONDS):
            async with anyio.create_task_group() as group:
                one_rejected = anyio.Event()
                group.start_soon(run, "first", one_rejected)
                group.start_soon(run, "second", one_rejected)

    anyio.run(main, backend=anyio_backend)
    assert len(rejected) == 1
    assert is_free(checkpointer)


@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_two_checkpointers_at_one_path_share_their_locks(backend: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    first, second = (
        make_checkpointer(backend, tmp_path / "real"),
        make_checkpointer(backend, tmp_path / "link"),
    )
    with first.claim("a"):
        assert not is_free(second)
    assert is_free(second)


def test_memory_checkpointers_do_not_share_their_locks() -> None:
    first, second = MemoryCheckpointer(), MemoryCheckpointer()
    with first.claim("a"):
        assert is_free(second)


@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_lock_files_are_removed_and_are_not_listed_as_checkpoints(
    checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    with checkpointer.claim("a"):
        assert len(list(tmp_path.rglob("*.lock"))) == 1
        assert checkpointer.threads() == ()
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_releasing_a_removed_lock_file_does_not_release_the_next_lock(
    backend: str, checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    """Another program removes the file: releasing the lost lock must not free the next."""
    first = checkpointer.claim("a")
    first.__enter__()
    (lock,) = tmp_path.rglob("*.lock")
    lock.unlink()
    with run_process(backend, tmp_path, HOLD_LOCK_SCRIPT):
        first.__exit__(None, None, None)
        assert not is_free(checkpointer)
    assert is_free(checkpointer)


@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_a_path_that_cannot_be_locked_is_an_error(backend: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checkpointer = make_checkpointer(backend, tmp_path / "file" / "below")
    with (
        pytest.raises(CheckpointError, match="'a' cannot be locked") as exc_info,
        checkpointer.claim("a"),
    ):
        pass
    assert exc_info.value.thread_id == "a"


# -- between processes -------------------------------------------------------------------------

SETUP_SCRIPT = """
import os, signal, sys, time
def exit_after(seconds):  # a deadlock fails the test
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
exit_after(60)
from pathlib import Path
from locus.memory import FileCheckpointer, SQLiteCheckpointer, ThreadBusyError
backend, path = sys.argv[1], Path(sys.argv[2])
checkpointer = FileCheckpointer(path) if backend == "file" else SQLiteCheckpointer(path / "a.db")
def write_line(*values): os.write(1, (" ".join(map(str, values)) + "\\n").encode())
def is_free():
    try:
        with checkpointer.claim("a"):
            return True
    except ThreadBusyError:
        return False
"""
HOLD_LOCK_SCRIPT = """
with checkpointer.claim("a"):
    write_line("held by", os.getpid())
    sys.stdin.read()
"""


@contextmanager
def run_process(backend: str, path: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Runs ``code``, and waits for its first line."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SETUP_SCRIPT + code, backend, str(path)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            child.first_line = child.stdout.readline().split()  # type: ignore[attr-defined]
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_a_lock_excludes_other_processes_and_ends_with_its_process(
    backend: str, checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    with run_process(backend, tmp_path, HOLD_LOCK_SCRIPT) as other:
        with (
            pytest.raises(ThreadBusyError, match=f"process {other.pid}"),
            checkpointer.claim("a"),
        ):
            pass
        assert is_free(checkpointer, "b")
        other.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        other.wait(HANG_SECONDS)
        assert is_free(checkpointer)
    assert not list(tmp_path.rglob("*.lock"))  # that of the killed process is removed, too


@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_only_one_of_many_processes_has_the_lock(backend: str, tmp_path: Path) -> None:
    code = """
    write_line("ready")
    sys.stdin.readline()
    count, acquired = path / "count", 0
    while acquired < 30:
        try:
            with checkpointer.claim("a"):
                number = int(count.read_text() or 0)
                # They compete: the first one waits until both others have failed to get the lock.
                while number == 0 and len(list(path.glob("rejected-*"))) < 2:
                    time.sleep(0.001)
                count.write_text(str(number + 1))  # two processes at once would lose counts
                acquired += 1
        except ThreadBusyError:
            (path / f"rejected-{os.getpid()}").touch()
            time.sleep(0.0002)
    write_line("done")
    """
    code = "\n".join(line[4:] for line in code.splitlines())
    (tmp_path / "count").write_text("")
    with (
        run_process(backend, tmp_path, code) as one,
        run_process(backend, tmp_path, code) as two,
        run_process(backend, tmp_path, code) as three,
    ):
        for child in (one, two, three):
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in (one, two, three):
            assert child.stdout is not None
            assert child.stdout.readline() == "done\n"
    assert (tmp_path / "count").read_text() == "90"


# -- forks -------------------------------------------------------------------------------------


@forks
@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_a_forked_child_neither_has_nor_releases_its_parents_lock(
    backend: str, tmp_path: Path
) -> None:
    code = """
with checkpointer.claim("a"):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        write_line("child has ended")
        sys.stdin.readline()
    else:
        inside = "locked" if not is_free() else "free"
if not child:  # it has left the `with` block of its parent
    (path / "child").write_text(inside + (" locked" if not is_free() else " free"))
else:
    write_line("free" if is_free() else "locked")
"""
    with run_process(backend, tmp_path, code) as parent:
        assert parent.first_line == ["child", "has", "ended"]  # type: ignore[attr-defined]
        assert (tmp_path / "child").read_text() == "locked locked"
        with make_checkpointer(backend, tmp_path) as new_checkpointer:
            assert not is_free(new_checkpointer)
        output, _ = parent.communicate("go\n", timeout=HANG_SECONDS)
    assert output == "free\n"


@forks
@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_a_forked_child_does_not_keep_the_lock_of_a_killed_parent(
    backend: str, tmp_path: Path
) -> None:
    code = """
with checkpointer.claim("a"):
    if os.fork():
        sys.stdin.read()
    else:
        write_line("child", os.getpid())
        while True:
            time.sleep(1)
"""
    with run_process(backend, tmp_path, code) as parent:
        child = int(parent.first_line[1])  # type: ignore[attr-defined]
        try:
            with make_checkpointer(backend, tmp_path) as new_checkpointer:
                assert not is_free(new_checkpointer)
                parent.kill()
                parent.wait(HANG_SECONDS)
                assert is_free(new_checkpointer)
        finally:
            os.kill(child, signal.SIGKILL)


@forks
@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_a_forked_child_has_its_own_locks_and_connections(backend: str, tmp_path: Path) -> None:
    code = """
from locus.core.state import AgentState
import threading
checkpointer.save("a", AgentState(iteration=1))
stop = threading.Event()
def keep_busy():  # so that a lock is held when the child starts
    while not stop.is_set():
        with checkpointer.claim("b"):
            checkpointer.save("b", AgentState())
busy = threading.Thread(target=keep_busy)
busy.start()
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # for a fork with running threads
for number in range(2, 22):
    child = os.fork()
    if not child:
        exit_after(60)
        with checkpointer.claim("a"):
            assert checkpointer.load("a").iteration == number - 1
            checkpointer.save("a", AgentState(iteration=number))
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert checkpointer.load("a").iteration == number
stop.set()
busy.join()
checkpointer.close()
write_line("well", "done")
"""
    with run_process(backend, tmp_path, code) as parent:
        assert parent.first_line == ["well", "done"]  # type: ignore[attr-defined]
        assert parent.wait(HANG_SECONDS) == 0
