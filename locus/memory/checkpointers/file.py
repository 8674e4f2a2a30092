"""``FileCheckpointer``: checkpoints in a directory, one file for each thread.

A checkpoint is written to a temporary file, synced to the disk, and then renamed to replace the
previous one: a reader, or the next process after a crash, gets either the one or the other. The
file has two lines of JSON: a header with the format's version, the thread's id and the checksum of
the second line; and the state.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from locus.core.errors import StateFormatError
from locus.core.state import AgentState
from locus.memory.checkpointers.base import BaseCheckpointer, validate_state, validate_thread_id
from locus.memory.checkpointers.file_names_and_directories import (
    make_durable_directory,
    make_thread_file_name,
    remove_file_if_exists,
    sync_directory,
)
from locus.memory.checkpointers.thread_locks import lock_file
from locus.memory.errors import CheckpointError, CheckpointVersionError
from locus.memory.paths import to_absolute_path

_VERSION: Final = 1
_FILE_NAME_PATTERN: Final = re.compile(r"(.*-)?[0-9a-f]{32}\.json")
_TEMPORARY_NAME_PATTERN: Final = re.compile(r"(.*-)?[0-9a-f]{32}\.[0-9a-f]{32}\.tmp")
_STALE_SECONDS: Final = 3600.0
"""The age of a temporary file after which its process must have been killed."""


class FileCheckpointer(BaseCheckpointer):
    """Saves checkpoints in a directory, as readable JSON files.

    It writes the complete state each time, so saving a long conversation takes longer with every
    step; :class:`~locus.memory.SQLiteCheckpointer` writes only the new items. It can be pickled:
    the copy uses the same directory.

    Only the user who saves may read the files.

    :param directory: the directory of the files; the first save creates it. ``~`` is the home
        directory.
    :raises ConfigurationError: if it cannot be the path of a directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = to_absolute_path(directory)
        self._stale_files_removed = False

    def save(self, thread_id: str, state: AgentState) -> None:
        path = self._get_checkpoint_path(thread_id)
        body = validate_state(state).to_json()
        header = {
            "locus_checkpoint": _VERSION,
            "thread_id": thread_id,
            "sha256": sha256(body).hexdigest(),
        }
        if json.loads(json.dumps(thread_id)) != thread_id:  # both halves of a surrogate pair
            header["thread_id_hex"] = thread_id.encode("utf-8", "surrogatepass").hex()
        content = json.dumps(header, separators=(",", ":")).encode() + b"\n" + body + b"\n"
        with _convert_os_errors("saved", thread_id):
            make_durable_directory(self.directory)
            self._remove_stale_files()
            _write_file_atomically(content, path)

    def load(self, thread_id: str) -> AgentState | None:
        path = self._get_checkpoint_path(thread_id)
        with _convert_os_errors("read", thread_id):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
        first_line, _, rest = content.partition(b"\n")
        header = _parse_header(first_line, path)
        body = rest[:-1]
        if header["thread_id"] != thread_id:
            raise _make_damaged_error(
                path, f"it is that of thread {header['thread_id']!r}", thread_id
            )
        if rest[-1:] != b"\n" or header.get("sha256") != sha256(body).hexdigest():
            raise _make_damaged_error(path, "its checksum is another", thread_id)
        try:
            return AgentState.from_json(body)
        except StateFormatError as exc:
            if exc.newer:
                raise CheckpointVersionError(f"{path}: {exc}", thread_id=thread_id) from exc
            raise _make_damaged_error(path, str(exc), thread_id) from exc

    def delete(self, thread_id: str) -> None:
        path = self._get_checkpoint_path(thread_id)
        with _convert_os_errors("deleted", thread_id):
            if path.exists():
                remove_file_if_exists(path)
                sync_directory(self.directory)

    def threads(self) -> tuple[str, ...]:
        thread_ids = []
        with _convert_os_errors("listed"):
            for path in self._list_checkpoint_files():
                with suppress(FileNotFoundError), path.open("rb") as file:  # was deleted
                    header = _parse_header(file.readline().rstrip(b"\n"), path)
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

    def _list_checkpoint_files(self) -> list[Path]:
        """List the files of checkpoints; none if there is no directory."""
        try:
            return [
                path for path in self.directory.iterdir() if _FILE_NAME_PATTERN.fullmatch(path.name)
            ]
        except FileNotFoundError:
            return []

    def _remove_stale_files(self) -> None:
        """Remove the temporary files of killed processes, once for each checkpointer."""
        if self._stale_files_removed:
            return
        self._stale_files_removed = True
        for path in self.directory.glob("*.tmp"):
            if not _TEMPORARY_NAME_PATTERN.fullmatch(path.name):
                continue  # a file of somebody else's
            with suppress(OSError):  # removed by another process, or not permitted
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self.directory),)

    def __repr__(self) -> str:
        return f"FileCheckpointer({str(self.directory)!r})"


def _write_file_atomically(content: bytes, path: Path) -> None:
    """Write a file and sync it; a reader gets the old content or the new one."""
    temporary_path = path.with_suffix(f".{uuid4().hex}.tmp")
    try:
        descriptor = os.open(temporary_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary_path, path)
    except BaseException:
        remove_file_if_exists(temporary_path)
        raise
    sync_directory(path.parent)


def _parse_header(line: bytes, path: Path) -> dict[str, Any]:
    """Parse the first line of a checkpoint.

    :raises CheckpointVersionError: if a newer version of Locus wrote it.
    :raises CheckpointError: if it is not such a line.
    """
    try:
        header = json.loads(line)
        version = header["locus_checkpoint"]
        is_newer = version > _VERSION
        thread_id = header["thread_id"]
        if "thread_id_hex" in header:
            thread_id = bytes.fromhex(header["thread_id_hex"]).decode("utf-8", "surrogatepass")
            header["thread_id"] = thread_id
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise _make_damaged_error(path, "its first line is not that of a checkpoint") from exc
    if is_newer:
        raise CheckpointVersionError(
            f"{path} is in format {version}, and this version of Locus knows formats up to "
            f"{_VERSION}: it was saved by a newer one, which can read it"
        )
    if type(version) is not int or version < 1 or not isinstance(thread_id, str):
        raise _make_damaged_error(path, "its first line is not that of a checkpoint")
    return header  # type: ignore[no-any-return]


def _make_damaged_error(path: Path, reason: str, thread_id: str | None = None) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} is damaged: {reason}. Put a good copy in its place, or remove it "
        "to begin the thread anew",
        thread_id=thread_id,
    )


@contextmanager
def _convert_os_errors(action: str, thread_id: str | None = None) -> Iterator[None]:
    """Raise an OSError as a CheckpointError: the thread cannot be ``action``, such as "saved"."""
    try:
        yield
    except OSError as exc:
        subject = "the threads" if thread_id is None else f"thread {thread_id!r}"
        raise CheckpointError(f"{subject} cannot be {action}: {exc}", thread_id=thread_id) from exc
