"""File names for threads, whatever they are called, and directories that outlive the power."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from locus.core.errors import ConfigurationError


def check_path(path: str | os.PathLike[str]) -> Path:
    """``path``, absolute.

    :raises ConfigurationError: (a ``ValueError``) no file system has it.
    """
    absolute = os.path.abspath(path)
    if "\0" in absolute:
        raise ConfigurationError(f"a path cannot hold a null character: {absolute!r}")
    return Path(absolute)


def file_name(thread_id: str) -> str:
    """A name that no other thread has, on any file system; begins in a way people recognise.

    Two names that differ in case or in Unicode's forms alone are one file to some file systems, so
    the digest decides.
    """
    digest = sha256(thread_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    readable = re.sub(r"[^a-z0-9]+", "-", thread_id[:60].lower()).strip("-")[:40]
    return f"{readable}-{digest}" if readable else digest


def make_directory(path: Path) -> None:
    """Make the directory and those above it, so that they outlive the power."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the directory's list of names on the disk."""
    if os.name == "nt":  # pragma: no cover - has no such thing
        return
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove(path: Path) -> None:
    """Remove the file, if it is there."""
    with suppress(FileNotFoundError):
        path.unlink()
