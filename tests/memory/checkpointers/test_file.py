"""What is particular to checkpoints in files: how they are put in place, and how damage is seen."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locus.core.messages import Message
from locus.core.state import AgentState
from locus.memory import CheckpointError, CheckpointVersionError, FileCheckpointer
from tests.support.samples import EVERYTHING, HERE, MINIMAL

ONE, TWO = AgentState((Message.user("x"),)), AgentState((Message.user("y"),), iteration=1)


def only_file(directory: Path) -> Path:
    (path,) = directory.glob("*.json")
    return path


def test_samples_of_the_first_version_are_read() -> None:
    checkpointer = FileCheckpointer(HERE / "checkpoints-v1")
    assert checkpointer.threads() == ("every/thing", "minimal")
    assert checkpointer.load("every/thing") == EVERYTHING
    assert checkpointer.load("minimal") == MINIMAL


def test_the_format_does_not_change_by_mistake(tmp_path: Path) -> None:
    FileCheckpointer(tmp_path).save("every/thing", EVERYTHING)
    path = only_file(tmp_path)
    assert path.read_bytes() == (HERE / "checkpoints-v1" / path.name).read_bytes()


def test_a_file_is_two_lines_of_json_that_people_can_read(tmp_path: Path) -> None:
    FileCheckpointer(tmp_path).save("Order 7: Zürich", ONE)
    path = only_file(tmp_path)
    assert path.name.startswith("order-7-z-rich-")
    head, state = map(json.loads, path.read_text().splitlines())
    assert head["thread_id"] == "Order 7: Zürich"
    assert state["messages"] == [{"role": "user", "content": "x"}]


# -- put in place ------------------------------------------------------------------------------


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(file: int) -> None:
        fsync(file)
        named = os.readlink(f"/proc/self/fd/{file}") if os.path.isdir("/proc/self/fd") else ""
        done.append("directory" if os.path.isdir(file) else f"file {Path(named).suffix}".strip())

    def note_replace(source: Any, target: Any) -> None:
        replace(source, target)
        done.append("replace")

    FileCheckpointer(tmp_path / "a").save("a", ONE)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    FileCheckpointer(tmp_path / "a").save("a", TWO)
    assert [what.split()[0] for what in done] == ["file", "replace", "directory"]
    done.clear()
    FileCheckpointer(tmp_path / "new" / "deep").save("a", ONE)
    assert [what.split()[0] for what in done] == [
        "directory", "directory", "file", "replace", "directory",
    ]  # fmt: skip
    done.clear()
    FileCheckpointer(tmp_path / "a").delete("a")
    assert done == ["directory"]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_last_checkpoint_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)

    def refuse(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, stage, refuse)
        with pytest.raises(
            CheckpointError, match=r"'a' cannot be saved: .*No space left"
        ) as caught:
            checkpointer.save("a", TWO)
    assert caught.value.thread_id == "a"
    assert checkpointer.load("a") == ONE
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    checkpointer.save("a", TWO)
    assert checkpointer.load("a") == TWO


def test_what_dead_processes_have_left_is_removed_and_what_is_new_is_not(tmp_path: Path) -> None:
    old, new = tmp_path / "a-1.tmp", tmp_path / "a-2.tmp"
    old.write_text("x")
    new.write_text("x")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    FileCheckpointer(tmp_path).save("a", ONE)
    assert not old.exists()
    assert new.exists()


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_no_damage_is_read_as_a_state(tmp_path: Path, data: st.DataObject) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    if not list(tmp_path.glob("*.json")):
        checkpointer.save("every/thing", EVERYTHING)
    path = only_file(tmp_path)
    good = (HERE / "checkpoints-v1" / path.name).read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["cut", "change", "zeros", "lose", "add"]))
    bad = {
        "cut": good[:at],
        "change": good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :],
        "zeros": good[:at] + bytes(len(good) - at),
        "lose": good[:at] + good[at + 1 :],
        "add": good[:at] + b"x" + good[at:],
    }[how]
    path.write_bytes(bad)
    with pytest.raises(CheckpointError):
        checkpointer.load("every/thing")


@pytest.mark.parametrize("text", [b"", b"\n", b"{}\n{}\n", b"[]\n", b"\xff", b'{"locus_state": 1}'])
def test_damage_is_an_error_that_names_the_file_and_what_to_do(tmp_path: Path, text: bytes) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    path = only_file(tmp_path)
    path.write_bytes(text)
    for look in (lambda: checkpointer.load("a"), checkpointer.threads):
        with pytest.raises(CheckpointError, match=r"is damaged.*Put a good copy") as caught:
            look()
        assert str(path) in str(caught.value)
        assert not isinstance(caught.value, CheckpointVersionError)
    checkpointer.save("a", TWO)  # as good as a copy
    assert checkpointer.load("a") == TWO


def test_a_checkpoint_in_the_place_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    path = only_file(tmp_path)
    checkpointer.save("b", TWO)
    (other,) = set(tmp_path.glob("*.json")) - {path}
    shutil.copy(other, path)
    with pytest.raises(CheckpointError, match="it is that of thread 'b'"):
        checkpointer.load("a")


def write(directory: Path, version: object, state: bytes) -> None:
    from hashlib import sha256

    checkpointer = FileCheckpointer(directory)
    checkpointer.save("a", ONE)
    head = {
        "locus_checkpoint": version,
        "thread_id": "a",
        "sha256": sha256(state).hexdigest(),
        "added": 1,
    }
    only_file(directory).write_bytes(json.dumps(head).encode() + b"\n" + state + b"\n")


def test_what_a_later_version_adds_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, 1, b'{"locus_state": 1, "iteration": 3, "mood": "good"}')
    assert FileCheckpointer(tmp_path).load("a") == AgentState(iteration=3)


@pytest.mark.parametrize(("version", "state"), [(2, b"{}"), (1, b'{"locus_state": 2}')])
def test_a_newer_format_is_an_error_that_says_so(
    tmp_path: Path, version: int, state: bytes
) -> None:
    write(tmp_path, version, state)
    with pytest.raises(CheckpointVersionError, match=r"format 2.*up to 1.*newer"):
        FileCheckpointer(tmp_path).load("a")


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_a_version_that_is_none_is_damage(tmp_path: Path, version: object) -> None:
    write(tmp_path, version, b'{"locus_state": 1}')
    with pytest.raises(CheckpointError, match="its first line"):
        FileCheckpointer(tmp_path).load("a")
