"""What goes wrong with saved conversations, and with stored facts."""

from __future__ import annotations

from locus.core.errors import LocusError


class CheckpointError(LocusError):
    """A checkpoint cannot be saved or read: it is damaged, or the disk refuses.

    :ivar thread_id: the thread it is about; None where it is about the storage as a whole.
    """

    def __init__(self, message: str, *, thread_id: str | None = None) -> None:
        super().__init__(message)
        self.thread_id = thread_id


class CheckpointVersionError(CheckpointError):
    """A checkpoint was saved by a newer version of Locus, in a format that this one cannot read."""


class ThreadBusyError(LocusError):
    """Another run is working on the thread, in this process or in another one.

    :ivar thread_id: the thread.
    """

    def __init__(self, message: str, *, thread_id: str) -> None:
        super().__init__(message)
        self.thread_id = thread_id


class MemoryStoreError(LocusError):
    """Facts cannot be stored or read: their file is damaged, or busy, or the disk refuses."""
