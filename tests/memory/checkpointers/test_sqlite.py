"""What is particular to checkpoints in SQLite: a step writes what is new, and versions move up."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.state import AgentState, ToolExecution
from locus.memory import CheckpointError, CheckpointVersionError, SQLiteCheckpointer
from locus.memory.checkpointers import sqlite_schema
from tests.support.samples import EVERYTHING, HERE, MINIMAL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saved.db"


@pytest.fixture
def checkpointer(path: Path) -> Iterator[SQLiteCheckpointer]:
    with SQLiteCheckpointer(path) as made:
        yield made


def said(*words: str) -> AgentState:
    return AgentState(tuple(Message.user(word) for word in words))


def ask(path: Path, sql: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(sql, values).fetchall()


@pytest.mark.parametrize("where", ["", ":memory:"])
def test_a_database_in_memory_is_refused_with_what_to_use(where: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MemoryCheckpointer\(\)"):
        SQLiteCheckpointer(where)


def test_what_is_acknowledged_is_on_the_disk(checkpointer: SQLiteCheckpointer) -> None:
    """2 is FULL: in WAL mode a commit waits for the disk."""
    with checkpointer._connection("read") as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == (b"wal",)


# -- versions ----------------------------------------------------------------------------------


def test_samples_of_the_first_version_are_read_and_gone_on_with(path: Path) -> None:
    shutil.copy(HERE / "checkpoints-v1.db", path)
    with SQLiteCheckpointer(path) as checkpointer:
        assert checkpointer.threads() == ("every/thing", "minimal")
        assert checkpointer.load("minimal") == MINIMAL
        state = checkpointer.load("every/thing")
        assert state == EVERYTHING
        more = state.with_messages(Message.user("x"))
        checkpointer.save("every/thing", more)
        assert checkpointer.load("every/thing") == more


def test_rows_say_what_they_said_in_the_first_version(
    path: Path, checkpointer: SQLiteCheckpointer
) -> None:
    checkpointer.save("every/thing", EVERYTHING)
    checkpointer.save("minimal", MINIMAL)
    for sql in (
        "SELECT thread_id, state, messages, executions, seal FROM checkpoints ORDER BY id",
        "SELECT * FROM checkpoint_items ORDER BY checkpoint, kind, position",
    ):
        assert ask(path, sql) == ask(HERE / "checkpoints-v1.db", sql)


MORE = (
    "ALTER TABLE checkpoints ADD COLUMN mood TEXT DEFAULT 'good'",
    "UPDATE checkpoint_items SET body = replace(body, 'Hello', 'Bye')",
)


def test_an_older_database_is_brought_up_to_date_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(HERE / "checkpoints-v1.db", path)
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", [*sqlite_schema.MIGRATIONS, MORE])
    with ThreadPoolExecutor(4) as pool:
        many = [SQLiteCheckpointer(path) for _ in range(4)]
        found = list(pool.map(lambda each: each.threads(), many))
        for each in many:
            each.close()
    assert found == [("every/thing", "minimal")] * 4
    assert ask(path, "SELECT version FROM checkpoint_format") == [(2,)]
    assert ask(path, "SELECT DISTINCT mood FROM checkpoints") == [("good",)]


def test_bringing_up_to_date_happens_whole_or_not_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(HERE / "checkpoints-v1.db", path)
    with monkeypatch.context() as patched:
        patched.setattr(
            sqlite_schema, "MIGRATIONS", [*sqlite_schema.MIGRATIONS, (MORE[0], "NO SQL")]
        )
        with SQLiteCheckpointer(path) as checkpointer, pytest.raises(CheckpointError, match="NO"):
            checkpointer.load("minimal")
    with SQLiteCheckpointer(path) as checkpointer:
        assert checkpointer.load("minimal") == MINIMAL
    assert "mood" not in str(ask(path, "SELECT sql FROM sqlite_master"))


def test_a_newer_database_is_an_error_that_says_so(
    path: Path, checkpointer: SQLiteCheckpointer
) -> None:
    checkpointer.save("a", said("x"))
    checkpointer.close()
    ask(path, "UPDATE checkpoint_format SET version = 2")
    for use in (lambda: checkpointer.load("a"), lambda: checkpointer.save("a", said("y"))):
        with pytest.raises(CheckpointVersionError, match=r"format 2.*up to 1.*newer"):
            use()
    ask(path, "UPDATE checkpoint_format SET version = 1")
    assert checkpointer.load("a") == said("x")


def test_a_state_of_a_newer_format_is_an_error_that_says_so(
    path: Path, checkpointer: SQLiteCheckpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("locus.core.state_json.VERSION", 2)
        checkpointer.save("a", said("x"))
    with pytest.raises(CheckpointVersionError, match=r"format 2.*up to 1.*newer") as caught:
        checkpointer.load("a")
    assert caught.value.thread_id == "a"


def test_the_database_may_hold_other_tables(path: Path) -> None:
    ask(path, "CREATE TABLE orders (id INTEGER)")
    ask(path, "PRAGMA user_version = 77")
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", said("x"))
        assert checkpointer.load("a") == said("x")
    assert ask(path, "PRAGMA user_version") == [(77,)]


# -- what a step writes ------------------------------------------------------------------------


def test_a_step_writes_only_what_is_new(path: Path, checkpointer: SQLiteCheckpointer) -> None:
    rows = "SELECT kind, position, rowid FROM checkpoint_items ORDER BY kind, position"
    checkpointer.save("a", said("x", "y"))
    before = ask(path, rows)
    state = said("x", "y", "z").with_execution(ToolExecution("f", "1"))  # equal, not the same
    checkpointer.save("a", state)
    assert [kind_position[:2] for kind_position in ask(path, rows)] == [
        (0, 0), (0, 1), (0, 2), (1, 0),
    ]  # fmt: skip
    assert ask(path, rows)[:2] == before
    ask(path, "CREATE TRIGGER touched BEFORE DELETE ON checkpoint_items BEGIN SELECT RAISE(ABORT,"
        " 'a row was written again'); END")  # fmt: skip
    for number in range(3):
        state = state.with_messages(Message.user(str(number)))
        checkpointer.save("a", state)
    with SQLiteCheckpointer(path) as other:  # goes on with what it has loaded, or been given
        found = other.load("a")
        assert found is not None
        other.save("a", found.with_messages(Message.user("end")))
    checkpointer.save("a", state.with_messages(Message.user("end"), Message.user("of all")))
    assert checkpointer.load("a") == state.with_messages(
        Message.user("end"), Message.user("of all")
    )
    with pytest.raises(CheckpointError, match="written again"):
        checkpointer.save("a", said("x"))


def step(state: AgentState) -> AgentState:
    number = state.iteration
    return state.with_messages(
        Message.assistant("I look." * 10, [ToolCall(f"call_{number}", "f", {"n": number})]),
        Message.tool(ToolResult(f"call_{number}", "f", "found " * 30)),
    ).evolve(iteration=number + 1)


@pytest.mark.slow
def test_the_thousandth_step_costs_what_the_tenth_did(checkpointer: SQLiteCheckpointer) -> None:
    state = AgentState()
    times = []
    gc.disable()
    try:
        for _ in range(1000):
            state = step(state)
            start = time.process_time()
            checkpointer.save("a", state)
            times.append(time.process_time() - start)
    finally:
        gc.enable()
    early, late = sorted(times[5:45]), sorted(times[-40:])
    # To write all of it anew would be a factor of a hundred.
    assert late[len(late) // 2] < 3 * early[len(early) // 2]


def test_many_threads_are_not_all_kept_in_memory(
    checkpointer: SQLiteCheckpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locus.memory.checkpointers.sqlite._MAX_KNOWN", 3)
    for number in range(10):
        checkpointer.save(str(number), said("x"))
    assert list(checkpointer._known) == ["7", "8", "9"]
    checkpointer.save("1", said("x", "y"))
    assert checkpointer.load("1") == said("x", "y")


# -- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM checkpoint_items WHERE position = 1 AND kind = 0",
        "DELETE FROM checkpoint_items WHERE position = 5 AND kind = 0",
        "DELETE FROM checkpoint_items WHERE kind = 1",
        "DELETE FROM checkpoint_items",
        "UPDATE checkpoint_items SET body = replace(body, 'brief', 'bried')",
        "UPDATE checkpoint_items SET position = position + 10 WHERE position = 0",
        "UPDATE checkpoint_items SET body = '' WHERE position = 3",
        "UPDATE checkpoints SET state = replace(state, '0.75', '0.85')",
        "UPDATE checkpoints SET state = ''",
        "UPDATE checkpoints SET messages = 5",
        "UPDATE checkpoints SET seal = x''",
        "UPDATE checkpoints SET thread_id = 'b'",
        "INSERT INTO checkpoint_items SELECT checkpoint, kind, 99, body, seal "
        "FROM checkpoint_items WHERE position = 0",
    ],
)
def test_rows_that_were_damaged_are_never_read_as_a_state(
    path: Path, checkpointer: SQLiteCheckpointer, sql: str
) -> None:
    checkpointer.save("a", EVERYTHING)
    ask(path, sql)
    name = "b" if "thread_id" in sql else "a"
    with pytest.raises(CheckpointError, match=r"is damaged: .*Restore the database") as caught:
        checkpointer.load(name)
    assert caught.value.thread_id == name
    checkpointer.delete(name)
    assert checkpointer.load(name) is None
    assert ask(path, "SELECT count(*) FROM checkpoint_items") == [(0,)]


def test_a_state_that_reads_wrong_is_damage(path: Path, checkpointer: SQLiteCheckpointer) -> None:
    """As one with a kind of part that nobody here knows."""
    checkpointer.save("a", said("x"))
    part = '{"role":"user","content":[{"type":"smell"}]}'
    from locus.memory.checkpointers.incremental import NO_SEAL, next_seal
    from locus.memory.checkpointers.sqlite import _seal

    ((state,),) = ask(path, "SELECT state FROM checkpoints")
    last = next_seal(NO_SEAL, part.encode())
    ask(path, "UPDATE checkpoint_items SET body = ?, seal = ?", part, last)
    seal = _seal("a", state.encode(), 1, 0, last + NO_SEAL)
    ask(path, "UPDATE checkpoints SET seal = ?", seal)
    with pytest.raises(CheckpointError, match=r"is damaged: .*a part is an object"):
        checkpointer.load("a")


@pytest.mark.parametrize("damage", ["text", "half", "zeros"])
def test_a_damaged_database_is_an_error_that_names_it(path: Path, damage: str) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        for number in range(20):
            checkpointer.save(str(number), EVERYTHING)
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(
        {"text": b"not a database\n" * 400, "half": whole[:half], "zeros": bytes(len(whole))}[
            damage
        ]
    )
    failed = []
    with SQLiteCheckpointer(path) as checkpointer:
        for number in range(20):
            try:
                assert checkpointer.load(str(number)) == EVERYTHING
            except CheckpointError as error:
                failed.append(str(error))
    assert failed
    assert all(str(path) in words for words in failed)


# -- others at the same database ---------------------------------------------------------------


def test_a_writer_waits_as_long_as_it_was_told(path: Path) -> None:
    with SQLiteCheckpointer(path, timeout=0.2) as checkpointer:
        checkpointer.save("a", said("x"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CheckpointError, match=r"'a' cannot be saved in .*locked"):
                checkpointer.save("a", said("y"))
            assert checkpointer.load("a") == said("x")  # readers do not wait
            other.execute("ROLLBACK")
        checkpointer.save("a", said("y"))
        assert checkpointer.load("a") == said("y")


def test_many_open_one_new_database_at_once(path: Path) -> None:
    def work(number: int) -> AgentState | None:
        with SQLiteCheckpointer(path) as checkpointer:
            checkpointer.save(str(number), said(str(number)))
            return checkpointer.load(str(number))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(work, range(12))) == [said(str(number)) for number in range(12)]


def test_connections_are_used_again_and_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite_schema.connect

    def note(*args: Any) -> sqlite3.Connection:
        opened.append(connect(*args))
        return opened[-1]

    monkeypatch.setattr("locus.memory.checkpointers.sqlite.connect", note)
    checkpointer = SQLiteCheckpointer(path)
    for number in range(5):
        checkpointer.save(str(number), said("x"))
        checkpointer.load(str(number))
    assert len(opened) == 1
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(checkpointer.load, [str(number % 5) for number in range(50)]))
    del checkpointer  # without having been closed: no warning, and nothing left open
    gc.collect()
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_connection_that_is_in_use_when_others_are_closed_is_closed_afterwards(
    path: Path, checkpointer: SQLiteCheckpointer
) -> None:
    with checkpointer._connection("read") as db:
        checkpointer.close()
        db.execute("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")
