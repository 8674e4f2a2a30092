"""The log of ``FileCheckpointer``: appending, changed histories, interruptions, links."""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from locus.core.messages import Message
from locus.core.state import AgentState, ToolExecution
from locus.memory import CheckpointError, FileCheckpointer
from locus.memory.checkpointers.item_log import ItemLog
from tests.support.samples import EVERYTHING, HERE, MINIMAL
from tests.support.timing import HangGuard

ONE, TWO = AgentState((Message.user("x"),)), AgentState((Message.user("y"),), iteration=1)


def get_log(directory: Path) -> Path:
    (path,) = directory.glob("*.jsonl")
    return path


def make_long_state(count: int) -> AgentState:
    return AgentState(tuple(Message.user(f"message {number}") for number in range(count)))


def test_a_save_writes_only_what_is_new(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    state = make_long_state(1000)
    checkpointer.save("a", state)
    log = get_log(tmp_path)
    before = log.read_bytes()
    state = state.with_messages(Message.user("new")).with_execution(
        ToolExecution("tool", "call_1", {}, result="done", iteration=1)
    )
    checkpointer.save("a", state)
    checkpointer.save("a", state.evolve(iteration=5))
    assert get_log(tmp_path) == log
    added = log.read_bytes().removeprefix(before)
    assert [next(iter(json.loads(line))) for line in added.splitlines()] == ["message", "execution"]
    for reader in (checkpointer, FileCheckpointer(tmp_path)):
        loaded = reader.load("a")
        assert loaded == state.evolve(iteration=5)
        assert loaded is not None
        reader.save("a", loaded.with_messages(Message.user("more")))
        assert get_log(tmp_path) == log  # it goes on from what it has loaded
        assert FileCheckpointer(tmp_path).load("a") == loaded.with_messages(Message.user("more"))
        reader.save("a", loaded)
        log = get_log(tmp_path)


@pytest.mark.parametrize("change", ["first", "last", "shorter"])
def test_a_changed_history_has_a_new_log_and_the_old_one_goes(tmp_path: Path, change: str) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    state = make_long_state(5)
    checkpointer.save("a", state)
    log = get_log(tmp_path)
    messages = list(state.messages)
    if change == "shorter":
        messages.pop()
    else:
        messages[0 if change == "first" else -1] = Message.user("changed")
    changed = AgentState(tuple(messages))
    checkpointer.save("a", changed)
    assert get_log(tmp_path) != log
    assert FileCheckpointer(tmp_path).load("a") == changed


def test_what_an_interrupted_save_has_left_is_overwritten(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    state = make_long_state(3)
    checkpointer.save("a", state)
    with get_log(tmp_path).open("ab") as file:
        file.write(b'{"message":{"role":"user","content":"was never acknowl' * 50)
    assert checkpointer.load("a") == state
    state = state.with_messages(Message.user("next"))
    checkpointer.save("a", state)
    assert FileCheckpointer(tmp_path).load("a") == state
    assert b"acknowl" not in get_log(tmp_path).read_bytes()


def test_a_file_of_the_first_version_goes_on_in_the_new_one(tmp_path: Path) -> None:
    shutil.copytree(HERE / "checkpoints-v1", tmp_path / "saved")
    checkpointer = FileCheckpointer(tmp_path / "saved")
    state = checkpointer.load("minimal")
    assert state == MINIMAL
    state = state.with_messages(Message.assistant("Hi."))
    checkpointer.save("minimal", state)
    assert FileCheckpointer(tmp_path / "saved").load("minimal") == state
    assert checkpointer.load("every/thing") == EVERYTHING
    checkpointer.delete("minimal")
    checkpointer.delete("every/thing")
    assert checkpointer.threads() == ()
    assert list((tmp_path / "saved").iterdir()) == []


def test_two_checkpointers_save_in_turns_and_the_last_one_wins(tmp_path: Path) -> None:
    first, second = FileCheckpointer(tmp_path), FileCheckpointer(tmp_path)
    states = [make_long_state(3), make_long_state(3)]
    for number in range(6):
        states[number % 2] = states[number % 2].with_messages(Message.user(str(number)))
        (first, second)[number % 2].save("a", states[number % 2])
        for reader in (first, second, FileCheckpointer(tmp_path)):
            assert reader.load("a") == states[number % 2]
    get_log(tmp_path)  # there is only one


def test_many_threads_save_at_the_same_time_and_nothing_is_damaged(tmp_path: Path) -> None:
    def save_often(number: int) -> None:
        checkpointer = FileCheckpointer(tmp_path)
        state = make_long_state(number)
        for step in range(9):
            state = state.with_messages(Message.user(f"{number}: {step}"))
            checkpointer.save("a", state)
            loaded = checkpointer.load("a")
            assert loaded is not None
            state = loaded if step % 3 == 0 else state

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save_often, range(4)))
    assert FileCheckpointer(tmp_path).load("a") is not None


def test_a_removed_log_is_damage_and_saving_again_repairs_it(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    get_log(tmp_path).unlink()
    with pytest.raises(CheckpointError, match=r"its items are missing.*Put a good copy"):
        checkpointer.load("a")
    checkpointer.save("a", ONE.with_messages(Message.user("z")))
    assert checkpointer.load("a") == ONE.with_messages(Message.user("z"))


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="needs O_NOFOLLOW")
def test_no_link_in_the_place_of_a_file_is_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x" * 500)
    checkpointer = FileCheckpointer(tmp_path / "saved")
    checkpointer.save("a", ONE)
    log = get_log(tmp_path / "saved")
    log.unlink()
    log.symlink_to(precious)
    with pytest.raises(CheckpointError):
        checkpointer.load("a")
    with pytest.raises(CheckpointError):
        checkpointer.save("a", ONE.with_messages(Message.user("z")))
    head = checkpointer._get_checkpoint_path("a")
    head.unlink()
    head.symlink_to(precious)
    checkpointer.save("a", TWO)
    assert checkpointer.load("a") == TWO
    assert precious.read_text() == "x" * 500


def test_a_head_leads_to_no_other_file(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    path = checkpointer._get_checkpoint_path("a")
    header, body = map(json.loads, path.read_text().splitlines())
    for name in ("../secret.jsonl", body["log"]["name"].replace("a-", "b-")):
        body["log"]["name"] = name
        encoded = json.dumps(body, separators=(",", ":"))
        header["sha256"] = sha256(encoded.encode()).hexdigest()
        path.write_text(f"{json.dumps(header)}\n{encoded}\n")
        with pytest.raises(CheckpointError, match="is damaged"):
            checkpointer.load("a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_keeps_no_lock_of_a_save(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("a", ONE)
    reader, writer = os.pipe()
    with checkpointer._lock_log(checkpointer._get_checkpoint_path("a"), "a"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there may be other threads
            child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent has ended with it
            os._exit(0)
    with HangGuard():
        checkpointer.save("a", TWO)
    os.close(writer)
    os.waitpid(child, 0)
    os.close(reader)


def test_old_logs_are_removed_only_where_their_thread_has_another_one(tmp_path: Path) -> None:
    paths = {}
    for thread in ("replaced", "kept", "damaged", "no head"):
        FileCheckpointer(tmp_path).save(thread, ONE)
        paths[thread] = FileCheckpointer(tmp_path)._get_checkpoint_path(thread)
    left_behind = {
        thread: path.with_suffix(f".{'1' * 32}.jsonl")
        for thread, path in paths.items()
        if thread != "kept"
    }
    foreign = [tmp_path / "notes.jsonl", tmp_path / f"{paths['kept'].stem}.old.jsonl"]
    for path in (*left_behind.values(), *foreign):
        path.write_text("{}\n")
    paths["damaged"].write_text("damaged")
    paths["no head"].unlink()
    hours_ago = time.time() - 7200
    for path in tmp_path.iterdir():
        os.utime(path, (hours_ago, hours_ago))
    names = {path.name for path in tmp_path.iterdir()}
    checkpointer = FileCheckpointer(tmp_path)
    checkpointer.save("other", ONE)
    assert names - {path.name for path in tmp_path.iterdir()} == {left_behind["replaced"].name}
    assert checkpointer.load("kept") == checkpointer.load("replaced") == ONE


@pytest.mark.parametrize("head", ["none", "of the first version"])
def test_deleting_removes_what_a_killed_delete_has_left_but_no_log_of_a_save(
    tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(HERE / "checkpoints-v1", tmp_path / "saved")
    directory = tmp_path / "saved"
    checkpointer = FileCheckpointer(directory)
    path = checkpointer._get_checkpoint_path("minimal")
    if head == "none":
        path.unlink()
    left = path.with_suffix(f".{'1' * 32}.jsonl")
    left.write_text("{}\n")
    append = ItemLog.append

    def append_and_delete(*args: Any) -> Any:
        reference = append(*args)
        FileCheckpointer(directory).delete("minimal")  # before the head is written
        return reference

    monkeypatch.setattr(ItemLog, "append", append_and_delete)
    checkpointer.save("minimal", TWO)
    assert not left.exists()
    assert FileCheckpointer(directory).load("minimal") == TWO
    checkpointer.delete("minimal")
    assert not [file for file in directory.iterdir() if file.stem.startswith(path.stem)]
