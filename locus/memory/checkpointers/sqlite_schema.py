"""The tables of the SQLite checkpointer, and their migration from older versions.

The names begin with ``checkpoint``, and the version is stored in a table of its own instead of
``PRAGMA user_version``: the file may have tables of an application and of a memory store as well.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from locus.memory.checkpointers.sqlite_pool import ImmutableConnection
from locus.memory.errors import CheckpointError, CheckpointVersionError
from locus.memory.sqlite_readonly_fallback import open_database_with_readonly_fallback

# Item n - 1 migrates version n - 1 to version n. Append new items; never change an existing one.
MIGRATIONS: Final[list[tuple[str, ...]]] = [
    (
        "CREATE TABLE checkpoint_format (version INTEGER NOT NULL)",
        "INSERT INTO checkpoint_format VALUES (1)",
        # One row for each thread. `state` is the state without its messages and executions;
        # `messages` and `executions` are their numbers. `revision` changes with each save. `seal`
        # is the digest.
        """CREATE TABLE checkpoints (
            id INTEGER PRIMARY KEY,
            thread_id TEXT NOT NULL UNIQUE,
            revision BLOB NOT NULL,
            state TEXT NOT NULL,
            messages INTEGER NOT NULL,
            executions INTEGER NOT NULL,
            seal BLOB NOT NULL
        )""",
        # One row for each message (kind 0) or execution (kind 1).
        """CREATE TABLE checkpoint_items (
            checkpoint INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            position INTEGER NOT NULL,
            body TEXT NOT NULL,
            seal BLOB NOT NULL,
            UNIQUE (checkpoint, kind, position)
        )""",
    ),
]


def connect_and_migrate_schema(path: str, timeout: float) -> sqlite3.Connection:
    """Connect to the database at ``path``, and create its tables or migrate them.

    The connection is read-only if the process may not write the file.

    :param timeout: seconds to wait for other writers.
    """

    def open_connection(address: str, immutable: bool) -> sqlite3.Connection:
        if address == path:
            return _open_writable_and_migrate(path, timeout)
        factory = ImmutableConnection if immutable else sqlite3.Connection
        return _open_uri_and_migrate(address, path, timeout, factory)

    return open_database_with_readonly_fallback(path, open_connection)


def _open_uri_and_migrate(
    uri: str, path: str, timeout: float, factory: type[sqlite3.Connection]
) -> sqlite3.Connection:
    """Open a connection to a URI, and migrate the tables if they are older.

    :param uri: makes the connection read-only.
    :param factory: the class of the connection.
    """
    connection = sqlite3.connect(
        uri,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
        factory=factory,
    )
    try:
        connection.text_factory = bytes
        migrate_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _open_writable_and_migrate(path: str, timeout: float) -> sqlite3.Connection:
    """Open a connection that may write, and create the tables or migrate them."""
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        connection.text_factory = bytes
        _switch_to_write_ahead_log(connection, timeout)
        # A commit returns when the log is on the disk: a checkpoint survives a power failure.
        connection.execute("PRAGMA synchronous = FULL")
        migrate_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_write_ahead_log(connection: sqlite3.Connection, timeout: float) -> None:
    """Switch to write-ahead logging: readers and one writer do not wait for each other."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:  # SQLite's timeout does not apply here
            busy = exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def is_schema_current(connection: sqlite3.Connection) -> bool:
    """Whether the tables are those of this version of Locus."""
    return _read_schema_version(connection) == len(MIGRATIONS)


def migrate_schema(connection: sqlite3.Connection, path: str) -> None:
    """Create the tables, or migrate older ones.

    :raises CheckpointVersionError: if a newer version of Locus has created them.
    :raises CheckpointError: if their version is missing.
    """
    if is_schema_current(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _read_schema_version(connection)  # another process may have migrated it just now
    if version is None:
        raise CheckpointError(
            f"{path} is damaged: its table checkpoint_format does not say which version it is. "
            "Restore the database from a copy"
        )
    if version > len(MIGRATIONS):
        raise CheckpointVersionError(
            f"{path} is in format {version}, and this version of Locus knows formats up to "
            f"{len(MIGRATIONS)}: it was written by a newer one, which can read it"
        )
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute("UPDATE checkpoint_format SET version = ?", (len(MIGRATIONS),))
    connection.execute("COMMIT")


def _read_schema_version(connection: sqlite3.Connection) -> int | None:
    """Read the version of the tables: 0 if there are none, None if it is missing or invalid."""
    find_table = (
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'checkpoint_format'"
    )
    if not connection.execute(find_table).fetchone()[0]:
        return 0
    rows = connection.execute("SELECT version FROM checkpoint_format").fetchall()
    version = rows[0][0] if len(rows) == 1 else None
    return version if isinstance(version, int) and version >= 1 else None
