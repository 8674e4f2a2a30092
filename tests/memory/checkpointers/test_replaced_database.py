"""A database that is not what it was, or not where: removed, replaced, newer, linked, shut."""

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
from tests.support.runtimes import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saved.db"


def said(*words: str) -> AgentState:
    return AgentState(tuple(Message.user(word) for word in words))


def remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def anew(path: Path) -> AgentState | None:
    """What a process that knows nothing yet finds."""
    with SQLiteCheckpointer(path) as other:
        return other.load("a")


def test_nothing_is_acknowledged_into_a_file_that_was_removed(path: Path) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        state = said("x")
        checkpointer.save("a", state)
        remove(path)
        assert checkpointer.load("a") is None
        remove(path)
        state = state.with_messages(Message.user("y"))
        checkpointer.save("a", state)
        assert anew(path) == state


def test_nothing_is_acknowledged_into_a_file_that_was_replaced(path: Path, tmp_path: Path) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", said("x"))
        checkpointer.close()
        shutil.copy(path, tmp_path / "copy")
        state = said("x", "y")
        checkpointer.save("a", state)
        remove(path)
        os.replace(tmp_path / "copy", path)
        assert checkpointer.load("a") == said("x")
        state = state.with_messages(Message.user("z"))
        checkpointer.save("a", state)
        assert anew(path) == state


def test_a_connection_does_not_outlive_the_version_of_its_tables(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", said("x"))
        with monkeypatch.context() as newer:
            newer.setattr(
                sqlite_schema,
                "MIGRATIONS",
                [*sqlite_schema.MIGRATIONS, ("UPDATE checkpoints SET seal = x''",)],
            )
            with SQLiteCheckpointer(path) as other:
                other.threads()
        for use in (
            lambda: checkpointer.load("a"),
            lambda: checkpointer.save("a", said("y")),
            checkpointer.threads,
        ):
            with pytest.raises(CheckpointVersionError, match="format 2"):
                use()


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
def test_a_version_that_is_none_is_damage(path: Path, sql: str) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", said("x"))
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(sql)
        for use in (lambda: checkpointer.load("a"), lambda: anew(path)):
            with pytest.raises(CheckpointError, match=r"saved\.db is damaged: .*checkpoint_format"):
                use()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_whoever_comes_by_a_link_wants_the_same_claim(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    one, other = SQLiteCheckpointer(path), SQLiteCheckpointer(link)
    for first, second in ((one, other), (other, one)):
        with first.claim("a"), pytest.raises(ThreadBusyError), second.claim("a"):
            pass
    assert os.listdir(link.parent) == ["link.db"]


READS = """
import os, sys, urllib.parse  # all that is needed later, when it may not be readable any more
from locus.memory import CheckpointError, SQLiteCheckpointer
import locus.core.state_json
from locus.core.state import AgentState
AgentState.from_json(AgentState().to_json())
if os.getuid() == 0: os.setuid(65534)
checkpointer = SQLiteCheckpointer(sys.argv[1])
print([message.text for message in checkpointer.load("a").messages], checkpointer.threads())
try: checkpointer.save("a", AgentState())
except CheckpointError as why: print("readonly" in str(why))
input()
print([message.text for message in checkpointer.load("a").messages])
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs modes of files")
def test_a_database_that_cannot_be_written_can_be_read() -> None:
    # In a directory that anybody may pass through, which those of pytest are not.
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "saved.db"
        with SQLiteCheckpointer(path) as checkpointer:
            checkpointer.save("a", said("x"))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        reader = subprocess.Popen(
            [sys.executable, "-c", READS, path],
            cwd=ROOT,
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
                checkpointer.save("a", said("x", "y"))
            said_then, _ = reader.communicate("\n", timeout=20)
        finally:
            reader.kill()
            reader.wait()
        assert first == ["['x'] ('a',)\n", "True\n"]
        assert said_then == "['x', 'y']\n"


def test_a_directory_is_no_database_and_says_so(tmp_path: Path) -> None:
    checkpointer = SQLiteCheckpointer(tmp_path / "saved")
    (tmp_path / "saved").mkdir()
    with pytest.raises(CheckpointError, match="it is a directory"):
        checkpointer.load("a")
    with pytest.raises(CheckpointError, match="it is a directory"), checkpointer.claim("a"):
        pass
    assert os.listdir(tmp_path) == ["saved"]


@pytest.mark.parametrize("timeout", ["1", None, True, -1, float("nan"), float("inf"), 1e12])
def test_a_timeout_that_is_none_is_refused(path: Path, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout is a number of seconds"):
        SQLiteCheckpointer(path, timeout=timeout)


FORKS = """
import os, signal, sys, threading, warnings
from locus.core.state import AgentState
from locus.memory import SQLiteCheckpointer
warnings.simplefilter("ignore", DeprecationWarning)
signal.alarm(20)  # a fork that hangs is to be a failure, not a wait
checkpointer = SQLiteCheckpointer(sys.argv[1])
done = threading.Event()
def save(name):
    while not done.is_set():
        checkpointer.save(name, AgentState())
savers = [threading.Thread(target=save, args=(name,)) for name in "abc"]
for each in savers: each.start()
while checkpointer.threads() != ("a", "b", "c"): pass
for number in range(3):
    child = os.fork()
    if not child:
        checkpointer.save(f"child {number}", AgentState())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for each in savers: each.join()
print(checkpointer.threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_does_not_wait_for_threads_that_never_pause(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, path], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "('a', 'b', 'c', 'child 0', 'child 1', 'child 2')\n", done.stderr
