"""Files and directories of checkpointers: their names, and durable creation."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path


def make_thread_file_name(thread_id: str) -> str:
    """Make a unique file name for a thread, valid on every file system, without suffix.

    It begins with the readable part of the thread's id. Some file systems ignore the case of names
    or their Unicode normalization form, so a digest of the id makes the name unique.
    """
    digest = sha256(thread_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    slug = re.sub(r"[^a-z0-9]+", "-", thread_id[:60].lower()).strip("-")[:40]
    return f"{slug}-{digest}" if slug else digest


def make_durable_directory(path: Path) -> None:
    """Create the directory and its parents, so that they survive a power failure.

    Only this user may enter a directory that is created.
    """
    if path.is_dir():
        return
    make_durable_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Write the directory's list of files to the disk (``fsync``)."""
    if os.name == "nt":  # pragma: no cover - Windows cannot sync a directory
        return
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_file_if_exists(path: Path) -> None:
    """Remove the file, if it exists."""
    with suppress(FileNotFoundError):
        path.unlink()
