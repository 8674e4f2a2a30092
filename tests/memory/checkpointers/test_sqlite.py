"""``SQLiteCheckpointer``: incremental saving, migrations, damage, and connections."""

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
    with SQLiteCheckpointer(path) as instance:
        yield instance


def make_state(*texts: str) -> AgentState:
    return AgentState(tuple(Message.user(text) for text in texts))


def run_sql(path: Path, sql: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(sql, values).fetchall()


@pytest.mark.parametrize("location", ["", ":memory:"])
def test_a_database_in_memory_is_an_error_that_names_the_alternative(location: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MemoryCheckpointer\(\)"):
        SQLiteCheckpointer(location)


def test_a_saved_checkpoint_is_on_the_disk(checkpointer: SQLiteCheckpointer) -> None:
    """2 is FULL: in WAL mode a commit waits for the disk."""
    with checkpointer._open_transaction("read") as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == (b"wal",)


# -- versions ----------------------------------------------------------------------------------


def test_samples_of_the_first_version_are_loaded_and_extended(path: Path) -> None:
    shutil.copy(HERE / "checkpoints-v1.db", path)
    with SQLiteCheckpointer(path) as checkpointer:
        assert checkpointer.threads() == ("every/thing", "minimal")
        assert checkpointer.load("minimal") == MINIMAL
        state = checkpointer.load("every/thing")
        assert state == EVERYTHING
        extended = state.with_messages(Message.user("x"))
        checkpointer.save("every/thing", extended)
        assert checkpointer.load("every/thing") == extended


def test_the_rows_are_those_of_the_first_version(
    path: Path, checkpointer: SQLiteCheckpointer
) -> None:
    checkpointer.save("every/thing", EVERYTHING)
    checkpointer.save("minimal", MINIMAL)
    for sql in (
        "SELECT thread_id, state, messages, executions, seal FROM checkpoints ORDER BY id",
        "SELECT * FROM checkpoint_items ORDER BY checkpoint, kind, position",
    ):
        assert run_sql(path, sql) == run_sql(HERE / "checkpoints-v1.db", sql)


NEW_MIGRATION = (
    "ALTER TABLE checkpoints ADD COLUMN mood TEXT DEFAULT 'good'",
    "UPDATE checkpoint_items SET body = replace(body, 'Hello', 'Bye')",
)


def test_an_older_database_is_migrated_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(HERE / "checkpoints-v1.db", path)
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", [*sqlite_schema.MIGRATIONS, NEW_MIGRATION])
    with ThreadPoolExecutor(4) as pool:
        instances = [SQLiteCheckpointer(path) for _ in range(4)]
        loaded = list(pool.map(lambda instance: instance.threads(), instances))
        for instance in instances:
            instance.close()
    assert loaded == [("every/thing", "minimal")] * 4
    assert run_sql(path, "SELECT version FROM checkpoint_format") == [(2,)]
    assert run_sql(path, "SELECT DISTINCT mood FROM checkpoints") == [("good",)]


def test_a_migration_is_atomic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(HERE / "checkpoints-v1.db", path)
    with monkeypatch.context() as patched:
        patched.setattr(
            sqlite_schema, "MIGRATIONS", [*sqlite_schema.MIGRATIONS, (NEW_MIGRATION[0], "NO SQL")]
        )
        with SQLiteCheckpointer(path) as checkpointer, pytest.raises(CheckpointError, match="NO"):
            checkpointer.load("minimal")
    with SQLiteCheckpointer(path) as checkpointer:
        assert checkpointer.load("minimal") == MINIMAL
    assert "mood" not in str(run_sql(path, "SELECT sql FROM sqlite_master"))


def test_a_newer_database_is_a_version_error(path: Path, checkpointer: SQLiteCheckpointer) -> None:
    checkpointer.save("a", make_state("x"))
    checkpointer.close()
    run_sql(path, "UPDATE checkpoint_format SET version = 2")
    for method in (lambda: checkpointer.load("a"), lambda: checkpointer.save("a", make_state("y"))):
        with pytest.raises(CheckpointVersionError, match=r"format 2.*up to 1.*newer"):
            method()
    run_sql(path, "UPDATE checkpoint_format SET version = 1")
    assert checkpointer.load("a") == make_state("x")


def test_a_state_in_a_newer_format_is_a_version_error(
    path: Path, checkpointer: SQLiteCheckpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("locus.core.state_json.FORMAT_VERSION", 2)
        checkpointer.save("a", make_state("x"))
    with pytest.raises(CheckpointVersionError, match=r"format 2.*up to 1.*newer") as exc_info:
        checkpointer.load("a")
    assert exc_info.value.thread_id == "a"


def test_the_database_may_have_other_tables(path: Path) -> None:
    run_sql(path, "CREATE TABLE orders (id INTEGER)")
    run_sql(path, "PRAGMA user_version = 77")
    with SQLiteCheckpointer(path) as checkpointer:
        checkpointer.save("a", make_state("x"))
        assert checkpointer.load("a") == make_state("x")
    assert run_sql(path, "PRAGMA user_version") == [(77,)]


# -- incremental saving ------------------------------------------------------------------------


def test_a_save_writes_only_the_new_items(path: Path, checkpointer: SQLiteCheckpointer) -> None:
    rows = "SELECT kind, position, rowid FROM checkpoint_items ORDER BY kind, position"
    checkpointer.save("a", make_state("x", "y"))
    before = run_sql(path, rows)
    state = make_state("x", "y", "z").with_execution(
        ToolExecution("f", "1")
    )  # equal, but not identical
    checkpointer.save("a", state)
    assert [kind_position[:2] for kind_position in run_sql(path, rows)] == [
        (0, 0), (0, 1), (0, 2), (1, 0),
    ]  # fmt: skip
    assert run_sql(path, rows)[:2] == before
    run_sql(
        path,
        "CREATE TRIGGER touched BEFORE DELETE ON checkpoint_items "
        "BEGIN SELECT RAISE(ABORT, 'a row was written again'); END",
    )
    for number in range(3):
        state = state.with_messages(Message.user(str(number)))
        checkpointer.save("a", state)
    with SQLiteCheckpointer(path) as other:  # continues the state that it loaded
        loaded = other.load("a")
        assert loaded is not None
        other.save("a", loaded.with_messages(Message.user("end")))
    checkpointer.save("a", state.with_messages(Message.user("end"), Message.user("of all")))
    assert checkpointer.load("a") == state.with_messages(
        Message.user("end"), Message.user("of all")
    )
    with pytest.raises(CheckpointError, match="written again"):
        checkpointer.save("a", make_state("x"))


def add_step(state: AgentState) -> AgentState:
    number = state.iteration
    return state.with_messages(
        Message.assistant("I look." * 10, [ToolCall(f"call_{number}", "f", {"n": number})]),
        Message.tool(ToolResult(f"call_{number}", "f", "found " * 30)),
    ).evolve(iteration=number + 1)


@pytest.mark.thorough
def test_the_thousandth_save_takes_as_long_as_the_tenth(checkpointer: SQLiteCheckpointer) -> None:
    state = AgentState()
    times = []
    gc.disable()
    try:
        for _ in range(1000):
            state = add_step(state)
            start = time.process_time()
            checkpointer.save("a", state)
            times.append(time.process_time() - start)
    finally:
        gc.enable()
    early, late = sorted(times[5:45]), sorted(times[-40:])
    # Writing the complete state would take a hundred times as long.
    assert late[len(late) // 2] < 3 * early[len(early) // 2]


def test_only_the_latest_states_are_cached(
    checkpointer: SQLiteCheckpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locus.memory.checkpointers.state_cache._MAX_STATES", 3)
    for number in range(10):
        checkpointer.save(str(number), make_state("x"))
    assert list(checkpointer._cache._states) == ["7", "8", "9"]
    checkpointer.save("1", make_state("x", "y"))
    assert checkpointer.load("1") == make_state("x", "y")


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
def test_damaged_rows_are_never_loaded_as_a_state(
    path: Path, checkpointer: SQLiteCheckpointer, sql: str
) -> None:
    checkpointer.save("a", EVERYTHING)
    run_sql(path, sql)
    name = "b" if "thread_id" in sql else "a"
    with pytest.raises(CheckpointError, match=r"is damaged: .*Restore the database") as exc_info:
        checkpointer.load(name)
    assert exc_info.value.thread_id == name
    checkpointer.delete(name)
    assert checkpointer.load(name) is None
    assert run_sql(path, "SELECT count(*) FROM checkpoint_items") == [(0,)]


def test_an_invalid_state_is_damage(path: Path, checkpointer: SQLiteCheckpointer) -> None:
    """Such as one with an unknown type of content part."""
    checkpointer.save("a", make_state("x"))
    part = '{"role":"user","content":[{"type":"smell"}]}'
    from locus.memory.checkpointers.item_digests import EMPTY_DIGEST, extend_digest
    from locus.memory.checkpointers.sqlite import _compute_checkpoint_digest

    ((state,),) = run_sql(path, "SELECT state FROM checkpoints")
    last = extend_digest(EMPTY_DIGEST, part.encode())
    run_sql(path, "UPDATE checkpoint_items SET body = ?, seal = ?", part, last)
    digest = _compute_checkpoint_digest("a", state.encode(), 1, 0, last + EMPTY_DIGEST)
    run_sql(path, "UPDATE checkpoints SET seal = ?", digest)
    with pytest.raises(CheckpointError, match=r"is damaged: .*a part is an object"):
        checkpointer.load("a")


@pytest.mark.parametrize("damage", ["text", "half", "zeros"])
def test_a_damaged_database_is_an_error_that_names_it(path: Path, damage: str) -> None:
    with SQLiteCheckpointer(path) as checkpointer:
        for number in range(20):
            checkpointer.save(str(number), EVERYTHING)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {"text": b"not a database\n" * 400, "half": content[:middle], "zeros": bytes(len(content))}[
            damage
        ]
    )
    error_messages = []
    with SQLiteCheckpointer(path) as checkpointer:
        for number in range(20):
            try:
                assert checkpointer.load(str(number)) == EVERYTHING
            except CheckpointError as exc:
                error_messages.append(str(exc))
    assert error_messages
    assert all(str(path) in texts for texts in error_messages)


# -- concurrency -------------------------------------------------------------------------------


def test_a_writer_waits_for_its_timeout(path: Path) -> None:
    with SQLiteCheckpointer(path, timeout=0.2) as checkpointer:
        checkpointer.save("a", make_state("x"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CheckpointError, match=r"'a' cannot be saved in .*locked"):
                checkpointer.save("a", make_state("y"))
            assert checkpointer.load("a") == make_state("x")  # readers do not wait
            other.execute("ROLLBACK")
        checkpointer.save("a", make_state("y"))
        assert checkpointer.load("a") == make_state("y")


def test_many_checkpointers_create_one_database_concurrently(path: Path) -> None:
    def work(number: int) -> AgentState | None:
        with SQLiteCheckpointer(path) as checkpointer:
            checkpointer.save(str(number), make_state(str(number)))
            return checkpointer.load(str(number))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(work, range(12))) == [make_state(str(number)) for number in range(12)]


def test_connections_are_reused_and_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[sqlite3.Connection] = []
    connect = sqlite_schema.connect_and_migrate_schema

    def record_connection(*args: Any) -> sqlite3.Connection:
        connections.append(connect(*args))
        return connections[-1]

    monkeypatch.setattr(
        "locus.memory.checkpointers.sqlite.connect_and_migrate_schema", record_connection
    )
    checkpointer = SQLiteCheckpointer(path)
    for number in range(5):
        checkpointer.save(str(number), make_state("x"))
        checkpointer.load(str(number))
    assert len(connections) == 1
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(checkpointer.load, [str(number % 5) for number in range(50)]))
    del checkpointer  # not closed before: no warning, and no open connection
    gc.collect()
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_connection_in_use_during_close_is_closed_after_its_use(
    path: Path, checkpointer: SQLiteCheckpointer
) -> None:
    with checkpointer._open_transaction("read") as db:
        checkpointer.close()
        db.execute("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")
