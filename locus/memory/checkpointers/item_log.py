"""The log of a thread's checkpoint in a directory: its messages and tool executions.

A save appends the new items, one line of JSON each. Then the head (``checkpoint_head``) is
replaced, which says how much of the log counts. So a save that is interrupted leaves the checkpoint
before it, and the next save overwrites what is behind that. A history that is not continued but
changed goes into a new log.

Whoever writes to a log holds its lock, from before the head is read until it is replaced. No byte
that a head counts is ever changed, so readers need no lock.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import attrs

from locus.core.errors import StateFormatError
from locus.core.messages import Message
from locus.core.state import AgentState, ToolExecution
from locus.memory.checkpointers.checkpoint_head import LogReference
from locus.memory.checkpointers.file_names_and_directories import sync_directory
from locus.memory.checkpointers.item_digests import EMPTY_DIGEST, compute_chained_digests

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _wait_for_lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 40, os.SEEK_SET)  # far behind the content
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 1 << 40, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True

    def _unlock(descriptor: int) -> None:
        """Do nothing: closing unlocks it."""

else:
    import fcntl

    def _wait_for_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_MESSAGE: Final = b'{"message":'
_EXECUTION: Final = b'{"execution":'


_descriptors: set[int] = set()
_registry_lock = threading.RLock()


def _open_file(path: Path, flags: int) -> int:
    """Open a file of this user's own, so that a forked child closes its copy."""
    with _registry_lock:
        descriptor = os.open(path, flags | _BINARY, 0o600)
        _descriptors.add(descriptor)
    return descriptor


def _close_file(descriptor: int) -> None:
    """Unlock and close a file."""
    with _registry_lock:
        if descriptor in _descriptors:  # not in a forked child
            _descriptors.discard(descriptor)
            try:
                _unlock(descriptor)
            finally:
                os.close(descriptor)


def _close_files_in_child() -> None:
    """Close the parent's files in a forked child, which would keep the locks otherwise."""
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()
    _registry_lock.release()


if hasattr(os, "register_at_fork"):  # no fork while another thread is opening a file
    os.register_at_fork(
        before=_registry_lock.acquire,
        after_in_parent=_registry_lock.release,
        after_in_child=_close_files_in_child,
    )


class DamagedLogError(Exception):
    """A log does not have the items that its head counts."""


def encode_lines(messages: Sequence[Message], executions: Sequence[ToolExecution]) -> list[bytes]:
    """Encode items as lines of a log.

    :raises ConfigurationError: if a value in an item is not JSON; the message names it.
    """
    from locus.core.state_json import encode_item

    lines = [_MESSAGE + encode_item(message) + b"}\n" for message in messages]
    return lines + [_EXECUTION + encode_item(execution) + b"}\n" for execution in executions]


@attrs.define(eq=False)
class ItemLog:
    """An open log, which this holds the lock of.

    :ivar path: the file.
    """

    path: Path
    _descriptor: int

    @classmethod
    def create(cls, directory: Path, thread_name: str) -> Self:
        """Create an empty log, with its lock, so that no other process takes it for a stale one."""
        path = directory / f"{thread_name}.{uuid4().hex}.jsonl"
        log = cls(path, _open_file(path, os.O_CREAT | os.O_EXCL | os.O_RDWR))
        _try_lock(log._descriptor)
        return log

    @classmethod
    def open_and_lock(cls, path: Path) -> Self | None:
        """Open a log and wait for its lock; None if it does not exist."""
        try:
            descriptor = _open_file(path, os.O_RDWR | _NO_FOLLOW)
        except FileNotFoundError:
            return None
        try:
            _wait_for_lock(descriptor)
        except BaseException:
            _close_file(descriptor)
            raise
        return cls(path, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _close_file(self._descriptor)

    def has_all_of(self, reference: LogReference) -> bool:
        """Whether the log is at least as long as a head says."""
        return os.fstat(self._descriptor).st_size >= reference.size

    def append(
        self, lines: Sequence[bytes], counts: tuple[int, int], before: LogReference | None
    ) -> LogReference:
        """Append lines and sync them; return the reference for a head.

        :param counts: how many messages and executions the log has then.
        :param before: what belongs to the checkpoint now; None in a new log.
        """
        size, digest = (0, EMPTY_DIGEST) if before is None else (before.size, before.digest)
        if lines:
            content = b"".join(lines)
            os.ftruncate(self._descriptor, size)  # what an interrupted save has left
            os.lseek(self._descriptor, size, os.SEEK_SET)
            with open(self._descriptor, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(self._descriptor)
            size += len(content)
            digest = compute_chained_digests(lines, digest)[-1]
        if before is None:
            sync_directory(self.path.parent)  # before a head refers to it
        return LogReference(self.path.name, size, digest, *counts)

    def remove(self) -> None:
        """Remove the file, if that is possible: Windows cannot remove an open one."""
        with suppress(OSError):
            self.path.unlink()


def remove_unused_log(path: Path) -> None:
    """Remove a log that no head refers to, unless somebody is about to save one that does."""
    with suppress(OSError):  # it was removed, or is a link; Windows cannot remove an open file
        descriptor = _open_file(path, os.O_RDWR | _NO_FOLLOW)
        try:
            if _try_lock(descriptor):
                path.unlink()
        finally:
            _close_file(descriptor)


def read_items(directory: Path, reference: LogReference, state: AgentState) -> AgentState:
    """Return the state with the items of a log.

    :raises DamagedLogError: if they are not those that were saved.
    :raises FileNotFoundError: if there is no such file.
    :raises StateFormatError: if a newer version of Locus wrote an item.
    """
    from locus.core.state_json import decode_items

    descriptor = os.open(directory / reference.name, os.O_RDONLY | _NO_FOLLOW | _BINARY)
    with open(descriptor, "rb") as file:
        content = file.read(reference.size)
    if len(content) < reference.size:
        raise DamagedLogError("it is too short")
    lines = content.splitlines(keepends=True)
    if (compute_chained_digests(lines) or [EMPTY_DIGEST])[-1] != reference.digest:
        raise DamagedLogError("its checksum is another")
    messages = [line[len(_MESSAGE) : -2] for line in lines if line.startswith(_MESSAGE)]
    executions = [line[len(_EXECUTION) : -2] for line in lines if line.startswith(_EXECUTION)]
    if (len(messages), len(executions)) != (reference.messages, reference.executions):
        raise DamagedLogError("lines are missing")
    try:
        return state.evolve(
            messages=decode_items(messages, Message),
            tool_executions=decode_items(executions, ToolExecution),
        )
    except StateFormatError as exc:
        if exc.newer:
            raise
        raise DamagedLogError(str(exc)) from exc
