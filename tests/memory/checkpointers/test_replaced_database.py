"""A database that was removed, replaced or migrated, is linked or read-only; and forks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import Message
from locus.core.state import AgentState
from locus.memory import (
    CheckpointError,
    CheckpointVersionError,
    SQLiteCheckpointer,
    ThreadBusyError,
)
from locus.memory.checkpointers import sqlite_schema
from tests.support.processes import PROJECT_ROOT, run_process, wait_for_output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saved.db"


def make_state(*texts: str) -> AgentState:
    return AgentState(tuple(Message.user(text) for text in texts))


def remove_database(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def load_from_new_checkpointer(path: Path) -> AgentState | None:
    """Load the thread with a new checkpointer, which has no cached state."""
    with SQLiteCheckpointer(path) as other:
        return other.load("a")


def test_a_removed_file_is_created_again(path: Path) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        state = make_state("x")
        checkpointer.save("a", state)
        remove_database(path)
        assert checkpointer.load("a") is None
        remove_database(path)
        state = state.with_messages(Message.user("y"))
        checkpointer.save("a", state)
        assert load_from_new_checkpointer(path) == state


def test_a_replaced_file_is_used_instead_of_the_old_one(path: Path, tmp_path: Path) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", make_state("x"))
        checkpointer.close()
        shutil.copy(path, tmp_path / "copy")
        state = make_state("x", "y")
        checkpointer.save("a", state)
        remove_database(path)
        os.replace(tmp_path / "copy", path)
        assert checkpointer.load("a") == make_state("x")
        state = state.with_messages(Message.user("z"))
        checkpointer.save("a", state)
        assert load_from_new_checkpointer(path) == state


def test_a_connection_is_not_reused_after_a_migration(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", make_state("x"))
        with monkeypatch.context() as newer:
            newer.setattr(
                sqlite_schema,
                "MIGRATIONS",
                [*sqlite_schema.MIGRATIONS, ("UPDATE checkpoints SET seal = x''",)],
            )
            with SQLiteCheckpointer(path) as other:
                other.threads()
        for method in (
            lambda: checkpointer.load("a"),
            lambda: checkpointer.save("a", make_state("y")),
            checkpointer.threads,
        ):
            with pytest.raises(CheckpointVersionError, match="format 2"):
                method()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM checkpoint_format",
        "INSERT INTO checkpoint_format VALUES (1)",
        "UPDATE checkpoint_format SET version = 'one'",
        "UPDATE checkpoint_format SET version = -1",
        "UPDATE checkpoint_format SET version = 0",
        "UPDATE checkpoint_format SET version = 1.5",
    ],
)
def test_an_invalid_version_is_damage(path: Path, sql: str) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", make_state("x"))
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(sql)
        for method in (lambda: checkpointer.load("a"), lambda: load_from_new_checkpointer(path)):
            with pytest.raises(CheckpointError, match=r"saved\.db is damaged: .*checkpoint_format"):
                method()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need permissions there")
def test_a_path_with_a_symbolic_link_has_the_same_locks(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    one, other = SQLiteCheckpointer(path), SQLiteCheckpointer(link)
    for first, second in ((one, other), (other, one)):
        with first.claim("a"), pytest.raises(ThreadBusyError), second.claim("a"):
            pass
    assert os.listdir(link.parent) == ["link.db"]


READER_SCRIPT = """
import os, sys, urllib.parse  # imported now: later they may not be readable
from locus.memory import CheckpointError, SQLiteCheckpointer
import locus.core.state_json
from locus.core.state import AgentState
AgentState.from_json(AgentState().to_json())
if os.getuid() == 0: os.setuid(65534)
checkpointer = SQLiteCheckpointer(sys.argv[1])
print([message.text for message in checkpointer.load("a").messages], checkpointer.threads())
try: checkpointer.save("a", AgentState())
except CheckpointError as exc: print("readonly" in str(exc))
input()
print([message.text for message in checkpointer.load("a").messages])
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs file permissions")
def test_a_read_only_database_can_be_loaded() -> None:
    # In a directory that other users may enter, unlike those of pytest.
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "saved.db"
        with SQLiteCheckpointer(path) as checkpointer:
            checkpointer.save("a", make_state("x"))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        reader = subprocess.Popen(
            [sys.executable, "-c", READER_SCRIPT, path],
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reader.stdout is not None
        try:
            first = [reader.stdout.readline() for _ in range(2)]
            path.parent.chmod(0o755)
            path.chmod(0o644)
            with SQLiteCheckpointer(path) as checkpointer:
                checkpointer.save("a", make_state("x", "y"))
            second_output, _ = wait_for_output(reader, "\n")
        finally:
            reader.kill()
            reader.wait()
        assert first == ["['x'] ('a',)\n", "True\n"]
        assert second_output == "['x', 'y']\n"


def test_a_directory_is_not_a_database(tmp_path: Path) -> None:
    checkpointer = SQLiteCheckpointer(tmp_path / "saved")
    (tmp_path / "saved").mkdir()
    with pytest.raises(CheckpointError, match="it is a directory"):
        checkpointer.load("a")
    with pytest.raises(CheckpointError, match="it is a directory"), checkpointer.claim("a"):
        pass
    assert os.listdir(tmp_path) == ["saved"]


@pytest.mark.parametrize("timeout", ["1", None, True, -1, float("nan"), float("inf"), 1e12])
def test_an_invalid_timeout_is_an_error(path: Path, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout is a number of seconds"):
        SQLiteCheckpointer(path, timeout=timeout)


FORK_SCRIPT = """
import os, signal, sys, threading, warnings
from locus.core.state import AgentState
from locus.memory import SQLiteCheckpointer
warnings.simplefilter("ignore", DeprecationWarning)
checkpointer = SQLiteCheckpointer(sys.argv[1])
done = threading.Event()
def save(name):
    while not done.is_set():
        checkpointer.save(name, AgentState())
savers = [threading.Thread(target=save, args=(name,)) for name in "abc"]
for saver in savers: saver.start()
while checkpointer.threads() != ("a", "b", "c"): pass
for number in range(3):
    child = os.fork()
    if not child:
        checkpointer.save(f"child {number}", AgentState())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for saver in savers: saver.join()
print(checkpointer.threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_does_not_wait_for_threads_that_save_all_the_time(path: Path) -> None:
    completed = run_process([sys.executable, "-c", FORK_SCRIPT, path])
    assert completed.stdout == "('a', 'b', 'c', 'child 0', 'child 1', 'child 2')\n", (
        completed.stderr
    )
