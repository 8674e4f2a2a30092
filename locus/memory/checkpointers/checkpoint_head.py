"""The head of a checkpoint in a directory: a small file, which each save replaces as a whole.

It has two lines of JSON: a header with the format's version, the thread's id and the checksum of
the second line; and the state. In format 2, the current one, the state has no messages and no tool
executions: it comes with a reference to those in the thread's log (``item_log``). In format 1 the
state was complete.
"""

from __future__ import annotations

import json
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import attrs

from locus.core.errors import StateFormatError
from locus.core.state import AgentState
from locus.memory.checkpointers.file_names_and_directories import (
    remove_file_if_exists,
    sync_directory,
)
from locus.memory.errors import CheckpointError, CheckpointVersionError

_VERSION: Final = 2
_STATE_MEMBER: Final = b',"state":'


@attrs.frozen
class LogReference:
    """The part of a log that belongs to a checkpoint. What is after it was never acknowledged.

    :ivar name: the name of the log file.
    :ivar size: how many bytes of it count.
    :ivar digest: the chained digest of its lines.
    :ivar messages: how many messages it has.
    :ivar executions: how many tool executions it has.
    """

    name: str
    size: int
    digest: bytes
    messages: int
    executions: int


@attrs.frozen(eq=False)
class CheckpointHead:
    """The head of a checkpoint.

    :ivar revision: another one after each save.
    :ivar state: the state, without the items in the log.
    :ivar log: the items; None in format 1, where they are in the state.
    """

    revision: bytes
    state: AgentState
    log: LogReference | None


def write_head(path: Path, thread_id: str, head: CheckpointHead) -> None:
    """Write a head and sync it; a reader gets the previous one or this one."""
    assert head.log is not None  # format 1 is only read
    log = attrs.asdict(head.log) | {"digest": head.log.digest.hex()}
    fields = {"revision": head.revision.hex(), "log": log}
    body = json.dumps(fields, separators=(",", ":")).encode()[:-1]
    body += _STATE_MEMBER + head.state.to_json() + b"}"
    header = {
        "locus_checkpoint": _VERSION,
        "thread_id": thread_id,
        "sha256": sha256(body).hexdigest(),
    }
    if json.loads(json.dumps(thread_id)) != thread_id:  # both halves of a surrogate pair
        header["thread_id_hex"] = thread_id.encode("utf-8", "surrogatepass").hex()
    content = json.dumps(header, separators=(",", ":")).encode() + b"\n" + body + b"\n"
    _write_file_atomically(content, path)


def read_head(path: Path, thread_id: str) -> CheckpointHead | None:
    """Read the head of a thread's checkpoint; None if there is none.

    :raises CheckpointError: if it is damaged.
    :raises CheckpointVersionError: if a newer version of Locus wrote it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    first_line, _, rest = content.partition(b"\n")
    header = parse_header(first_line, path)
    body = rest[:-1]
    if header["thread_id"] != thread_id:
        raise make_damaged_error(path, f"it is that of thread {header['thread_id']!r}", thread_id)
    if rest[-1:] != b"\n" or header.get("sha256") != sha256(body).hexdigest():
        raise make_damaged_error(path, "its checksum is another", thread_id)
    try:
        if header["locus_checkpoint"] == 1:
            return CheckpointHead(sha256(content).digest(), AgentState.from_json(body), None)
        json_of_fields, _, json_of_state = body.partition(_STATE_MEMBER)
        fields = json.loads(json_of_fields + b"}")
        log = LogReference(**fields["log"] | {"digest": bytes.fromhex(fields["log"]["digest"])})
        if not re.fullmatch(rf"{re.escape(path.stem)}\.[0-9a-f]{{32}}\.jsonl", log.name):
            raise ValueError("the log is that of another thread")
        state = AgentState.from_json(json_of_state[:-1])
        return CheckpointHead(bytes.fromhex(fields["revision"]), state, log)
    except StateFormatError as exc:
        if exc.newer:
            raise CheckpointVersionError(f"{path}: {exc}", thread_id=thread_id) from exc
        raise make_damaged_error(path, str(exc), thread_id) from exc
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise make_damaged_error(path, "its second line is not a state", thread_id) from exc


def parse_header(line: bytes, path: Path) -> dict[str, Any]:
    """Parse the first line of a head.

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
        raise make_damaged_error(path, "its first line is not that of a checkpoint") from exc
    if is_newer:
        raise CheckpointVersionError(
            f"{path} is in format {version}, and this version of Locus knows formats up to "
            f"{_VERSION}: it was saved by a newer one, which can read it"
        )
    if type(version) is not int or version < 1 or not isinstance(thread_id, str):
        raise make_damaged_error(path, "its first line is not that of a checkpoint")
    return header  # type: ignore[no-any-return]


def make_damaged_error(path: Path, reason: str, thread_id: str | None = None) -> CheckpointError:
    """Make the error of a file that is not as it was saved."""
    return CheckpointError(
        f"the checkpoint {path} is damaged: {reason}. Put a good copy in its place, or remove it "
        "to begin the thread anew",
        thread_id=thread_id,
    )


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
