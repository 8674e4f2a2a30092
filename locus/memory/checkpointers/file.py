"""``FileCheckpointer``: checkpoints in a directory; a save writes only the new items.

A thread has two files: a head (``checkpoint_head``), and the log of its messages and tool
executions (``item_log``). A save appends the new items to the log, syncs it, and then replaces the
head, which says how much of the log counts: a reader, or the next process after a crash, gets
either the previous checkpoint or the new one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from locus.core.errors import StateFormatError
from locus.core.state import AgentState
from locus.memory.checkpointers.base import BaseCheckpointer, validate_state, validate_thread_id
from locus.memory.checkpointers.checkpoint_head import (
    CheckpointHead,
    make_damaged_error,
    parse_header,
    read_head,
    write_head,
)
from locus.memory.checkpointers.file_names_and_directories import (
    make_durable_directory,
    make_thread_file_name,
    remove_file_if_exists,
    sync_directory,
)
from locus.memory.checkpointers.interprocess_thread_locks import lock_file
from locus.memory.checkpointers.item_digests import count_identical_leading_items
from locus.memory.checkpointers.item_log import (
    DamagedLogError,
    ItemLog,
    encode_lines,
    read_items,
    remove_unused_log,
)
from locus.memory.checkpointers.state_cache import StateCache
from locus.memory.errors import CheckpointError, CheckpointVersionError
from locus.memory.paths import to_absolute_path

_FILE_NAME_PATTERN: Final = re.compile(r"(.*-)?[0-9a-f]{32}\.json")
_TEMPORARY_NAME_PATTERN: Final = re.compile(r"(.*-)?[0-9a-f]{32}\.[0-9a-f]{32}\.tmp")
_LOG_NAME_PATTERN: Final = re.compile(r"((?:.*-)?[0-9a-f]{32})\.[0-9a-f]{32}\.jsonl")
_STALE_SECONDS: Final = 3600.0
"""The age of a file after which the process that has left it must have been killed."""


class FileCheckpointer(BaseCheckpointer):
    """Saves checkpoints in a directory, as readable lines of JSON.

    A save writes only the messages and tool executions that are new since the last one; if the
    history was changed, it writes all of them. The checkpointer can be pickled: the copy uses the
    same directory.

    Only the user who saves may read the files.

    :param directory: the directory of the files; the first save creates it. ``~`` is the home
        directory.
    :raises ConfigurationError: if it cannot be the path of a directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = to_absolute_path(directory)
        self._cache = StateCache()
        self._stale_files_removed = False

    def save(self, thread_id: str, state: AgentState) -> None:
        path = self._get_checkpoint_path(thread_id)
        validate_state(state)
        with _convert_os_errors("saved", thread_id):
            make_durable_directory(self.directory)
            self._remove_stale_files()
            with self._lock_log(path, thread_id) as (head, log):
                revision = self._write_changes(path, thread_id, state, head, log)
        self._cache.put(thread_id, revision, state)

    def load(self, thread_id: str) -> AgentState | None:
        path = self._get_checkpoint_path(thread_id)
        with _convert_os_errors("read", thread_id):
            head = read_head(path, thread_id)
            while head is not None:
                try:
                    state = self._read_state(path, thread_id, head)
                except FileNotFoundError:
                    latest = read_head(path, thread_id)
                    if latest is not None and latest.revision == head.revision:
                        raise make_damaged_error(
                            path, f"its items are missing, {_get_log_name(head)}", thread_id
                        ) from None
                    head = latest  # it was saved or deleted meanwhile
                else:
                    self._cache.put(thread_id, head.revision, state)
                    return state
        return None

    def delete(self, thread_id: str) -> None:
        path = self._get_checkpoint_path(thread_id)
        with (
            _convert_os_errors("deleted", thread_id),
            self._lock_log(path, thread_id) as (_, log),
        ):
            if path.exists():
                remove_file_if_exists(path)
                sync_directory(self.directory)
            if log is not None:
                log.remove()
            for log_path in self._list_files(_LOG_NAME_PATTERN):
                if log_path.name.startswith(f"{path.stem}."):
                    remove_unused_log(log_path)
        self._cache.discard(thread_id)

    def threads(self) -> tuple[str, ...]:
        thread_ids = []
        with _convert_os_errors("listed"):
            for path in self._list_files(_FILE_NAME_PATTERN):
                with suppress(FileNotFoundError), path.open("rb") as file:  # was deleted
                    header = parse_header(file.readline().rstrip(b"\n"), path)
                    thread_ids.append(header["thread_id"])
        return tuple(sorted(thread_ids))

    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        validate_thread_id(thread_id)
        return self._lock_thread_file(thread_id)

    @contextmanager
    def _lock_thread_file(self, thread_id: str) -> Iterator[None]:
        """Lock the lock file of a thread for the ``with`` block."""
        path = self._get_checkpoint_path(thread_id)
        with _convert_os_errors("locked", thread_id):
            make_durable_directory(self.directory)
        with lock_file(path.with_suffix(".lock"), thread_id):
            yield

    def _get_checkpoint_path(self, thread_id: str) -> Path:
        return self.directory / f"{make_thread_file_name(validate_thread_id(thread_id))}.json"

    @contextmanager
    def _lock_log(
        self, path: Path, thread_id: str
    ) -> Iterator[tuple[CheckpointHead | None, ItemLog | None]]:
        """Lock the log of a thread for the ``with`` block; give the head and the log.

        Both are None if there is no checkpoint, or a damaged one; the log is None in format 1.
        """
        while True:
            head = _read_head_if_intact(path, thread_id)
            if head is None or head.log is None:
                yield head, None
                return
            log = ItemLog.open_and_lock(self.directory / head.log.name)
            if log is None:
                latest = _read_head_if_intact(path, thread_id)
                if latest is not None and latest.revision == head.revision:
                    yield None, None  # it is damaged: its log is missing
                    return
                continue
            with log:
                latest = _read_head_if_intact(path, thread_id)
                if latest is not None and _get_log_name(latest) == head.log.name:
                    yield latest, log
                    return

    def _write_changes(
        self,
        path: Path,
        thread_id: str,
        state: AgentState,
        head: CheckpointHead | None,
        log: ItemLog | None,
    ) -> bytes:
        """Write what is new in the state, and return the revision of the new head.

        :param head: the present head.
        :param log: its log.
        """
        bare_state = state.evolve(messages=(), tool_executions=())
        revision = os.urandom(16)
        counts = len(state.messages), len(state.tool_executions)
        cached = self._cache.get(thread_id, None if head is None else head.revision)
        if (
            head is not None
            and head.log is not None
            and log is not None
            and cached is not None
            and _is_continued(cached, state)
            and log.has_all_of(head.log)
        ):
            lines = encode_lines(
                state.messages[head.log.messages :], state.tool_executions[head.log.executions :]
            )
            reference = log.append(lines, counts, head.log)
            write_head(path, thread_id, CheckpointHead(revision, bare_state, reference))
            return revision
        lines = encode_lines(state.messages, state.tool_executions)
        with ItemLog.create(self.directory, path.stem) as new_log:
            try:
                reference = new_log.append(lines, counts, None)
                write_head(path, thread_id, CheckpointHead(revision, bare_state, reference))
            except BaseException:
                # Not if the head was replaced already: Ctrl-C may come behind that.
                written = _read_head_if_intact(path, thread_id)
                if written is None or written.revision != revision:
                    new_log.remove()
                raise
        if log is not None:
            log.remove()
        return revision

    def _read_state(self, path: Path, thread_id: str, head: CheckpointHead) -> AgentState:
        """Return the state of a head, with its items.

        :raises FileNotFoundError: if its log does not exist.
        """
        if head.log is None:
            return head.state
        log_path = self.directory / head.log.name
        try:
            return read_items(self.directory, head.log, head.state)
        except DamagedLogError as exc:
            raise make_damaged_error(log_path, str(exc), thread_id) from exc
        except StateFormatError as exc:
            raise CheckpointVersionError(f"{log_path}: {exc}", thread_id=thread_id) from exc

    def _list_files(self, pattern: re.Pattern[str]) -> list[Path]:
        """List the files whose whole name fits; none if there is no directory."""
        try:
            return [path for path in self.directory.iterdir() if pattern.fullmatch(path.name)]
        except FileNotFoundError:
            return []

    def _remove_stale_files(self) -> None:
        """Remove what killed processes have left, once for each checkpointer.

        These are temporary files, and logs whose thread has another one. A log without a head
        stays: somebody may have put the head aside.
        """
        if self._stale_files_removed:
            return
        self._stale_files_removed = True
        oldest = time.time() - _STALE_SECONDS
        for path in self._list_files(_TEMPORARY_NAME_PATTERN):
            with suppress(OSError):  # removed by another process, or not permitted
                if path.stat().st_mtime < oldest:
                    path.unlink()
        for path in self._list_files(_LOG_NAME_PATTERN):
            with suppress(OSError):
                if path.stat().st_mtime < oldest and self._is_log_replaced(path):
                    path.unlink()

    def _is_log_replaced(self, log_path: Path) -> bool:
        """Whether the thread of a log has another one by now."""
        name = _LOG_NAME_PATTERN.fullmatch(log_path.name)
        assert name is not None  # it was listed by this pattern
        path = self.directory / f"{name[1]}.json"
        try:
            with path.open("rb") as file:
                header = parse_header(file.readline().rstrip(b"\n"), path)
            head = read_head(path, header["thread_id"])
        except CheckpointError:
            return False
        return head is not None and head.log is not None and head.log.name != log_path.name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self.directory),)

    def __repr__(self) -> str:
        return f"FileCheckpointer({str(self.directory)!r})"


def _is_continued(old: AgentState, new: AgentState) -> bool:
    """Whether the new state has all items of the old one, and others only behind them."""
    return all(
        count_identical_leading_items(old_items, new_items) == len(old_items)
        for old_items, new_items in (
            (old.messages, new.messages),
            (old.tool_executions, new.tool_executions),
        )
    )


def _get_log_name(head: CheckpointHead) -> str | None:
    """Return the name of a head's log; None in format 1."""
    return None if head.log is None else head.log.name


def _read_head_if_intact(path: Path, thread_id: str) -> CheckpointHead | None:
    """Read the head of a thread; None if there is none that this version can read."""
    try:
        return read_head(path, thread_id)
    except CheckpointError:
        return None


@contextmanager
def _convert_os_errors(action: str, thread_id: str | None = None) -> Iterator[None]:
    """Raise an OSError as a CheckpointError: the thread cannot be ``action``, such as "saved"."""
    try:
        yield
    except OSError as exc:
        subject = "the threads" if thread_id is None else f"thread {thread_id!r}"
        raise CheckpointError(f"{subject} cannot be {action}: {exc}", thread_id=thread_id) from exc
