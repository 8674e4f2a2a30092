"""The paths that checkpointers and stores are given, and the files that they make."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from locus.core.errors import ConfigurationError


def to_absolute_path(path: str | os.PathLike[str]) -> Path:
    """Convert a path to an absolute one; ``~`` is the home directory.

    :raises ConfigurationError: (a ``ValueError``) if it is empty, contains a null character, is a
        URL such as ``file:threads.db``, or begins with a ``~name`` that is no user's.
    :raises TypeError: if it is neither text nor a path.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"a path is text, not {type(text).__name__}")
    if not text.strip():
        raise ConfigurationError("the path is empty; '.' is the working directory")
    if "\0" in text:
        raise ConfigurationError(f"a path cannot hold a null character: {text!r}")
    if re.match(r"(?i)file:|[a-z][a-z0-9+.-]+://", text):
        raise ConfigurationError(f"{text!r} is a URL; pass the path of the file")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ConfigurationError(f"there is no home directory for {text!r}; write ./~ for the name")
    return Path(os.path.abspath(expanded))


def create_private_file(path: Path) -> None:
    """Create an empty file that only this user may read, unless it exists.

    SQLite gives the files that it makes beside a database the same permissions.
    """
    with suppress(OSError):  # it exists, or SQLite has a better message
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
