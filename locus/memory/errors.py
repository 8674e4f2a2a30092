"""The errors of checkpointers and memory stores."""

from __future__ import annotations

from locus.core.errors import LocusError


class CheckpointError(LocusError):
    """A checkpoint cannot be saved or loaded: it is damaged, or the disk reports an error.

    :ivar thread_id: the affected thread; None if the error concerns all threads.
    """

    def __init__(self, message: str, *, thread_id: str | None = None) -> None:
        super().__init__(message)
        self.thread_id = thread_id


class CheckpointVersionError(CheckpointError):
    """A checkpoint was saved by a newer version of Locus, in a format that this one cannot read."""


class ThreadBusyError(LocusError):
    """Another run uses the thread, in this process or in another one.

    :ivar thread_id: the thread.
    """

    def __init__(self, message: str, *, thread_id: str) -> None:
        super().__init__(message)
        self.thread_id = thread_id


class MemoryStoreError(LocusError):
    """Facts cannot be stored or read: the file is damaged or locked, or the disk failed."""
