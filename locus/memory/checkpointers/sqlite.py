"""``SQLiteCheckpointer``: checkpoints in an SQLite database; a save writes only the new items.

Each message and each tool execution is a row. If the new state begins with the items of the saved
one, rows are added; otherwise the rows from the first difference on are replaced. To compare, the
checkpointer caches the state that it last saved or loaded, and compares its items by identity,
provided that the database still has the same ``revision``; otherwise it compares the digests of the
rows. Each save is one transaction. The columns named ``seal`` contain the digests.
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

from locus.core.errors import ConfigurationError, StateFormatError
from locus.core.messages import Message
from locus.core.state import AgentState, ToolExecution
from locus.memory.checkpointers.base import BaseCheckpointer, validate_state, validate_thread_id
from locus.memory.checkpointers.file_names_and_directories import (
    make_durable_directory,
    make_thread_file_name,
)
from locus.memory.checkpointers.interprocess_thread_locks import lock_file
from locus.memory.checkpointers.item_digests import (
    DIGEST_SIZE,
    EMPTY_DIGEST,
    compute_chained_digests,
    count_identical_leading_items,
)
from locus.memory.checkpointers.sqlite_pool import ConnectionPool
from locus.memory.checkpointers.sqlite_schema import connect_and_migrate_schema, is_schema_current
from locus.memory.checkpointers.state_cache import StateCache
from locus.memory.errors import CheckpointError, CheckpointVersionError
from locus.memory.paths import create_private_file, to_absolute_path

_MESSAGES: Final = 0  # a value of the column `kind`
_EXECUTIONS: Final = 1
_MAX_TIMEOUT: Final = 1_000_000  # SQLite counts milliseconds in 32 bits


@attrs.frozen
class _CheckpointRow:
    """The row of a thread in the table ``checkpoints``."""

    id: int
    revision: bytes
    state: bytes
    messages: int
    executions: int
    digest: bytes


class SQLiteCheckpointer(BaseCheckpointer):
    """Saves checkpoints in an SQLite database: the best choice if runs outlive a process.

    Many threads, tasks and processes may use it at the same time, also after a fork; an unpickled
    copy opens its own connections. The database may have other tables. It has to be on a local
    disk: the locks of network file systems are not reliable.

    :param path: the database file; the first use creates it, for this user alone. ``~`` is the home
        directory. Lock files are in a directory next to
        it, whose name ends in ``-locks``.
    :param timeout: seconds to wait for other writers.
    :raises ConfigurationError: if the path is invalid, or the timeout is not a number from 0.
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
            or not 0 <= timeout <= _MAX_TIMEOUT
        ):
            raise ConfigurationError(
                f"timeout is a number of seconds from 0 to {_MAX_TIMEOUT:,}, not {timeout!r}"
            )
        self.path = to_absolute_path(path)
        self.timeout = timeout
        self._pool = ConnectionPool(
            self.path, partial(_open_database, self.path, timeout), is_schema_current
        )
        self._cache = StateCache()

    def save(self, thread_id: str, state: AgentState) -> None:
        key = _encode_thread_id(validate_thread_id(thread_id))
        state_json = validate_state(state).evolve(messages=(), tool_executions=()).to_json()
        revision = os.urandom(16)
        with self._open_transaction("saved", thread_id, write=True) as db:
            row = _find_checkpoint_row(db, key)
            cached = self._cache.get(thread_id, None if row is None else row.revision)
            if cached is None:
                cached = AgentState()
            row_id = _insert_empty_checkpoint(db, key) if row is None else row.id
            item_digests = _write_changed_items(
                db, row_id, _MESSAGES, state.messages, cached.messages
            )
            item_digests += _write_changed_items(
                db, row_id, _EXECUTIONS, state.tool_executions, cached.tool_executions
            )
            counts = len(state.messages), len(state.tool_executions)
            digest = _compute_checkpoint_digest(key, state_json, *counts, item_digests)
            db.execute(
                "UPDATE checkpoints SET revision = ?, state = ?, messages = ?, executions = ?, "
                "seal = ? WHERE id = ?",
                (revision, state_json.decode(), *counts, digest, row_id),
            )
        self._cache.put(thread_id, revision, state)

    def load(self, thread_id: str) -> AgentState | None:
        from locus.core.state_json import decode_items

        key = _encode_thread_id(validate_thread_id(thread_id))
        with self._open_transaction("read", thread_id) as db:
            row = _find_checkpoint_row(db, key)
            if row is None:
                return None
            messages = _select_item_bodies(db, row.id, _MESSAGES)
            executions = _select_item_bodies(db, row.id, _EXECUTIONS)
        item_digests = _compute_items_digest(messages) + _compute_items_digest(executions)
        counts = len(messages), len(executions)
        if counts != (row.messages, row.executions):
            raise self._make_damaged_error("rows are missing", thread_id)
        if row.digest != _compute_checkpoint_digest(key, row.state, *counts, item_digests):
            raise self._make_damaged_error("its checksum is another", thread_id)
        try:
            state = AgentState.from_json(row.state).evolve(
                messages=decode_items(messages, Message),
                tool_executions=decode_items(executions, ToolExecution),
            )
        except StateFormatError as exc:
            if exc.newer:
                raise CheckpointVersionError(f"{self.path}: {exc}", thread_id=thread_id) from exc
            raise self._make_damaged_error(str(exc), thread_id) from exc
        self._cache.put(thread_id, row.revision, state)
        return state

    def delete(self, thread_id: str) -> None:
        key = _encode_thread_id(validate_thread_id(thread_id))
        with self._open_transaction("deleted", thread_id, write=True) as db:
            row = _find_checkpoint_row(db, key)
            if row is not None:
                db.execute("DELETE FROM checkpoint_items WHERE checkpoint = ?", (row.id,))
                db.execute("DELETE FROM checkpoints WHERE id = ?", (row.id,))
        self._cache.discard(thread_id)

    def threads(self) -> tuple[str, ...]:
        with self._open_transaction("listed") as db:
            rows = db.execute("SELECT thread_id FROM checkpoints").fetchall()
        return tuple(sorted(key.decode("utf-8", "surrogatepass") for (key,) in rows))

    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        validate_thread_id(thread_id)
        return self._lock_thread_file(thread_id)

    @contextmanager
    def _lock_thread_file(self, thread_id: str) -> Iterator[None]:
        """Lock the lock file of a thread for the ``with`` block."""
        # Next to the real file, so that a path with a symbolic link has the same locks.
        directory = Path(f"{os.path.realpath(self.path)}-locks")
        try:
            _check_not_directory(self.path)
            make_durable_directory(directory)
        except OSError as exc:
            raise CheckpointError(
                f"thread {thread_id!r} cannot be locked: {exc}", thread_id=thread_id
            ) from exc
        with lock_file(directory / f"{make_thread_file_name(thread_id)}.lock", thread_id):
            yield

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self._pool.close()

    # The database.

    @contextmanager
    def _open_transaction(
        self, action: str, thread_id: str | None = None, *, write: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """Open a transaction for the ``with`` block; raise errors of SQLite as a CheckpointError.

        :param action: completes the error message, such as "saved".
        """
        try:
            with self._pool.open_transaction(write=write) as db:
                yield db
        except (sqlite3.Error, OSError) as exc:
            subject = "the threads" if thread_id is None else f"thread {thread_id!r}"
            raise CheckpointError(
                f"{subject} cannot be {action} in {self.path}: {exc}", thread_id=thread_id
            ) from exc

    def _make_damaged_error(self, reason: str, thread_id: str) -> CheckpointError:
        return CheckpointError(
            f"the checkpoint of thread {thread_id!r} in {self.path} is damaged: {reason}. Restore "
            "the database from a copy, or delete the thread to begin it anew",
            thread_id=thread_id,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), timeout=self.timeout), (str(self.path),)

    def __repr__(self) -> str:
        return f"SQLiteCheckpointer({str(self.path)!r})"


def _open_database(path: Path, timeout: float) -> sqlite3.Connection:
    """Open a connection to the database; create its directory and its tables."""
    _check_not_directory(path)
    make_durable_directory(path.parent)
    create_private_file(path)
    return connect_and_migrate_schema(str(path), timeout)


def _check_not_directory(path: Path) -> None:
    """Raise an ``IsADirectoryError`` if the path is a directory."""
    if path.is_dir():  # SQLite would report a failure of the disk
        raise IsADirectoryError(EISDIR, "it is a directory; give the path of a file", str(path))


def _encode_thread_id(thread_id: str) -> str | bytes:
    """Encode a thread's id as SQLite can store it: text, or bytes if it is not valid Unicode."""
    encoded = thread_id.encode("utf-8", "surrogatepass")
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return encoded
    return thread_id


def _find_checkpoint_row(db: sqlite3.Connection, key: str | bytes) -> _CheckpointRow | None:
    """Return the row of a thread, or None."""
    row = db.execute(
        "SELECT id, revision, state, messages, executions, seal FROM checkpoints "
        "WHERE thread_id = ?",
        (key,),
    ).fetchone()
    return row and _CheckpointRow(*row)


def _insert_empty_checkpoint(db: sqlite3.Connection, key: str | bytes) -> int:
    """Insert a row for a thread and return its id; its content is written later."""
    cursor = db.execute(
        "INSERT INTO checkpoints (thread_id, revision, state, messages, executions, seal) "
        "VALUES (?, x'', '', 0, 0, x'')",
        (key,),
    )
    assert cursor.lastrowid is not None  # set by INSERT
    return cursor.lastrowid


def _write_changed_items(
    db: sqlite3.Connection,
    checkpoint: int,
    item_type: int,
    items: Sequence[Message] | Sequence[ToolExecution],
    cached: Sequence[Message] | Sequence[ToolExecution],
) -> bytes:
    """Write the rows that differ from ``items``, and return the digest of all items.

    :param checkpoint: the id of the row in ``checkpoints``.
    :param item_type: ``_MESSAGES`` or ``_EXECUTIONS``.
    :param cached: the items in the database; empty if they are not cached.
    """
    from locus.core.state_json import encode_item

    sequence = (checkpoint, item_type)
    unchanged = len(cached) if count_identical_leading_items(cached, items) == len(cached) else 0
    previous_digest = _select_item_digest(db, sequence, unchanged - 1)
    bodies = [encode_item(item) for item in items[unchanged:]]
    digests = compute_chained_digests(bodies, previous_digest)
    if unchanged == 0:
        stored_digests = db.execute(
            "SELECT seal FROM checkpoint_items WHERE checkpoint = ? AND kind = ? ORDER BY position",
            sequence,
        ).fetchall()
        for (stored_digest,), digest in zip(stored_digests, digests, strict=False):
            if stored_digest != digest:
                break
            unchanged += 1
        if unchanged < len(stored_digests):
            db.execute(
                "DELETE FROM checkpoint_items WHERE checkpoint = ? AND kind = ? AND position >= ?",
                (*sequence, unchanged),
            )
    added = len(items) - unchanged
    if added:
        new_rows = zip(bodies[-added:], digests[-added:], strict=True)
        db.executemany(
            "INSERT INTO checkpoint_items VALUES (?, ?, ?, ?, ?)",
            (
                (*sequence, position, body.decode(), digest)
                for position, (body, digest) in enumerate(new_rows, start=unchanged)
            ),
        )
    return digests[-1] if digests else previous_digest


def _select_item_digest(db: sqlite3.Connection, sequence: tuple[int, int], position: int) -> bytes:
    """Return the stored digest of the items up to a position.

    :param sequence: the id of the checkpoint, and the type of the items.
    """
    row = db.execute(
        "SELECT seal FROM checkpoint_items WHERE checkpoint = ? AND kind = ? AND position = ?",
        (*sequence, position),
    ).fetchone()
    return row[0] if row else EMPTY_DIGEST


def _select_item_bodies(db: sqlite3.Connection, checkpoint: int, item_type: int) -> list[bytes]:
    """Return the JSON of the items of a checkpoint, in order."""
    rows = db.execute(
        "SELECT body FROM checkpoint_items WHERE checkpoint = ? AND kind = ? ORDER BY position",
        (checkpoint, item_type),
    )
    return [body for (body,) in rows]


def _compute_items_digest(bodies: Sequence[bytes]) -> bytes:
    """Compute the digest of a sequence of items."""
    return compute_chained_digests(bodies)[-1] if bodies else EMPTY_DIGEST


def _compute_checkpoint_digest(
    key: str | bytes, state_json: bytes, messages: int, executions: int, item_digests: bytes
) -> bytes:
    """Compute the digest of a complete checkpoint.

    :param messages: the number of messages.
    :param executions: the number of executions.
    :param item_digests: the digests of the messages and of the executions, joined.
    """
    thread_id = key.encode() if isinstance(key, str) else key
    parts = (
        item_digests,
        *(number.to_bytes(8) for number in (messages, executions, len(thread_id))),
        thread_id,
        state_json,
    )
    return blake2b(b"".join(parts), digest_size=DIGEST_SIZE).digest()
