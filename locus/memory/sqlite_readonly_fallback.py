"""Opens an SQLite file, read-only if the process may not write it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_ATTEMPTS: Final = 20
_RETRY_SECONDS: Final = 0.02

_NEEDS_RECOVERY: Final = (sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY)
"""A writer was killed in the middle of a transaction: only a process that may write can recover."""


def open_database_with_readonly_fallback(
    path: str, open_connection: Callable[[str, bool], sqlite3.Connection]
) -> sqlite3.Connection:
    """Connect to the file at ``path``; read-only if the process may not write it.

    :param open_connection: called with a path or a URI, and whether SQLite assumes that the file
        does not change. Opens a connection, and reads the file.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        for address, immutable in _iter_database_addresses(path):
            try:
                return open_connection(address, immutable)
            except sqlite3.OperationalError as exc:
                if not _is_write_denied(exc) or not os.path.exists(path):
                    raise
                error = exc
        if attempt < _ATTEMPTS:  # a writer may have started or ended meanwhile
            time.sleep(_RETRY_SECONDS)
    raise error


def _is_write_denied(exc: sqlite3.OperationalError) -> bool:
    """Whether SQLite may not write the file, or create another in its directory."""
    code = exc.sqlite_errorcode
    refused = code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    return refused and code not in _NEEDS_RECOVERY


def _iter_database_addresses(path: str) -> Iterator[tuple[str, bool]]:
    """Iterate over the addresses to try, each with whether SQLite assumes an unchanging file.

    To read a write-ahead log, SQLite needs a file that it cannot create in a read-only directory.
    Where there is no log, there is no writer, and the database file alone is complete.
    """
    yield path, False
    uri = f"{Path(path).as_uri()}?mode=ro"
    yield uri, False
    if not any(_get_file_size(f"{path}{suffix}") for suffix in ("-wal", "-journal")):
        yield f"{uri}&immutable=1", True


def _get_file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
