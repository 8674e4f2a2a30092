"""The contract of ``BaseCheckpointer``, tested with every checkpointer."""

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
from tests.memory.checkpointers.checkpointer_factories import DURABLE_BACKENDS, FACTORIES
from tests.support.samples import EVERYTHING
from tests.support.strategies.states import states, thread_ids


@pytest.fixture(params=list(FACTORIES))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def checkpointer(backend: str, tmp_path: Path) -> Iterator[BaseCheckpointer]:
    with FACTORIES[backend](tmp_path) as instance:
        yield instance


def make_state(*texts: str, **fields: Any) -> AgentState:
    return AgentState(tuple(Message.user(text) for text in texts), **fields)


# -- save, load, delete ------------------------------------------------------------------------


def test_a_thread_without_checkpoint_is_loaded_as_none(checkpointer: BaseCheckpointer) -> None:
    assert checkpointer.load("a") is None
    assert checkpointer.threads() == ()
    checkpointer.delete("a")


def test_the_last_saved_state_is_loaded(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", make_state("x"))
    checkpointer.save("b", EVERYTHING)
    checkpointer.save("a", make_state("x", "y"))
    assert checkpointer.load("a") == make_state("x", "y")
    assert checkpointer.load("b") == EVERYTHING
    assert checkpointer.threads() == ("a", "b")


def test_a_deleted_thread_can_be_saved_again(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", make_state("x", "y"))
    checkpointer.save("b", make_state("z"))
    checkpointer.delete("a")
    checkpointer.delete("a")
    assert checkpointer.load("a") is None
    assert checkpointer.threads() == ("b",)
    checkpointer.save("a", make_state("x"))
    assert checkpointer.load("a") == make_state("x")


def test_an_empty_state_is_a_checkpoint(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", AgentState())
    assert checkpointer.load("a") == AgentState()
    assert checkpointer.threads() == ("a",)


@pytest.mark.parametrize(
    "new_texts",
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
def test_a_history_that_does_not_continue_the_saved_one_replaces_it(
    checkpointer: BaseCheckpointer, new_texts: tuple[str, ...]
) -> None:
    executions = tuple(ToolExecution("f", text) for text in new_texts)
    checkpointer.save("a", make_state("x", "y", "z", tool_executions=(ToolExecution("f", "x"),)))
    checkpointer.save("a", make_state(*new_texts, tool_executions=executions))
    assert checkpointer.load("a") == make_state(*new_texts, tool_executions=executions)
    checkpointer.save("a", make_state(*new_texts, "end"))
    assert checkpointer.load("a") == make_state(*new_texts, "end")


def test_values_that_are_equal_in_python_but_not_in_json_differ(
    checkpointer: BaseCheckpointer,
) -> None:
    for value in (1, True, 1.0):
        checkpointer.save("a", AgentState((Message.user("x", metadata={"a": value}),)))
        loaded = checkpointer.load("a")
        assert loaded is not None
        assert type(loaded.messages[0].metadata["a"]) is type(value)


def test_a_state_that_json_cannot_represent_is_an_error_and_not_saved(
    checkpointer: BaseCheckpointer,
) -> None:
    checkpointer.save("a", make_state("x"))
    for invalid in (
        make_state("x", metadata={"a": object()}),
        make_state("x").with_messages(Message.user("y", metadata={"a": b"x"})),
        make_state("x").with_execution(ToolExecution("f", "1", {"a": {1}})),
    ):
        with pytest.raises(ConfigurationError, match="cannot be saved as JSON"):
            checkpointer.save("a", invalid)
        assert checkpointer.load("a") == make_state("x")
    checkpointer.save("a", make_state("x", "y"))
    assert checkpointer.load("a") == make_state("x", "y")


@pytest.mark.parametrize("thread_id", ["", None, 3, b"a"])
def test_an_invalid_thread_id_is_an_error_of_all_methods(
    checkpointer: BaseCheckpointer, thread_id: Any
) -> None:
    error = ValueError if thread_id == "" else TypeError
    for method in (checkpointer.load, checkpointer.delete, checkpointer.claim):
        with pytest.raises(error, match="thread_id"):
            method(thread_id)
    with pytest.raises(error, match="thread_id"):
        checkpointer.save(thread_id, AgentState())


def test_another_class_than_agent_state_is_an_error(checkpointer: BaseCheckpointer) -> None:
    invalid: Any = {"messages": ()}
    with pytest.raises(TypeError, match="is an AgentState, not dict"):
        checkpointer.save("a", invalid)
    assert checkpointer.load("a") is None


def test_changing_a_saved_or_loaded_value_does_not_change_the_checkpoint(
    checkpointer: BaseCheckpointer,
) -> None:
    data = {"a": [1]}
    state = make_state("x", metadata=data).with_messages(
        Message.user("y", metadata=data), Message.assistant(None, [ToolCall("1", "f", data)])
    )
    state = state.with_execution(ToolExecution("f", "1", data))
    checkpointer.save("a", state)
    data["a"].append(2)
    for _ in range(2):
        loaded = checkpointer.load("a")
        assert loaded is not None
        mappings = (
            loaded.metadata,
            loaded.messages[1].metadata,
            loaded.messages[2].tool_calls[0].arguments,
            loaded.tool_executions[0].arguments,
        )
        assert mappings == ({"a": [1]},) * 4
        for mapping in mappings:
            mapping["a"].append(3)


def test_a_tuple_is_loaded_as_a_list(
    checkpointer: BaseCheckpointer,
) -> None:
    checkpointer.save("a", make_state("x", metadata={"a": (1, 2)}))
    loaded = checkpointer.load("a")
    assert loaded is not None
    assert loaded.metadata == {"a": [1, 2]}


def test_two_surrogate_halves_are_not_loaded_as_one_character(
    checkpointer: BaseCheckpointer,
) -> None:
    split, one = "\ud83d\ude00", "\U0001f600"
    for name in (split, one):
        with checkpointer.claim(name):
            checkpointer.save(name, make_state(name, split, one, metadata={name: split}))
    for name in (split, one):
        assert checkpointer.load(name) == make_state(name, split, one, metadata={name: split})
    assert checkpointer.threads() == (split, one)


@pytest.mark.parametrize("backend", [FileCheckpointer, SQLiteCheckpointer])
def test_a_path_with_a_null_character_is_an_error(backend: Any) -> None:
    with pytest.raises(ConfigurationError, match="null character"):
        backend("a\0b")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(state=states(), thread_id=thread_ids())
@example(state=EVERYTHING, thread_id="../../etc/passwd")
def test_any_state_is_loaded_equal_under_any_name(
    backend: str, tmp_path: Path, state: AgentState, thread_id: str
) -> None:
    with FACTORIES[backend](tmp_path) as checkpointer:
        checkpointer.save(thread_id, state)
        if backend in DURABLE_BACKENDS:
            checkpointer = pickle.loads(pickle.dumps(checkpointer))  # without cached states
        with checkpointer, checkpointer.claim(thread_id):
            assert checkpointer.load(thread_id) == state
            assert thread_id in checkpointer.threads()
            checkpointer.delete(thread_id)
            assert thread_id not in checkpointer.threads()


def test_ids_that_file_systems_do_not_distinguish_are_separate_threads(
    checkpointer: BaseCheckpointer, tmp_path: Path
) -> None:
    names = ["a", "A", "é", "e\u0301", "a/b", "a\\b", "a b", "a-b", "../a", "a\x00b", "a\x00c"]
    names += ["a" * 5000, "a" * 5001, "\ud800", "\udfff", ".", "..", "con"]
    for name in names:
        checkpointer.save(name, make_state(name))
    assert checkpointer.threads() == tuple(sorted(names))
    for name in names:
        assert checkpointer.load(name) == make_state(name)
    outside = {path.name.partition(".")[0].partition("-")[0] for path in tmp_path.iterdir()}
    assert outside <= {"saved"}


# -- closing and pickling ----------------------------------------------------------------------


def test_a_closed_checkpointer_may_be_used_again(checkpointer: BaseCheckpointer) -> None:
    checkpointer.save("a", make_state("x"))
    checkpointer.close()
    checkpointer.close()
    assert checkpointer.load("a") == make_state("x")
    checkpointer.save("a", make_state("x", "y"))
    with checkpointer as same:
        assert same is checkpointer
    assert checkpointer.load("a") == make_state("x", "y")


@pytest.mark.parametrize("backend", DURABLE_BACKENDS)
def test_a_pickled_or_copied_checkpointer_has_the_same_checkpoints(
    checkpointer: BaseCheckpointer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpointer.save("a", make_state("x"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for copied in (pickle.loads(pickle.dumps(checkpointer)), copy.copy(checkpointer)):
        assert type(copied) is type(checkpointer)
        assert repr(copied) == repr(checkpointer)
        with copied:
            assert copied.load("a") == make_state("x")


def test_pickling_a_memory_checkpointer_is_an_error() -> None:
    with pytest.raises(TypeError, match="SQLiteCheckpointer"):
        pickle.dumps(MemoryCheckpointer())


@pytest.mark.parametrize("backend", DURABLE_BACKENDS)
def test_a_relative_path_is_made_absolute(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with FACTORIES[backend](Path("deep/down")) as checkpointer:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        checkpointer.save("a", make_state("x"))
        assert (tmp_path / "deep/down").is_dir()
        assert not list(Path().iterdir())


def test_the_repr_has_the_path(
    checkpointer: BaseCheckpointer, backend: str, tmp_path: Path
) -> None:
    checkpointer.save("a", make_state("x"))
    expected = {
        "memory": "<MemoryCheckpointer, 1 threads>",
        "file": f"FileCheckpointer({str(tmp_path / 'saved')!r})",
        "sqlite": f"SQLiteCheckpointer({str(tmp_path / 'saved.db')!r})",
    }
    assert repr(checkpointer) == expected[backend]


# -- concurrency --------------------------------------------------------------------------------


def test_threads_of_a_process_save_concurrently(checkpointer: BaseCheckpointer) -> None:
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


def test_concurrent_saves_of_one_thread_leave_one_complete_state(
    checkpointer: BaseCheckpointer,
) -> None:
    """Without a lock the last save wins, and no mixture of two states is loaded."""
    all_states = [make_state(*[f"{number}"] * (number + 1)) for number in range(6)]
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
