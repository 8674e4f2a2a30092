"""How an SQLite file is opened by somebody who may read it and not write."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path


def is_refused(why: sqlite3.OperationalError) -> bool:
    """Whether SQLite was not let write, or make a file beside the one that it opened."""
    return why.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def addresses(path: str) -> Iterator[tuple[str, bool]]:
    """The URIs to open it by, one after another, and whether the file is taken to stay as it is.

    SQLite reads a write-ahead log with the help of a file that it cannot make here. Where there is
    no log, nobody writes, and the file itself is all there is.
    """
    there = f"{Path(path).as_uri()}?mode=ro"
    yield there, False
    if not os.path.exists(f"{path}-wal"):
        yield f"{there}&immutable=1", True
