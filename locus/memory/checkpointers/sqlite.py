"""Checkpoints in an SQLite database: a step saves what it has added.

Messages and executions are rows. A state that begins with what was last saved adds rows to that,
any other takes the place of the rows from where it differs. To find out, the checkpointer keeps the
state that it last saved or loaded, and compares by identity, if the database still says the same
``revision``; otherwise the seals of the rows are compared. One transaction does all of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from errno import EISDIR
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Message
from locus.core.state import AgentState, StateFormatError, ToolExecution
from locus.memory.checkpointers.base import BaseCheckpointer, check_state, check_thread_id
from locus.memory.checkpointers.file_names import check_path, file_name, make_directory
from locus.memory.checkpointers.incremental import NO_SEAL, SEAL_SIZE, same_beginning, seals
from locus.memory.checkpointers.sqlite_connections import Connections
from locus.memory.checkpointers.sqlite_schema import connect, is_current
from locus.memory.checkpointers.thread_locks import claim_file
from locus.memory.errors import CheckpointError, CheckpointVersionError

_MESSAGES: Final = 0
_EXECUTIONS: Final = 1
_MAX_KNOWN: Final = 128
_LONGEST: Final = 1_000_000  # SQLite counts milliseconds in 32 bits


@attrs.frozen
class _Row:
    """What stands in the database about a thread."""

    id: int
    revision: bytes
    state: bytes
    messages: int
    executions: int
    seal: bytes


@attrs.frozen(eq=False)
class _Known:
    """A state that was in the database when it said ``revision``."""

    revision: bytes
    state: AgentState


class SQLiteCheckpointer(BaseCheckpointer):
    """Keeps checkpoints in an SQLite database: the one to take where runs should outlive a process.

    May be used from many threads, tasks and processes at once, and in a forked child; pickled, it
    connects anew where it is unpickled. The database may hold other tables too. It has to be on a
    disk of this machine: network file systems do not lock well enough.

    :param path: the database file; it is made when first used. Lock files are in a directory
        beside it, whose name ends in ``-claims``.
    :param timeout: seconds to wait while others write.
    :raises ConfigurationError: there is no such path, or the timeout is no number from 0.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 30.0) -> None:
        if os.fspath(path) in ("", ":memory:"):
            raise ConfigurationError(
                "SQLiteCheckpointer needs a file: a database in memory would be another one for "
                "each connection. Use MemoryCheckpointer()"
            )
        if (
            not isinstance(timeout, (int, float))
            or isinstance(timeout, bool)
            or not 0 <= timeout <= _LONGEST
        ):
            raise ConfigurationError(
                f"timeout is a number of seconds from 0 to {_LONGEST:,}, not {timeout!r}"
            )
        self.path = check_path(path)
        self.timeout = timeout
        self._connections = Connections(self.path, partial(_open, self.path, timeout), is_current)
        self._known: dict[str, _Known] = {}

    def save(self, thread_id: str, state: AgentState) -> None:
        from locus.core.state_json import write_state

        key = _key(check_thread_id(thread_id))
        rest = write_state(check_state(state).evolve(messages=(), tool_executions=()))
        revision = os.urandom(16)
        with self._connection("saved", thread_id, write=True) as db:
            row = _row(db, key)
            known = self._what_is_known(thread_id, row)
            number = _insert(db, key) if row is None else row.id
            last = _put(db, number, _MESSAGES, state.messages, known.messages)
            last += _put(db, number, _EXECUTIONS, state.tool_executions, known.tool_executions)
            counts = len(state.messages), len(state.tool_executions)
            db.execute(
                "UPDATE checkpoints SET revision = ?, state = ?, messages = ?, executions = ?, "
                "seal = ? WHERE id = ?",
                (revision, rest.decode(), *counts, _seal(key, rest, *counts, last), number),
            )
        self._remember(thread_id, revision, state)

    def load(self, thread_id: str) -> AgentState | None:
        from locus.core.state_json import read_items, read_state

        key = _key(check_thread_id(thread_id))
        with self._connection("read", thread_id) as db:
            row = _row(db, key)
            if row is None:
                return None
            messages = _bodies(db, row.id, _MESSAGES)
            executions = _bodies(db, row.id, _EXECUTIONS)
        last = (seals(messages) or [NO_SEAL])[-1] + (seals(executions) or [NO_SEAL])[-1]
        counts = len(messages), len(executions)
        if counts != (row.messages, row.executions):
            raise self._damaged("rows are missing", thread_id)
        if row.seal != _seal(key, row.state, *counts, last):
            raise self._damaged("its checksum is another", thread_id)
        try:
            state = read_state(row.state).evolve(
                messages=read_items(Message, messages),
                tool_executions=read_items(ToolExecution, executions),
            )
        except StateFormatError as why:
            if why.newer:
                raise CheckpointVersionError(f"{self.path}: {why}", thread_id=thread_id) from why
            raise self._damaged(str(why), thread_id) from why
        self._remember(thread_id, row.revision, state)
        return state

    def delete(self, thread_id: str) -> None:
        key = _key(check_thread_id(thread_id))
        with self._connection("deleted", thread_id, write=True) as db:
            row = _row(db, key)
            if row is not None:
                db.execute("DELETE FROM checkpoint_items WHERE checkpoint = ?", (row.id,))
                db.execute("DELETE FROM checkpoints WHERE id = ?", (row.id,))
        self._known.pop(thread_id, None)

    def threads(self) -> tuple[str, ...]:
        with self._connection("listed") as db:
            rows = db.execute("SELECT thread_id FROM checkpoints").fetchall()
        return tuple(sorted(name.decode("utf-8", "surrogatepass") for (name,) in rows))

    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        check_thread_id(thread_id)
        return self._claim(thread_id)

    @contextmanager
    def _claim(self, thread_id: str) -> Iterator[None]:
        # Where the file itself is: whoever comes by a symbolic link wants the same claim.
        directory = Path(f"{os.path.realpath(self.path)}-claims")
        try:
            _check_file(self.path)
            make_directory(directory)
        except OSError as why:
            raise CheckpointError(
                f"thread {thread_id!r} cannot be claimed: {why}", thread_id=thread_id
            ) from why
        with claim_file(directory / f"{file_name(thread_id)}.lock", thread_id):
            yield

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        self._connections.close()

    # What the last time has left behind.

    def _what_is_known(self, thread_id: str, row: _Row | None) -> AgentState:
        """The state in the database, or one with nothing in it where that is not known."""
        known = self._known.get(thread_id)
        if known is None or row is None or known.revision != row.revision:
            return AgentState()
        return known.state

    def _remember(self, thread_id: str, revision: bytes, state: AgentState) -> None:
        # Without a lock, which a forked child might never get: it is only a help, and never trusted
        # without its revision.
        self._known.pop(thread_id, None)
        self._known[thread_id] = _Known(revision, state)
        for oldest in list(self._known)[:-_MAX_KNOWN]:
            self._known.pop(oldest, None)

    # The database.

    @contextmanager
    def _connection(
        self, done: str, thread_id: str | None = None, *, write: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction; what SQLite says against it is a CheckpointError."""
        try:
            with self._connections.taken(write=write) as db:
                yield db
        except (sqlite3.Error, OSError) as why:
            what = "the threads" if thread_id is None else f"thread {thread_id!r}"
            raise CheckpointError(
                f"{what} cannot be {done} in {self.path}: {why}", thread_id=thread_id
            ) from why

    def _damaged(self, how: str, thread_id: str) -> CheckpointError:
        return CheckpointError(
            f"the checkpoint of thread {thread_id!r} in {self.path} is damaged: {how}. Restore the "
            "database from a copy, or delete the thread to begin it anew",
            thread_id=thread_id,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), timeout=self.timeout), (str(self.path),)

    def __repr__(self) -> str:
        return f"SQLiteCheckpointer({str(self.path)!r})"


def _open(path: Path, timeout: float) -> sqlite3.Connection:
    _check_file(path)
    make_directory(path.parent)
    return connect(str(path), timeout)


def _check_file(path: Path) -> None:
    if path.is_dir():  # of which SQLite says that the disk has failed
        raise IsADirectoryError(EISDIR, "it is a directory; give the path of a file", str(path))


def _key(thread_id: str) -> str | bytes:
    """The thread's name as SQLite can have it: text, but for half a surrogate pair."""
    encoded = thread_id.encode("utf-8", "surrogatepass")
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return encoded
    return thread_id


def _row(db: sqlite3.Connection, key: str | bytes) -> _Row | None:
    found = db.execute(
        "SELECT id, revision, state, messages, executions, seal FROM checkpoints "
        "WHERE thread_id = ?",
        (key,),
    ).fetchone()
    return found and _Row(*found)


def _insert(db: sqlite3.Connection, key: str | bytes) -> int:
    done = db.execute(
        "INSERT INTO checkpoints (thread_id, revision, state, messages, executions, seal) "
        "VALUES (?, x'', '', 0, 0, x'')",
        (key,),
    )
    assert done.lastrowid is not None  # it has inserted
    return done.lastrowid


def _put(
    db: sqlite3.Connection,
    checkpoint: int,
    kind: int,
    items: Sequence[Message] | Sequence[ToolExecution],
    known: Sequence[Message] | Sequence[ToolExecution],
) -> bytes:
    """Have the rows say ``items``, writing those that differ. Gives the last one's seal.

    :param known: what the rows say; empty where that is not known.
    """
    from locus.core.state_json import write_item

    place = (checkpoint, kind)
    kept = len(known) if same_beginning(known, items) == len(known) else 0
    before = _seal_at(db, place, kept - 1)
    bodies = [write_item(item) for item in items[kept:]]
    new = seals(bodies, before)
    if kept == 0:
        old = db.execute(
            "SELECT seal FROM checkpoint_items WHERE checkpoint = ? AND kind = ? ORDER BY position",
            place,
        ).fetchall()
        for (stored,), wanted in zip(old, new, strict=False):
            if stored != wanted:
                break
            kept += 1
        if kept < len(old):
            db.execute(
                "DELETE FROM checkpoint_items WHERE checkpoint = ? AND kind = ? AND position >= ?",
                (*place, kept),
            )
    added = len(items) - kept
    if added:
        db.executemany(
            "INSERT INTO checkpoint_items VALUES (?, ?, ?, ?, ?)",
            (
                (*place, kept + at, body.decode(), seal)
                for at, (body, seal) in enumerate(zip(bodies[-added:], new[-added:], strict=True))
            ),
        )
    return new[-1] if new else before


def _seal_at(db: sqlite3.Connection, place: tuple[int, int], position: int) -> bytes:
    found = db.execute(
        "SELECT seal FROM checkpoint_items WHERE checkpoint = ? AND kind = ? AND position = ?",
        (*place, position),
    ).fetchone()
    return found[0] if found else NO_SEAL


def _bodies(db: sqlite3.Connection, checkpoint: int, kind: int) -> list[bytes]:
    rows = db.execute(
        "SELECT body FROM checkpoint_items WHERE checkpoint = ? AND kind = ? ORDER BY position",
        (checkpoint, kind),
    )
    return [body for (body,) in rows]


def _seal(key: str | bytes, state: bytes, messages: int, executions: int, last: bytes) -> bytes:
    """The seal of a whole checkpoint; ``last`` are those of its two sequences."""
    name = key.encode() if isinstance(key, str) else key
    parts = (
        last,
        *(number.to_bytes(8) for number in (messages, executions, len(name))),
        name,
        state,
    )
    return blake2b(b"".join(parts), digest_size=SEAL_SIZE).digest()
