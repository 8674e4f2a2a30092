"""What every checkpointer promises, tried on each of them."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, ToolCall
from locus.core.state import AgentState, ToolExecution
from locus.memory import (
    BaseCheckpointer,
    FileCheckpointer,
    MemoryCheckpointer,
    SQLiteCheckpointer,
)
from tests.memory.checkpointers.every_checkpointer import DURABLE, MAKERS
from tests.support.samples import EVERYTHING
from tests.support.strategies.states import states, thread_ids


@pytest.fixture(params=list(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def checkpointer(kind: str, tmp_path: Path) -> Iterator[BaseCheckpointer]:
    with MAKERS[kind](tmp_path) as made:
        yield made


def said(*words: str, **fields: Any) -> AgentState:
    return AgentState(tuple(Message.user(word) for word in words), **fields)


# -- save, load, delete ------------------------------------------------------------------------


def test_a_thread_that_was_never_saved_is_none(checkpointer: BaseCheckpointer) -> None:
    assert checkpointer.load("a") is None
    assert checkpointer.threads() == ()
    checkpointer.delete("a")


def test_the_last_saved_state_is_loaded(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", said("x"))
    checkpointer.save("b", EVERYTHING)
    checkpointer.save("a", said("x", "y"))
    assert checkpointer.load("a") == said("x", "y")
    assert checkpointer.load("b") == EVERYTHING
    assert checkpointer.threads() == ("a", "b")


def test_a_deleted_thread_is_gone_and_may_come_again(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", said("x", "y"))
    checkpointer.save("b", said("z"))
    checkpointer.delete("a")
    checkpointer.delete("a")
    assert checkpointer.load("a") is None
    assert checkpointer.threads() == ("b",)
    checkpointer.save("a", said("x"))
    assert checkpointer.load("a") == said("x")


def test_an_empty_state_is_a_checkpoint(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", AgentState())
    assert checkpointer.load("a") == AgentState()
    assert checkpointer.threads() == ("a",)


@pytest.mark.parametrize(
    "then",
    [
        (),
        ("x",),
        ("x", "y"),
        ("x", "y", "z"),
        ("x", "y", "z", "w"),
        ("a", "y", "z"),
        ("x", "b", "z", "w"),
        ("y", "z"),
        ("x", "x", "y", "z"),
    ],
)
def test_a_history_that_does_not_go_on_from_the_last_one_replaces_it(
    checkpointer: BaseCheckpointer, then: tuple[str, ...]
) -> None:
    ran = tuple(ToolExecution("f", word) for word in then)
    checkpointer.save("a", said("x", "y", "z", tool_executions=(ToolExecution("f", "x"),)))
    checkpointer.save("a", said(*then, tool_executions=ran))
    assert checkpointer.load("a") == said(*then, tool_executions=ran)
    checkpointer.save("a", said(*then, "end"))
    assert checkpointer.load("a") == said(*then, "end")


def test_what_is_equal_to_python_but_not_to_json_is_kept_apart(
    checkpointer: BaseCheckpointer,
) -> None:
    for value in (1, True, 1.0):
        checkpointer.save("a", AgentState((Message.user("x", metadata={"a": value}),)))
        found = checkpointer.load("a")
        assert found is not None
        assert type(found.messages[0].metadata["a"]) is type(value)


def test_a_state_that_json_cannot_say_is_refused_and_the_one_before_stays(
    checkpointer: BaseCheckpointer,
) -> None:
    checkpointer.save("a", said("x"))
    for bad in (
        said("x", metadata={"a": object()}),
        said("x").with_messages(Message.user("y", metadata={"a": b"x"})),
        said("x").with_execution(ToolExecution("f", "1", {"a": {1}})),
    ):
        with pytest.raises(ConfigurationError, match="cannot be saved as JSON"):
            checkpointer.save("a", bad)
        assert checkpointer.load("a") == said("x")
    checkpointer.save("a", said("x", "y"))
    assert checkpointer.load("a") == said("x", "y")


@pytest.mark.parametrize("thread_id", ["", None, 3, b"a"])
def test_what_is_no_thread_id_is_refused_by_all_methods(
    checkpointer: BaseCheckpointer, thread_id: Any
) -> None:
    error = ValueError if thread_id == "" else TypeError
    for method in (checkpointer.load, checkpointer.delete, checkpointer.claim):
        with pytest.raises(error, match="thread_id"):
            method(thread_id)
    with pytest.raises(error, match="thread_id"):
        checkpointer.save(thread_id, AgentState())


def test_what_is_no_state_is_refused(checkpointer: BaseCheckpointer) -> None:
    bad: Any = {"messages": ()}
    with pytest.raises(TypeError, match="is an AgentState, not dict"):
        checkpointer.save("a", bad)
    assert checkpointer.load("a") is None


def test_nobody_alters_a_checkpoint_from_outside(checkpointer: BaseCheckpointer) -> None:
    notes = {"a": [1]}
    state = said("x", metadata=notes).with_messages(
        Message.user("y", metadata=notes), Message.assistant(None, [ToolCall("1", "f", notes)])
    )
    state = state.with_execution(ToolExecution("f", "1", notes))
    checkpointer.save("a", state)
    notes["a"].append(2)
    for _ in range(2):
        found = checkpointer.load("a")
        assert found is not None
        kept = (
            found.metadata,
            found.messages[1].metadata,
            found.messages[2].tool_calls[0].arguments,
            found.tool_executions[0].arguments,
        )
        assert kept == ({"a": [1]},) * 4
        for each in kept:
            each["a"].append(3)


def test_what_json_has_no_word_for_comes_back_as_json_has_it(
    checkpointer: BaseCheckpointer,
) -> None:
    checkpointer.save("a", said("x", metadata={"a": (1, 2)}))
    found = checkpointer.load("a")
    assert found is not None
    assert found.metadata == {"a": [1, 2]}


def test_both_halves_of_a_pair_are_not_the_character_they_stand_for(
    checkpointer: BaseCheckpointer,
) -> None:
    split, one = "\ud83d\ude00", "\U0001f600"
    for name in (split, one):
        with checkpointer.claim(name):
            checkpointer.save(name, said(name, split, one, metadata={name: split}))
    for name in (split, one):
        assert checkpointer.load(name) == said(name, split, one, metadata={name: split})
    assert checkpointer.threads() == (split, one)


@pytest.mark.parametrize("kind", [FileCheckpointer, SQLiteCheckpointer])
def test_a_path_that_no_file_system_has_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="null character"):
        kind("a\0b")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(state=states(), thread_id=thread_ids())
@example(state=EVERYTHING, thread_id="../../etc/passwd")
def test_any_state_is_loaded_equal_under_any_name(
    kind: str, tmp_path: Path, state: AgentState, thread_id: str
) -> None:
    with MAKERS[kind](tmp_path) as checkpointer:
        checkpointer.save(thread_id, state)
        if kind in DURABLE:
            checkpointer = pickle.loads(pickle.dumps(checkpointer))  # which knows nothing yet
        with checkpointer, checkpointer.claim(thread_id):
            assert checkpointer.load(thread_id) == state
            assert thread_id in checkpointer.threads()
            checkpointer.delete(thread_id)
            assert thread_id not in checkpointer.threads()


def test_names_that_file_systems_confuse_are_threads_of_their_own(
    checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    names = ["a", "A", "é", "e\u0301", "a/b", "a\\b", "a b", "a-b", "../a", "a\x00b", "a\x00c"]
    names += ["a" * 5000, "a" * 5001, "\ud800", "\udfff", ".", "..", "con"]
    for name in names:
        checkpointer.save(name, said(name))
    assert checkpointer.threads() == tuple(sorted(names))
    for name in names:
        assert checkpointer.load(name) == said(name)
    outside = {path.name.partition(".")[0].partition("-")[0] for path in tmp_path.iterdir()}
    assert outside <= {"saved"}


# -- opened, closed, pickled -------------------------------------------------------------------


def test_a_closed_checkpointer_may_be_used_again(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", said("x"))
    checkpointer.close()
    checkpointer.close()
    assert checkpointer.load("a") == said("x")
    checkpointer.save("a", said("x", "y"))
    with checkpointer as same:
        assert same is checkpointer
    assert checkpointer.load("a") == said("x", "y")


@pytest.mark.parametrize("kind", DURABLE)
def test_pickled_and_copied_it_reads_the_same_checkpoints(
    checkpointer: BaseCheckpointer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpointer.save("a", said("x"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for other in (pickle.loads(pickle.dumps(checkpointer)), copy.copy(checkpointer)):
        assert type(other) is type(checkpointer)
        assert repr(other) == repr(checkpointer)
        with other:
            assert other.load("a") == said("x")


def test_a_checkpointer_in_memory_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="SQLiteCheckpointer"):
        pickle.dumps(MemoryCheckpointer())


@pytest.mark.parametrize("kind", DURABLE)
def test_a_relative_path_stays_where_it_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with MAKERS[kind](Path("deep/down")) as checkpointer:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        checkpointer.save("a", said("x"))
        assert (tmp_path / "deep/down").is_dir()
        assert not list(Path().iterdir())


def test_the_repr_says_where(checkpointer: BaseCheckpointer, kind: str, tmp_path: Path) -> None:
    checkpointer.save("a", said("x"))
    where = {
        "memory": "<MemoryCheckpointer, 1 threads>",
        "file": f"FileCheckpointer({str(tmp_path / 'saved')!r})",
        "sqlite": f"SQLiteCheckpointer({str(tmp_path / 'saved.db')!r})",
    }
    assert repr(checkpointer) == where[kind]


# -- many at once ------------------------------------------------------------------------------


def test_threads_of_a_process_save_at_once(checkpointer: BaseCheckpointer) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        state = AgentState()
        for step in range(8):
            state = state.with_messages(Message.user(f"{number} {step}")).evolve(iteration=step)
            checkpointer.save(f"thread {number}", state)
            assert checkpointer.load(f"thread {number}") == state

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(checkpointer.threads()) == 8


def test_savers_of_one_thread_leave_one_of_their_states_whole(
    checkpointer: BaseCheckpointer,
) -> None:
    """Nobody has claimed it: the last one wins, and no mixture is ever seen."""
    all_states = [said(*[f"{number}"] * (number + 1)) for number in range(6)]
    start = threading.Barrier(7)

    def work(state: AgentState) -> None:
        start.wait()
        for _ in range(5):
            checkpointer.save("a", state)

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(work, state) for state in all_states]
        start.wait()
        while not all(future.done() for future in done):
            assert checkpointer.load("a") in [None, *all_states]
    for future in done:
        future.result()
    assert checkpointer.load("a") in all_states
