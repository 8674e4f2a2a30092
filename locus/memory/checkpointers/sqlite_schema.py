"""The tables in which SQLite keeps checkpoints, and how older ones become these.

The names begin with ``checkpoint``, and the version stands in a table of its own rather than in
``PRAGMA user_version``: the file may hold an application's tables and a memory store as well.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from locus.memory.checkpointers.sqlite_connections import Unchanging
from locus.memory.errors import CheckpointError, CheckpointVersionError
from locus.memory.sqlite_open import opened

# What makes version n out of version n - 1. Add to the end; never change what is here.
MIGRATIONS: Final[list[tuple[str, ...]]] = [
    (
        "CREATE TABLE checkpoint_format (version INTEGER NOT NULL)",
        "INSERT INTO checkpoint_format VALUES (1)",
        # One row a thread. `state` is the state without its messages and executions, whose numbers
        # stand beside it; `revision` is another one after each time that it was saved.
        """CREATE TABLE checkpoints (
            id INTEGER PRIMARY KEY,
            thread_id TEXT NOT NULL UNIQUE,
            revision BLOB NOT NULL,
            state TEXT NOT NULL,
            messages INTEGER NOT NULL,
            executions INTEGER NOT NULL,
            seal BLOB NOT NULL
        )""",
        # One row a message (kind 0) or execution (kind 1).
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


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """A connection to the database at ``path``, its tables made or brought up to date.

    Where the file may be read and not written, so may what the connection gives.

    :param timeout: seconds to wait for others who write.
    """

    def open_one(address: str, unchanging: bool) -> sqlite3.Connection:
        if address == path:
            return _writing(path, timeout)
        kind = Unchanging if unchanging else sqlite3.Connection
        return _reading(address, path, timeout, kind)

    return opened(path, open_one)


def _reading(
    address: str, path: str, timeout: float, kind: type[sqlite3.Connection]
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
        factory=kind,
    )
    try:
        connection.text_factory = bytes
        prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _writing(path: str, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        connection.text_factory = bytes
        _switch_to_wal(connection, timeout)
        # A commit returns when the log is on the disk: what was acknowledged outlives the power.
        connection.execute("PRAGMA synchronous = FULL")
        prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Have readers and one writer not wait for each other, where the file system can do that."""
    give_up = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as why:  # does not wait for others who do the same
            busy = why.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the tables are those of this version of Locus."""
    return _version(connection) == len(MIGRATIONS)


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables, or bring them up to date.

    :raises CheckpointVersionError: they are newer than this version of Locus.
    :raises CheckpointError: they do not say what they are.
    """
    if is_current(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)  # another process may just have done it
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


def _version(connection: sqlite3.Connection) -> int | None:
    """The version of the tables, 0 where there are none; None where they do not say."""
    made = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'checkpoint_format'"
    if not connection.execute(made).fetchone()[0]:
        return 0
    rows = connection.execute("SELECT version FROM checkpoint_format").fetchall()
    version = rows[0][0] if len(rows) == 1 else None
    return version if isinstance(version, int) and version >= 1 else None
