"""Checkpoints in a directory, a file for each thread.

A checkpoint is written beside the one before, brought to the disk, and then put in its place by one
rename: a reader finds the one or the other, and so does the next process after a crash. The file is
two lines of JSON. The first says what it is, whose, and the checksum of the second, the state.
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

from locus.core.state import AgentState, StateFormatError
from locus.memory.checkpointers.base import BaseCheckpointer, check_state, check_thread_id
from locus.memory.checkpointers.file_names import (
    check_path,
    file_name,
    make_directory,
    remove,
    sync_directory,
)
from locus.memory.checkpointers.thread_locks import claim_file
from locus.memory.errors import CheckpointError, CheckpointVersionError

_VERSION: Final = 1
_OURS: Final = re.compile(r"(.*-)?[0-9a-f]{32}\.json")
_LEFT_OVER: Final = 3600.0
"""Seconds after which a file that was never put in its place belongs to a process that died."""


class FileCheckpointer(BaseCheckpointer):
    """Keeps checkpoints in a directory, as JSON that people can read.

    Saving writes the whole state, so a long conversation costs more with every step;
    :class:`~locus.memory.SQLiteCheckpointer` writes what is new. Can be pickled: the copy uses the
    same directory.

    :param directory: where the files are; it is made when something is first saved.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = check_path(directory)
        self._swept = False

    def save(self, thread_id: str, state: AgentState) -> None:
        path = self._path(thread_id)
        body = check_state(state).to_json()
        head = {
            "locus_checkpoint": _VERSION,
            "thread_id": thread_id,
            "sha256": sha256(body).hexdigest(),
        }
        if json.loads(json.dumps(thread_id)) != thread_id:  # both halves of a surrogate pair
            head["thread_id_hex"] = thread_id.encode("utf-8", "surrogatepass").hex()
        text = json.dumps(head, separators=(",", ":")).encode() + b"\n" + body + b"\n"
        with _failing("saved", thread_id):
            make_directory(self.directory)
            self._sweep()
            _put_in_place(text, path)

    def load(self, thread_id: str) -> AgentState | None:
        path = self._path(thread_id)
        with _failing("read", thread_id):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                return None
        head, _, rest = text.partition(b"\n")
        about = _head(head, path)
        body = rest[:-1]
        if about["thread_id"] != thread_id:
            raise _damaged(path, f"it is that of thread {about['thread_id']!r}", thread_id)
        if rest[-1:] != b"\n" or about.get("sha256") != sha256(body).hexdigest():
            raise _damaged(path, "its checksum is another", thread_id)
        try:
            return AgentState.from_json(body)
        except StateFormatError as why:
            if why.newer:
                raise CheckpointVersionError(f"{path}: {why}", thread_id=thread_id) from why
            raise _damaged(path, str(why), thread_id) from why

    def delete(self, thread_id: str) -> None:
        path = self._path(thread_id)
        with _failing("deleted", thread_id):
            if path.exists():
                remove(path)
                sync_directory(self.directory)

    def threads(self) -> tuple[str, ...]:
        found = []
        with _failing("listed"):
            for path in self._files():
                with suppress(FileNotFoundError), path.open("rb") as file:  # deleted meanwhile
                    found.append(_head(file.readline().rstrip(b"\n"), path)["thread_id"])
        return tuple(sorted(found))

    @contextmanager
    def _claim(self, thread_id: str) -> Iterator[None]:
        path = self._path(thread_id)
        with _failing("claimed", thread_id):
            make_directory(self.directory)
        with claim_file(path.with_suffix(".lock"), thread_id):
            yield

    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        check_thread_id(thread_id)
        return self._claim(thread_id)

    def _path(self, thread_id: str) -> Path:
        return self.directory / f"{file_name(check_thread_id(thread_id))}.json"

    def _files(self) -> list[Path]:
        try:
            return [path for path in self.directory.iterdir() if _OURS.fullmatch(path.name)]
        except FileNotFoundError:
            return []

    def _sweep(self) -> None:
        """Once: remove what processes have left that died while they saved."""
        if self._swept:
            return
        self._swept = True
        for path in self.directory.glob("*.tmp"):
            with suppress(OSError):  # somebody else was faster, or it is not ours to remove
                if time.time() - path.stat().st_mtime > _LEFT_OVER:
                    path.unlink()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self.directory),)

    def __repr__(self) -> str:
        return f"FileCheckpointer({str(self.directory)!r})"


def _put_in_place(text: bytes, path: Path) -> None:
    beside = path.with_suffix(f".{uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        remove(beside)
        raise
    sync_directory(path.parent)


def _head(line: bytes, path: Path) -> dict[str, Any]:
    try:
        head = json.loads(line)
        version = head["locus_checkpoint"]
        newer = version > _VERSION
        whose = head["thread_id"]
        if "thread_id_hex" in head:
            whose = bytes.fromhex(head["thread_id_hex"]).decode("utf-8", "surrogatepass")
            head["thread_id"] = whose
    except (ValueError, TypeError, KeyError, RecursionError) as why:
        raise _damaged(path, "its first line is not that of a checkpoint") from why
    if newer:
        raise CheckpointVersionError(
            f"{path} is in format {version}, and this version of Locus knows formats up to "
            f"{_VERSION}: it was saved by a newer one, which can read it"
        )
    if type(version) is not int or version < 1 or not isinstance(whose, str):
        raise _damaged(path, "its first line is not that of a checkpoint")
    return head  # type: ignore[no-any-return]


def _damaged(path: Path, how: str, thread_id: str | None = None) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} is damaged: {how}. Put a good copy in its place, or remove it to "
        "begin the thread anew",
        thread_id=thread_id,
    )


@contextmanager
def _failing(done: str, thread_id: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as why:
        what = "the threads" if thread_id is None else f"thread {thread_id!r}"
        raise CheckpointError(f"{what} cannot be {done}: {why}", thread_id=thread_id) from why
