"""``SQLiteStore``: facts in an SQLite file, shared by threads and processes.

Each call opens the file, runs one statement, and closes the file: 0.3 ms to read, about 1 ms to
write. So the store has no open connection, and works after a fork, unpickled, in any thread and in
any event loop. With SQLite's write-ahead log readers do not wait for a writer; a writer waits for
another writer.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.memory.errors import MemoryStoreError
from locus.memory.paths import create_private_file, to_absolute_path
from locus.memory.sqlite_readonly_fallback import open_database_with_readonly_fallback
from locus.memory.stores.base import MemoryItem, MemoryStore, Namespace, normalize_namespace_and_key
from locus.memory.stores.validation import decode_json, encode_json, normalize_namespace

BUSY_SECONDS: Final = 30.0
"""How long a call waits for another writer."""

_RETRY_SECONDS: Final = 0.005

# The version is part of the table's name: a later format is another table. Other tables in the file
# (a checkpointer's) are ignored. `id` is the order of the keys, `turn` that of the put() calls.
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS memory_v1 (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    turn INTEGER NOT NULL UNIQUE,
    UNIQUE (namespace, key)
)
"""
_PUT: Final = """
INSERT INTO memory_v1 (namespace, key, value, created, updated, turn)
VALUES (:namespace, :key, :value, :now, :now, (SELECT coalesce(max(turn), 0) + 1 FROM memory_v1))
ON CONFLICT (namespace, key)
DO UPDATE SET value = excluded.value, updated = excluded.updated, turn = excluded.turn
"""
_COLUMNS: Final = "SELECT key, value, created, updated FROM memory_v1 WHERE namespace = ?"


def _to_absolute_path(value: str | os.PathLike[str]) -> Path:
    """Check the path of the file, and convert it to an absolute one."""
    text = os.fspath(value)
    if not isinstance(text, str) or not text or text == ":memory:":
        raise ConfigurationError(
            f"SQLiteStore takes the path of a file, not {value!r}; to keep facts in memory alone, "
            "use InMemoryStore()"
        )
    return to_absolute_path(text)


@attrs.frozen
class SQLiteStore(MemoryStore):
    """A store in a file, which is created when the store is first used.

    Many threads and processes may use the file at the same time, each with its own store object or
    with a common one, before and after a fork. The file may have other tables.

    :param path: the file, which only this user may read if the store creates it. Its directory has
        to exist. ``~`` is the home directory.
    :raises ConfigurationError: at the first use, if the file cannot be opened or is not a database.
    :raises MemoryStoreError: at any use, if the file is damaged or locked by others, or the disk
        reports an error.
    """

    path: Path = attrs.field(converter=_to_absolute_path)

    def put(self, namespace: Namespace, key: str, value: Any) -> None:
        """Store a JSON value; it replaces the key's previous one. On disk when it returns."""
        path, key = normalize_namespace_and_key(namespace, key)
        fact = {
            "namespace": _encode_namespace(path),
            "key": key,
            "value": encode_json(value),
            "now": time.time(),
        }
        with self._open_connection() as connection:
            connection.execute(_PUT, fact)

    def item(self, namespace: Namespace, key: str) -> MemoryItem | None:
        """Return the fact with its times, or None if there is none."""
        path, key = normalize_namespace_and_key(namespace, key)
        with self._open_connection() as connection:
            row = connection.execute(
                f"{_COLUMNS} AND key = ?", (_encode_namespace(path), key)
            ).fetchone()
        return None if row is None else self._make_memory_item(path, row)

    def delete(self, namespace: Namespace, key: str) -> bool:
        """Delete a fact, and return whether there was one."""
        path, key = normalize_namespace_and_key(namespace, key)
        statement = "DELETE FROM memory_v1 WHERE namespace = ? AND key = ?"
        with self._open_connection() as connection:
            return connection.execute(statement, (_encode_namespace(path), key)).rowcount > 0

    def namespaces(self) -> tuple[tuple[str, ...], ...]:
        """Return all namespaces that have facts, sorted."""
        with self._open_connection() as connection:
            rows = connection.execute("SELECT DISTINCT namespace FROM memory_v1").fetchall()
        try:
            return tuple(sorted(normalize_namespace(tuple(json.loads(name))) for (name,) in rows))
        except (ValueError, TypeError) as exc:
            raise self._make_damaged_error("a namespace", exc) from exc

    def items(self, namespace: Namespace, *, latest_first: bool = False) -> Iterator[MemoryItem]:
        """Iterate over the facts that a namespace has at the time of the call."""
        path = normalize_namespace(namespace)
        order = "turn DESC" if latest_first else "id"
        with self._open_connection() as connection:
            rows = connection.execute(
                f"{_COLUMNS} ORDER BY {order}", (_encode_namespace(path),)
            ).fetchall()
        return (self._make_memory_item(path, row) for row in rows)

    def _make_memory_item(
        self, path: tuple[str, ...], row: tuple[str, str, float, float]
    ) -> MemoryItem:
        key, value, created, updated = row
        try:
            return MemoryItem(
                path,
                key,
                decode_json(value),
                datetime.fromtimestamp(created, UTC),
                datetime.fromtimestamp(updated, UTC),
            )
        except (ValueError, TypeError, OverflowError, OSError, RecursionError) as exc:
            raise self._make_damaged_error(f"the fact {key!r}", exc) from exc

    def _make_damaged_error(self, subject: str, exc: Exception) -> MemoryStoreError:
        return MemoryStoreError(
            f"{subject} in {str(self.path)!r} is damaged ({exc}): restore the file from a copy, or "
            "delete what is damaged"
        )

    @contextmanager
    def _open_connection(self) -> Iterator[sqlite3.Connection]:
        """Open a connection for the ``with`` block; convert errors to ``MemoryStoreError``."""
        try:
            connection = self._connect_with_readonly_fallback()
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as exc:
            raise MemoryStoreError(f"{str(self.path)!r} cannot be used: {exc}") from exc

    def _connect_with_readonly_fallback(self) -> sqlite3.Connection:
        """Connect, and create the table. Each statement is a transaction of its own.

        The connection is read-only if the process may not write the file.
        """
        return open_database_with_readonly_fallback(
            str(self.path), lambda address, _: self._connect_to_address(address)
        )

    def _connect_to_address(self, address: str) -> sqlite3.Connection:
        """Connect to a path or a URI, and create the table."""
        uri = address.startswith("file:")  # a path is absolute, so it never begins like this
        if not uri:
            create_private_file(self.path)
        try:
            connection = sqlite3.connect(
                address, timeout=BUSY_SECONDS, isolation_level=None, uri=uri
            )
        except sqlite3.OperationalError as exc:
            raise ConfigurationError(
                f"{str(self.path)!r} cannot be opened ({exc}): is its directory there, and may it "
                "be written?"
            ) from exc
        try:
            _initialize_database(connection)
        except BaseException as exc:
            connection.close()
            if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise ConfigurationError(
                    f"{str(self.path)!r} is not an SQLite file: {exc}"
                ) from exc
            raise
        return connection


def _initialize_database(connection: sqlite3.Connection) -> None:
    """Create the table if there is none, and switch the file to write-ahead logging.

    SQLite's timeout does not apply to the change of the journal mode: if several processes create
    the file at the same time, SQLite reports at once that it is busy. So this tries again.
    """
    connection.execute("PRAGMA synchronous = FULL")  # stored data survives a power failure
    find_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'memory_v1'"
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            if connection.execute(find_table).fetchone() is None:
                connection.execute("PRAGMA journal_mode = WAL").close()
                connection.execute(_TABLE)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _encode_namespace(path: tuple[str, ...]) -> str:
    """Encode a namespace as the text of its database column."""
    return json.dumps(path, ensure_ascii=False)
