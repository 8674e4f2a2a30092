"""How an SQLite file is opened by somebody who may read it and not write."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_TRIES: Final = 20
_AGAIN_SECONDS: Final = 0.02

_TO_BE_MENDED: Final = (sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY)
"""A writer has died half-way, and only one who may write can put it right."""


def opened(path: str, open_one: Callable[[str, bool], sqlite3.Connection]) -> sqlite3.Connection:
    """A connection to the file at ``path`` that writes; where that is refused, one that reads.

    :param open_one: opens a path or a URI, and looks at what is there. It is also told whether
        the file is taken to stay as it is.
    """
    for tried in range(1, _TRIES + 1):
        for address, unchanging in _addresses(path):
            try:
                return open_one(address, unchanging)
            except sqlite3.OperationalError as why:
                if not _is_refused(why) or not os.path.exists(path):
                    raise
                refused = why
        if tried < _TRIES:  # somebody may have begun to write, or ended, while this was looking
            time.sleep(_AGAIN_SECONDS)
    raise refused


def _is_refused(why: sqlite3.OperationalError) -> bool:
    """Whether SQLite was not let write, or make a file beside the one that it opened."""
    code = why.sqlite_errorcode
    refused = code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    return refused and code not in _TO_BE_MENDED


def _addresses(path: str) -> Iterator[tuple[str, bool]]:
    """What to open it by, one after another.

    SQLite reads a write-ahead log with the help of a file that it cannot make here. Where there is
    no log, nobody writes, and the file itself is all there is.
    """
    yield path, False
    there = f"{Path(path).as_uri()}?mode=ro"
    yield there, False
    if not any(_size(f"{path}{log}") for log in ("-wal", "-journal")):
        yield f"{there}&immutable=1", True


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
