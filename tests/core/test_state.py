"""The state of an agent: made step by step, and kept whole by JSON."""

from __future__ import annotations

import gc
import json
import pickle
import time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.state import AgentState, StateFormatError, ToolExecution
from locus.core.state_json import read_items, write_item
from tests.support.samples import EVERYTHING, HERE, MINIMAL
from tests.support.strategies import conversations, json_objects
from tests.support.strategies.states import executions, states


@given(states())
def test_any_state_survives_json_and_pickle(state: AgentState) -> None:
    data = state.to_json()
    again = AgentState.from_json(data)
    assert again == state
    assert again.to_json() == data
    assert AgentState.from_json(data.decode()) == state
    assert pickle.loads(pickle.dumps(state)) == state


def test_json_tells_numbers_from_truth_values() -> None:
    state = AgentState(metadata={"a": 1, "b": True, "c": 1.0, "d": 0.1})
    assert json.loads(state.to_json())["metadata"] == {"a": 1, "b": True, "c": 1.0, "d": 0.1}
    found = AgentState.from_json(state.to_json()).metadata
    assert [type(value) for value in found.values()] == [int, bool, float, float]


def test_a_loaded_state_is_as_immutable_as_a_made_one() -> None:
    state = AgentState.from_json(EVERYTHING.to_json())
    assert isinstance(state.messages, tuple)
    for value in (state.provider_state, state.metadata, state.usage):
        assert isinstance(value, FrozenDict)
    assert isinstance(state.tool_executions[0].arguments, FrozenDict)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        state.iteration = 3  # type: ignore[misc]


def test_no_provider_state_is_not_the_same_as_an_empty_one() -> None:
    for value in (None, {}):
        state = AgentState(provider_state=value)
        assert AgentState.from_json(state.to_json()).provider_state == value


# -- samples of what was saved once ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state"),
    [("state-v1", EVERYTHING), ("minimal-v1", MINIMAL), ("later-v1", EVERYTHING)],
)
def test_what_was_saved_once_is_read_for_ever(name: str, state: AgentState) -> None:
    assert AgentState.from_json((HERE / f"{name}.json").read_bytes()) == state


def test_the_format_does_not_change_by_mistake() -> None:
    """If this fails, a state is written in another way than before: is it a new version?"""
    assert (HERE / "state-v1.json").read_bytes() == EVERYTHING.to_json()
    assert (HERE / "minimal-v1.json").read_bytes() == MINIMAL.to_json()


def test_a_newer_format_is_an_error_that_says_so() -> None:
    with pytest.raises(StateFormatError, match=r"format 2.*up to 1.*newer") as caught:
        AgentState.from_json(b'{"locus_state": 2, "message_log": []}')
    assert caught.value.newer
    assert pickle.loads(pickle.dumps(caught.value)).newer


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "not a saved state"),
        (b"{}", "no version in 'locus_state'"),
        (b"[]", "no version"),
        (b"null", "no version"),
        (b'{"locus_state": "1"}', "no version"),
        (b'{"locus_state": true}', "no version"),
        (b'{"locus_state": 0}', "no version"),
        (b'{"locus_state": 1, "messages": {}}', r"an array is wanted.*\$\.messages"),
        (b'{"locus_state": 1, "messages": [{"content": "x"}]}', r"missing @ \$\.messages\[0\]"),
        (
            b'{"locus_state": 1, "messages": [{"role": "user", "content": [{"type": "smell"}]}]}',
            r"\$\.messages\[0\]\.content",
        ),
        (b'{"locus_state": 1, "iteration": "3"}', r"a whole number is wanted.*\$\.iteration"),
        (b'{"locus_state": 1, "confidence": 7}', "between 0 and 1"),
        (b'{"locus_state": 1, "tool_executions": [{}]}', r"\$\.tool_executions\[0\]"),
        (b"\xff\xfe", "not a saved state"),
        (b"[" * 100_000, "not a saved state"),
    ],
)
def test_what_is_no_state_is_an_error_that_says_where(data: bytes, named: str) -> None:
    with pytest.raises(StateFormatError, match=named) as caught:
        AgentState.from_json(data)
    assert not caught.value.newer


@pytest.mark.parametrize("item", [b"", b"{", b"{}", b"[]", b'{"role": "robot"}'])
def test_what_is_no_message_is_an_error(item: bytes) -> None:
    with pytest.raises(StateFormatError, match="not a saved"):
        read_items(Message, [write_item(Message.user("x")), item])


@given(st.data())
def test_a_state_that_was_cut_off_is_never_read(data: st.DataObject) -> None:
    whole = EVERYTHING.to_json()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(StateFormatError):
        AgentState.from_json(whole[:cut])


@pytest.mark.parametrize(
    "state",
    [
        AgentState(metadata={"a": object()}),
        AgentState(provider_state={"a": b"x"}),
        AgentState((Message.user("x", metadata={"a": {1, 2}}),)),
        AgentState(tool_executions=(ToolExecution("f", "1", {"a": {1: 2}}),)),
    ],
)
def test_what_json_cannot_say_is_refused_when_written(state: AgentState) -> None:
    with pytest.raises(ConfigurationError, match="cannot be saved as JSON"):
        state.to_json()


# -- steps -------------------------------------------------------------------------------------


@given(states(), conversations(), st.lists(executions(), max_size=2))
def test_steps_give_what_the_constructor_gives(
    state: AgentState, more: tuple[Message, ...], ran: list[ToolExecution]
) -> None:
    assert state.with_messages(*more) == attrs.evolve(state, messages=state.messages + more)
    assert state.with_execution(*ran) == attrs.evolve(
        state, tool_executions=state.tool_executions + tuple(ran)
    )
    assert state.evolve(iteration=7, messages=list(more)) == attrs.evolve(
        state, iteration=7, messages=more
    )
    assert state.evolve() == state
    assert state.last_message == (state.messages[-1] if state.messages else None)


@given(json_objects())
def test_evolve_converts_what_it_is_given(metadata: dict[str, Any]) -> None:
    state = AgentState().evolve(metadata=metadata, provider_state=metadata, confidence=1)
    assert isinstance(state.metadata, FrozenDict)
    assert isinstance(state.provider_state, FrozenDict)
    assert type(state.confidence) is float
    assert state == AgentState(metadata=metadata, provider_state=metadata, confidence=1)


ENDLESS: dict[str, Any] = {}
ENDLESS["a"] = [ENDLESS]


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"mesages": ()}, TypeError, "no field 'mesages'; it has messages,"),
        ({"messages": ["x"]}, TypeError, r"messages\[0\] is str, not Message"),
        ({"messages": "x"}, TypeError, "messages is a sequence of Message, not str"),
        ({"tool_executions": [Message.user("x")]}, TypeError, r"tool_executions\[0\] is Message"),
        ({"iteration": "1"}, TypeError, "iteration"),
        ({"iteration": True}, TypeError, "iteration is a whole number, not True"),
        ({"iteration": 1.5}, TypeError, "iteration is a whole number, not 1.5"),
        ({"usage": {"prompt_tokens": 1.5}}, TypeError, "usage has whole numbers"),
        ({"usage": {"x": None}}, TypeError, "usage has whole numbers"),
        ({"usage": {"x": True}}, TypeError, "usage has whole numbers"),
        ({"usage": {1: 1}}, TypeError, "usage has whole numbers"),
        ({"confidence": "1"}, TypeError, "confidence is a number"),
        ({"metadata": ENDLESS}, ValueError, "metadata is nested too deep, or contains itself"),
        ({"metadata": []}, TypeError, "metadata must be a mapping"),
        ({"usage": 3}, TypeError, "usage must be a mapping"),
        ({"provider_state": "x"}, TypeError, "provider_state must be a mapping"),
        ({"confidence": 1.5}, ValueError, "confidence is between 0 and 1"),
        ({"confidence": float("nan")}, ValueError, "confidence is between 0 and 1"),
    ],
)
def test_wrong_values_are_refused(change: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        AgentState().evolve(**change)
    if "no field" not in named:
        with pytest.raises(error, match=named):
            AgentState(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"result": 5},
        {"error": b"x"},
        {"duration_ms": "3"},
        {"duration_ms": True},
        {"iteration": True},
        {"iteration": None},
        {"idempotent": 1},
        {"tool_name": None},
        {"tool_call_id": 7},
    ],
)
def test_an_execution_refuses_what_could_not_be_read_again(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(change))):
        ToolExecution(**{"tool_name": "f", "tool_call_id": "1"} | change)


ANYTHING: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 1, -1, 1.5, 10**30, float("inf"), "x", b"x", {}, ["x"], {1}]
)


@given(st.data())
def test_what_is_accepted_is_refused_clearly_when_saved_or_read_again(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([AgentState, ToolExecution]))
    names = [field.name for field in attrs.fields(kind)]
    fields: dict[str, Any] = {} if kind is AgentState else {"tool_name": "f", "tool_call_id": "1"}
    fields |= data.draw(st.dictionaries(st.sampled_from(names), ANYTHING, max_size=3))
    if isinstance(fields.get("usage"), dict):
        fields["usage"] = {"x": data.draw(ANYTHING)}
    try:
        made = kind(**fields)
        state = made if isinstance(made, AgentState) else AgentState(tool_executions=(made,))
        saved = state.to_json()
    except (TypeError, ValueError):
        return
    assert AgentState.from_json(saved) == state


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth - 1):
        value = [value]
    return {"a": value}


def test_nesting_that_is_saved_is_read_where_the_stack_is_fuller() -> None:
    with pytest.raises(ConfigurationError, match="more than 100 levels"):
        AgentState(metadata=nested(101)).to_json()
    state = AgentState(metadata=nested(100))
    saved = state.to_json()

    def read(frames: int) -> AgentState:
        return read(frames - 1) if frames else AgentState.from_json(saved)

    assert read(300) == state


def test_a_state_shares_nothing_with_what_it_was_made_of() -> None:
    notes = {"a": [1]}
    state = AgentState(metadata=notes, provider_state=notes)
    ran = ToolExecution("f", "1", notes)
    notes["a"].append(2)
    assert state.metadata == state.provider_state == ran.arguments == {"a": [1]}


SPLIT = "\ud83d\ude00"  # not the one character that the two halves stand for
assert len(SPLIT) == 2


@given(st.text("\ud83d\ude00\ud800\udfff\U0001f600\ue000\ue001a\\", max_size=12))
def test_halves_of_a_pair_stay_apart(text: str) -> None:
    state = AgentState(
        (Message.user(text), Message.user([text, text])),
        metadata={text: [text, {text: text}], "split_pairs": "\ue000"},
    )
    again = AgentState.from_json(state.to_json())
    assert again == state
    assert again.to_json() == state.to_json()
    assert read_items(Message, [write_item(each) for each in state.messages]) == state.messages


def test_a_pair_and_its_character_are_two_members() -> None:
    state = AgentState(metadata={SPLIT: 1, "\U0001f600": 2, SPLIT + "\ue000": 3})
    assert AgentState.from_json(state.to_json()) == state


def test_steps_refuse_what_is_no_message() -> None:
    with pytest.raises(TypeError, match="usage has whole numbers"):
        AgentState().with_usage({"prompt_tokens": 1.5})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"messages\[1\] is str"):
        AgentState().with_messages(Message.user("x"), "y")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tool_executions\[0\] is str"):
        AgentState().with_execution("y")  # type: ignore[arg-type]


def test_usage_adds_up_key_by_key() -> None:
    state = AgentState().with_usage({"prompt_tokens": 3})
    state = state.with_usage({"prompt_tokens": 4, "cached_tokens": 1}).with_usage({})
    assert state.usage == {"prompt_tokens": 7, "cached_tokens": 1}


def test_nobody_has_judged_a_new_state() -> None:
    assert AgentState().confidence == 0


@pytest.mark.slow
def test_a_step_after_ten_thousand_messages_looks_at_none_of_them() -> None:
    """Bound to a factor of what copying the tuple alone costs, in the same run."""
    state = AgentState(tuple(Message.user(str(n)) for n in range(10_000)))
    message = Message.user("x")

    def fastest(step: Any) -> float:
        times = []
        for _ in range(50):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        return min(times)

    gc.disable()
    try:
        copying = fastest(lambda: (*state.messages, message))
        assert fastest(lambda: state.with_messages(message)) < 5 * copying
        assert fastest(lambda: state.evolve(iteration=3)) < copying
    finally:
        gc.enable()


# -- what is still to be done ------------------------------------------------------------------


def said(*ids: str) -> Message:
    return Message.assistant(None, [ToolCall(id, "f") for id in ids])


def answer(id: str) -> Message:
    return Message.tool(ToolResult(id, "f", "x"))


@pytest.mark.parametrize(
    ("messages", "pending"),
    [
        ((), []),
        ((Message.user("x"),), []),
        ((Message.assistant("x"),), []),
        ((said("1", "2", "3"),), [0, 1, 2]),
        ((said("1", "2", "3"), answer("2")), [0, 2]),
        ((said("1", "2"), answer("2"), Message.user("y"), answer("1")), []),
        ((said("1"), Message.user("y")), [0]),
        ((said("1"), answer("1"), said("2")), [0]),
        ((said("1"), answer("1"), said("1")), [0]),
        ((said("1"), Message.assistant("never mind")), []),
        ((said("1", "1"), answer("1")), [1]),
        ((answer("1"), answer("2")), []),
    ],
)
def test_pending_calls_are_those_without_a_result(
    messages: tuple[Message, ...], pending: list[int]
) -> None:
    state = AgentState(messages)
    calls = next((m.tool_calls for m in reversed(messages) if m.role == "assistant"), ())
    assert state.pending_calls() == tuple(calls[at] for at in pending)


def test_an_execution_succeeded_where_it_has_no_error() -> None:
    assert ToolExecution("f", "1", result="x").success
    assert not ToolExecution("f", "1", error="x").success
