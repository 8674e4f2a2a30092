"""Exclusive locks on conversation threads, which end when their process ends or is killed.

A lock is the operating system's lock on a small file, so the kernel releases it when the process
ends; with a process id in a database row, the other processes would have to find out whether that
process still runs. Three additions make such locks reliable. A registry of the locks of this
process, because some file systems grant one process the same lock twice. A forked child closes its
copies of the files at once: otherwise it would share the locks, and keep them after its parent has
ended. And after a file has been locked, this checks that it still exists under its name, because
the last holder removes it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from locus.memory.errors import CheckpointError, ThreadBusyError

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    _LOCKED_BYTE: Final = 1 << 30  # after the bytes of the holder's process id

    def _try_lock_file(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock_file(descriptor: int, path: Path) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        # Windows cannot remove an open file, so it stays.
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock_file(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock_file(descriptor: int, path: Path) -> None:
        with suppress(OSError):  # only the lock matters, not whether the file is removed
            if _is_file_at(descriptor, path):
                path.unlink()
        # Closing does not unlock it while a child has a copy.
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@attrs.frozen(eq=False)
class ThreadLock:
    """A lock that this process holds.

    :ivar file: the descriptor of the lock file; -1 for a lock within the process alone.
    """

    file: int


_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
"""A lock file is truncated: a symbolic link in its place could lead to any file."""

_locks: dict[str, ThreadLock] = {}
_registry_lock = threading.RLock()  # reentrant: the garbage collector may release a lock here


def _forget_locks_in_child() -> None:
    """Forget the parent's locks in a forked child, without releasing them."""
    for lock in _locks.values():
        if lock.file >= 0:
            with suppress(OSError):
                os.close(lock.file)
    _locks.clear()
    _registry_lock.release()


if hasattr(os, "register_at_fork"):  # no fork while another thread is acquiring a lock
    os.register_at_fork(
        before=_registry_lock.acquire,
        after_in_parent=_registry_lock.release,
        after_in_child=_forget_locks_in_child,
    )


@contextmanager
def lock_key_in_process(key: str, thread_id: str) -> Iterator[None]:
    """Lock ``key`` within this process.

    :param thread_id: the conversation thread, for the error message.
    :raises ThreadBusyError: if it is locked already.
    """
    lock = ThreadLock(-1)
    with _registry_lock:
        if key in _locks:
            raise _make_thread_busy_error(thread_id, os.getpid())
        _locks[key] = lock
    try:
        yield
    finally:
        with _registry_lock:
            if _locks.get(key) is lock:  # not in a forked child
                del _locks[key]


@contextmanager
def lock_file(path: Path, thread_id: str) -> Iterator[None]:
    """Lock the file at ``path`` against all processes of this machine.

    :param thread_id: the conversation thread, for the error message.
    :raises ThreadBusyError: if it is locked already.
    """
    key = os.path.realpath(path)
    with _registry_lock:
        if key in _locks:
            raise _make_thread_busy_error(thread_id, os.getpid())
        try:
            file = _try_open_and_lock_file(path)
        except OSError as exc:
            raise CheckpointError(
                f"thread {thread_id!r} cannot be locked: {exc}", thread_id=thread_id
            ) from exc
        if file is None:
            raise _make_thread_busy_error(thread_id, _read_holder_pid(path))
        lock = _locks[key] = ThreadLock(file)
    try:
        yield
    finally:
        with _registry_lock:
            if _locks.get(key) is lock:
                del _locks[key]
                try:
                    _unlock_file(file, path)
                finally:
                    os.close(file)


def _try_open_and_lock_file(path: Path) -> int | None:
    """Open and lock the lock file, and return its descriptor; None if it is locked already."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
        try:
            if not _try_lock_file(file):
                os.close(file)
                return None
            if _is_file_at(file, path):
                os.ftruncate(file, 0)
                os.write(file, str(os.getpid()).encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its last holder removed it before it was locked here


def _is_file_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has this path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read_holder_pid(path: Path) -> int | None:
    """Read the id of the process that holds a lock; None if it cannot be read."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):  # removed, or not yet written; only the message needs it
        return None


def _make_thread_busy_error(thread_id: str, pid: int | None) -> ThreadBusyError:
    holder = "another run"
    if pid is not None:
        holder += " in this process" if pid == os.getpid() else f", in process {pid},"
    return ThreadBusyError(
        f"thread {thread_id!r} is busy: {holder} is working on it. Wait until that has ended, or "
        "use another thread_id; two runs would each lose what the other one does",
        thread_id=thread_id,
    )
