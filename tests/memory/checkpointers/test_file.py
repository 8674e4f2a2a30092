"""``FileCheckpointer``: atomic writing, and detection of damage."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locus.core.messages import Message
from locus.core.state import AgentState
from locus.memory import CheckpointError, CheckpointVersionError, FileCheckpointer
from tests.support.effort import THOROUGH
from tests.support.samples import EVERYTHING, HERE, MINIMAL

ONE, TWO = AgentState((Message.user("x"),)), AgentState((Message.user("y"),), iteration=1)


def get_only_file(directory: Path) -> Path:
    (path,) = directory.glob("*.json")
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_samples_of_every_version_are_loaded(version: int) -> None:
    checkpointer = FileCheckpointer(HERE / f"checkpoints-v{version}")
    assert checkpointer.threads() == ("every/thing", "minimal")
    assert checkpointer.load("every/thing") == EVERYTHING
    assert checkpointer.load("minimal") == MINIMAL


def test_the_format_does_not_change_by_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: bytes(range(size)))
    FileCheckpointer(tmp_path).save("every/thing", EVERYTHING)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (HERE / "checkpoints-v2" / path.name).read_bytes()


def test_a_thread_is_two_files_of_readable_json(tmp_path: Path) -> None:
    FileCheckpointer(tmp_path).save("Order 7: Zürich", TWO)
    head, (log,) = get_only_file(tmp_path), tmp_path.glob("*.jsonl")
    assert head.name.startswith("order-7-z-rich-")
    header, body = map(json.loads, head.read_text().splitlines())
    assert header["thread_id"] == "Order 7: Zürich"
    assert body["state"]["iteration"] == 1
    assert body["log"]["name"] == log.name
    assert list(map(json.loads, log.read_text().splitlines())) == [
        {"message": {"role": "user", "content": "y"}}
    ]


# -- atomic writing ----------------------------------------------------------------------------


def test_a_checkpoint_is_synced_before_it_replaces_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(file: int) -> None:
        fsync(file)
        file_name = os.readlink(f"/proc/self/fd/{file}") if os.path.isdir("/proc/self/fd") else ""
        operations.append(
            "directory" if os.path.isdir(file) else f"file {Path(file_name).suffix}".strip()
        )

    def record_replace(source: Any, target: Any) -> None:
        replace(source, target)
        operations.append("replace")

    FileCheckpointer(tmp_path / "a").save("a", ONE)
    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    FileCheckpointer(tmp_path / "a").save("a", TWO)
    in_new_log = ["file", "directory", "file", "replace", "directory"]
    assert [operation.split()[0] for operation in operations] == in_new_log
    operations.clear()
    appending = FileCheckpointer(tmp_path / "a")
    state = appending.load("a")
    assert state is not None
    appending.save("a", state.with_messages(Message.user("z")))
    assert [operation.split()[0] for operation in operations] == [
        "file", "file", "replace", "directory",
    ]  # fmt: skip
    operations.clear()
    FileCheckpointer(tmp_path / "new" / "deep").save("a", ONE)
    assert [operation.split()[0] for operation in operations] == [
        "directory", "directory", *in_new_log,
    ]  # fmt: skip
    operations.clear()
    FileCheckpointer(tmp_path / "a").delete("a")
    assert operations == ["directory"]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
@pytest.mark.parametrize("later", [TWO, ONE.with_messages(Message.user("z"))])
def test_after_an_error_of_the_disk_the_previous_checkpoint_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, later: AgentState
) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)

    def raise_error(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, stage, raise_error)
        with pytest.raises(
            CheckpointError, match=r"'a' cannot be saved: .*No space left"
        ) as exc_info:
            checkpointer.save("a", later)
    assert exc_info.value.thread_id == "a"
    for reader in (checkpointer, FileCheckpointer(tmp_path)):
        assert reader.load("a") == ONE
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".jsonl"]
    checkpointer.save("a", later)
    assert FileCheckpointer(tmp_path).load("a") == later


@pytest.mark.parametrize(
    ("later", "error"),
    [
        (TWO, KeyboardInterrupt()),
        (TWO, OSError(5, "Input/output error")),
        (ONE.with_messages(Message.user("z")), KeyboardInterrupt()),
    ],
)
def test_an_interruption_at_any_call_leaves_the_previous_checkpoint_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: AgentState, error: BaseException
) -> None:
    calls_left = 0

    def interrupt(function: Any) -> Any:
        def call(*args: Any, **kw: Any) -> Any:
            nonlocal calls_left
            result = function(*args, **kw)
            calls_left -= 1
            if calls_left == 0:
                raise error
            return result

        return call

    found = set()
    for number in range(1, 30):
        directory = tmp_path / str(number)
        checkpointer = FileCheckpointer(directory)
        checkpointer.save("a", ONE)
        with monkeypatch.context() as patched:
            for name in ("fsync", "replace", "unlink", "ftruncate", "lseek"):
                patched.setattr(os, name, interrupt(getattr(os, name)))
            calls_left = number
            with suppress(KeyboardInterrupt, CheckpointError):
                checkpointer.save("a", later)
        for reader in (FileCheckpointer(directory), checkpointer):
            loaded = reader.load("a")
            assert loaded in (ONE, later)
        found.add(loaded == later)
        checkpointer.save("a", later)
        assert FileCheckpointer(directory).load("a") == later
        if calls_left > 0:
            break
    assert (calls_left > 0, found) == (True, {True, False})


def test_old_temporary_files_are_removed_and_new_ones_are_not(tmp_path: Path) -> None:
    names = (f"a-{digit * 32}.{digit * 32}.tmp" for digit in "12")
    old, new = (tmp_path / name for name in names)
    old.write_text("x")
    new.write_text("x")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    FileCheckpointer(tmp_path).save("a", ONE)
    assert not old.exists()
    assert new.exists()


def test_other_files_in_the_directory_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("x")
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    assert checkpointer.threads() == ("a",)
    checkpointer.delete("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "package.json"]


def test_a_path_that_is_no_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    checkpointer = FileCheckpointer(tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"'a' cannot be saved: .*file"):
        checkpointer.save("a", ONE)
    with pytest.raises(CheckpointError, match=r"'a' cannot be read: .*file"):
        checkpointer.load("a")
    with pytest.raises(CheckpointError, match=r"the threads cannot be listed: .*file"):
        checkpointer.threads()


# -- damage ------------------------------------------------------------------------------------


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=2000 if THOROUGH else 100,
)
@given(data=st.data())
def test_no_damaged_file_is_loaded_as_a_state(tmp_path: Path, data: st.DataObject) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    version = data.draw(st.sampled_from([1, 2]))
    for sample in (HERE / f"checkpoints-v{version}").glob("every-thing-*"):
        shutil.copy(sample, tmp_path)
    kind = data.draw(st.sampled_from(["*.json"] if version == 1 else ["*.json", "*.jsonl"]))
    (path,) = tmp_path.glob(kind)
    original = path.read_bytes()
    index = data.draw(st.integers(0, len(original) - 1))
    damage = data.draw(st.sampled_from(["cut", "change", "zeros", "remove", "add"]))
    damaged = {
        "cut": original[:index],
        "change": original[:index]
        + bytes([original[index] ^ data.draw(st.integers(1, 255))])
        + original[index + 1 :],
        "zeros": original[:index] + bytes(len(original) - index),
        "remove": original[:index] + original[index + 1 :],
        "add": original[:index] + b"x" + original[index:],
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError):
        checkpointer.load("every/thing")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n{}\n", b"[]\n", b"\xff", b'{"locus_state": 1}']
)
def test_damage_is_an_error_that_names_the_file_and_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    path = get_only_file(tmp_path)
    path.write_bytes(content)
    for method in (lambda: checkpointer.load("a"), checkpointer.threads):
        with pytest.raises(CheckpointError, match=r"is damaged.*Put a good copy") as exc_info:
            method()
        assert str(path) in str(exc_info.value)
        assert not isinstance(exc_info.value, CheckpointVersionError)
    checkpointer.save("a", TWO)  # saving again repairs it
    assert checkpointer.load("a") == TWO


def test_a_file_of_another_thread_is_an_error(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    path = get_only_file(tmp_path)
    checkpointer.save("b", TWO)
    (other,) = set(tmp_path.glob("*.json")) - {path}
    shutil.copy(other, path)
    with pytest.raises(CheckpointError, match="it is that of thread 'b'"):
        checkpointer.load("a")


def write_checkpoint(directory: Path, version: object, state: bytes) -> None:
    from hashlib import sha256

    checkpointer = FileCheckpointer(directory)
    checkpointer.save("a", ONE)
    header = {
        "locus_checkpoint": version,
        "thread_id": "a",
        "sha256": sha256(state).hexdigest(),
        "added": 1,
    }
    get_only_file(directory).write_bytes(json.dumps(header).encode() + b"\n" + state + b"\n")


def test_members_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, b'{"locus_state": 1, "iteration": 3, "mood": "good"}')
    assert FileCheckpointer(tmp_path).load("a") == AgentState(iteration=3)


@pytest.mark.parametrize(("version", "state"), [(3, b"{}"), (1, b'{"locus_state": 2}')])
def test_a_newer_format_is_a_version_error(tmp_path: Path, version: int, state: bytes) -> None:
    write_checkpoint(tmp_path, version, state)
    with pytest.raises(CheckpointVersionError, match=r"format \d.*up to \d.*newer"):
        FileCheckpointer(tmp_path).load("a")


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_an_invalid_version_is_damage(tmp_path: Path, version: object) -> None:
    write_checkpoint(tmp_path, version, b'{"locus_state": 1}')
    with pytest.raises(CheckpointError, match="its first line"):
        FileCheckpointer(tmp_path).load("a")
