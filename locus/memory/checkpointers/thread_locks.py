"""Claims on a name, which a process loses when it dies, however it dies.

A claim is an operating system's lock on a small file, so the kernel ends it with its holder; a row
with a process id in a database would need somebody to find out who is still alive. Because such
locks are odd about who holds them, three things are added. A register of this process's claims, as
some file systems give one process the same lock twice. A child that is forked closes its copies of
the files at once: it would share the locks, and keep them when its parent dies. And whoever has got
a lock looks whether its file is still in place, since the last holder has removed it.
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

    _BYTE: Final = 1 << 30  # not one of those where the holder's process id stands

    def _lock(file: int) -> bool:
        os.lseek(file, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(file: int, path: Path) -> None:
        os.lseek(file, _BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)  # an open file cannot be removed here: it stays

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: int, path: Path) -> None:
        with suppress(OSError):  # it need not be tidy: what counts is the lock
            if _is_at(file, path):
                path.unlink()
        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough where a child has a copy


@attrs.frozen(eq=False)
class _Held:
    file: int
    """-1 until the lock is there, and for a claim within the process alone."""


_held: dict[str, _Held] = {}
_guard = threading.RLock()  # the garbage collector may end a claim while another is made


def _in_child() -> None:
    """Leave the parent's claims to the parent."""
    for held in _held.values():
        if held.file >= 0:
            with suppress(OSError):
                os.close(held.file)
    _held.clear()
    _guard.release()


if hasattr(os, "register_at_fork"):  # nobody forks while another thread is half way to a claim
    os.register_at_fork(
        before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_in_child
    )


@contextmanager
def claim_in_process(key: str, thread_id: str) -> Iterator[None]:
    """The claim named ``key``, against all others in this process."""
    held = _Held(-1)
    with _guard:
        if key in _held:
            raise _busy(thread_id, os.getpid())
        _held[key] = held
    try:
        yield
    finally:
        with _guard:
            if _held.get(key) is held:  # not in a forked child
                del _held[key]


@contextmanager
def claim_file(path: Path, thread_id: str) -> Iterator[None]:
    """The claim whose lock file is ``path``, against all others on this machine."""
    key = os.path.realpath(path)
    with _guard:
        if key in _held:
            raise _busy(thread_id, os.getpid())
        try:
            file = _locked(path)
        except OSError as why:
            raise CheckpointError(
                f"thread {thread_id!r} cannot be claimed: {why}", thread_id=thread_id
            ) from why
        if file is None:
            raise _busy(thread_id, _holder(path))
        held = _held[key] = _Held(file)
    try:
        yield
    finally:
        with _guard:
            if _held.get(key) is held:
                del _held[key]
                try:
                    _unlock(file, path)
                finally:
                    os.close(file)


def _locked(path: Path) -> int | None:
    """The lock file, open and locked; None where somebody else has it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(file):
                os.close(file)
                return None
            if _is_at(file, path):
                os.ftruncate(file, 0)
                os.write(file, str(os.getpid()).encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder has removed it between our opening and locking it


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> int | None:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):  # gone already, or not yet written: it is only for the message
        return None


def _busy(thread_id: str, process: int | None) -> ThreadBusyError:
    who = "another run"
    if process is not None:
        who += " in this process" if process == os.getpid() else f", in process {process},"
    return ThreadBusyError(
        f"thread {thread_id!r} is busy: {who} is working on it. Wait until that has ended, or use "
        "another thread_id; two runs would each lose what the other one does",
        thread_id=thread_id,
    )
