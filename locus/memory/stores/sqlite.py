"""Facts in an SQLite file, shared by threads and processes.

Each call opens the file, does its one statement, and closes it: 0.3 ms to read, about 1 ms to
write. So the store holds nothing that a fork, a pickle, a thread or an event loop could break, and
is a value: its path. SQLite's write-ahead log lets readers go on while somebody writes, and a
writer waits for another.
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
from locus.memory.sqlite_open import opened
from locus.memory.stores.base import MemoryItem, MemoryStore, Namespace, place
from locus.memory.stores.validation import from_json, namespace_path, to_json

BUSY_SECONDS: Final = 30.0
"""How long a call waits for another writer."""

_AGAIN_SECONDS: Final = 0.005

# The version stands in the name: a later format is another table, and other tables in the file
# (a checkpointer's) are none of ours. `id` is the order of the keys, `turn` that of the puts.
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


def _path(value: str | os.PathLike[str]) -> Path:
    text = os.fspath(value)
    if not isinstance(text, str) or not text or text == ":memory:":
        raise ConfigurationError(
            f"SQLiteStore takes the path of a file, not {value!r}; what is kept in memory alone is "
            "an InMemoryStore()"
        )
    if "\0" in text:
        raise ConfigurationError(f"a path cannot hold a null character: {text!r}")
    return Path(text).absolute()


@attrs.frozen
class SQLiteStore(MemoryStore):
    """A store in a file, made when first used.

    Many threads and processes may use it at the same time, each with a store of its own or with
    the same one, before and after a fork. The file may hold other tables.

    :param path: the file. Its directory has to be there.
    :raises ConfigurationError: when first used: the file cannot be opened, or is something else.
    :raises MemoryStoreError: when used: the file is damaged, others keep it busy, the disk refuses.
    """

    path: Path = attrs.field(converter=_path)

    def put(self, namespace: Namespace, key: str, value: Any) -> None:
        """Store a JSON value, in the place of the key's last one. On disk when it returns."""
        path, key = place(namespace, key)
        fact = {"namespace": _name(path), "key": key, "value": to_json(value), "now": time.time()}
        with self._opened() as connection:
            connection.execute(_PUT, fact)

    def item(self, namespace: Namespace, key: str) -> MemoryItem | None:
        """The fact with its times, or None where there is none."""
        path, key = place(namespace, key)
        with self._opened() as connection:
            row = connection.execute(f"{_COLUMNS} AND key = ?", (_name(path), key)).fetchone()
        return None if row is None else self._item(path, row)

    def delete(self, namespace: Namespace, key: str) -> bool:
        """Forget a fact. Gives whether there was one."""
        path, key = place(namespace, key)
        forget = "DELETE FROM memory_v1 WHERE namespace = ? AND key = ?"
        with self._opened() as connection:
            return connection.execute(forget, (_name(path), key)).rowcount > 0

    def namespaces(self) -> tuple[tuple[str, ...], ...]:
        """Every namespace that has facts, sorted."""
        with self._opened() as connection:
            rows = connection.execute("SELECT DISTINCT namespace FROM memory_v1").fetchall()
        try:
            return tuple(sorted(namespace_path(tuple(json.loads(name))) for (name,) in rows))
        except (ValueError, TypeError) as why:
            raise self._damaged("a namespace", why) from why

    def items(self, namespace: Namespace, *, latest_first: bool = False) -> Iterator[MemoryItem]:
        """The facts of a namespace as they are now."""
        path = namespace_path(namespace)
        order = "turn DESC" if latest_first else "id"
        with self._opened() as connection:
            rows = connection.execute(f"{_COLUMNS} ORDER BY {order}", (_name(path),)).fetchall()
        return (self._item(path, row) for row in rows)

    def _item(self, path: tuple[str, ...], row: tuple[str, str, float, float]) -> MemoryItem:
        key, value, created, updated = row
        try:
            return MemoryItem(
                path,
                key,
                from_json(value),
                datetime.fromtimestamp(created, UTC),
                datetime.fromtimestamp(updated, UTC),
            )
        except (ValueError, TypeError, OverflowError, OSError, RecursionError) as why:
            raise self._damaged(f"the fact {key!r}", why) from why

    def _damaged(self, what: str, why: Exception) -> MemoryStoreError:
        return MemoryStoreError(
            f"{what} in {str(self.path)!r} is damaged ({why}): restore the file from a copy, or "
            "delete what is damaged"
        )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connect()
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as why:
            raise MemoryStoreError(f"{str(self.path)!r} cannot be used: {why}") from why

    def _connect(self) -> sqlite3.Connection:
        """A connection in which each statement is a transaction, the table being there.

        Where the file may be read and not written, so may what the connection gives.
        """
        return opened(str(self.path), lambda address, _: self._connection_to(address))

    def _connection_to(self, address: str) -> sqlite3.Connection:
        uri = address.startswith("file:")  # a path is absolute, and so begins otherwise
        try:
            connection = sqlite3.connect(
                address, timeout=BUSY_SECONDS, isolation_level=None, uri=uri
            )
        except sqlite3.OperationalError as why:
            raise ConfigurationError(
                f"{str(self.path)!r} cannot be opened ({why}): is its directory there, and may it "
                "be written?"
            ) from why
        try:
            _prepare(connection)
        except BaseException as why:
            connection.close()
            if getattr(why, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise ConfigurationError(f"{str(self.path)!r} is no SQLite file: {why}") from why
            raise
        return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """See to it that the table is there, and the file in its write-ahead mode.

    SQLite's own waiting does not cover the change of modes, during which the first users of a new
    file meet: it says at once that the file is busy.
    """
    connection.execute("PRAGMA synchronous = FULL")  # a put survives a power cut
    there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'memory_v1'"
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            if connection.execute(there).fetchone() is None:
                connection.execute("PRAGMA journal_mode = WAL").close()
                connection.execute(_TABLE)
        except sqlite3.OperationalError as why:
            if why.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def _name(path: tuple[str, ...]) -> str:
    """The namespace as a column holds it."""
    return json.dumps(path, ensure_ascii=False)
