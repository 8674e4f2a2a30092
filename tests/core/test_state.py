"""The state of an agent: its steps, its JSON, and the checkpoints of earlier versions."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
import time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError, StateFormatError
from locus.core.frozendict import FrozenDict
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.state import AgentState, OutputRetries, ServerKnowledge, ToolExecution
from locus.core.state_json import decode_items, encode_item
from tests.support.samples import EVERYTHING, HERE, MINIMAL, RECORDS
from tests.support.strategies import conversations, json_objects, json_values
from tests.support.strategies.states import executions, states


@given(states())
def test_any_state_survives_json_and_pickle(state: AgentState) -> None:
    data = state.to_json()
    again = AgentState.from_json(data)
    assert again == state
    assert again.to_json() == data
    assert AgentState.from_json(data.decode()) == state
    assert pickle.loads(pickle.dumps(state)) == state


def test_json_keeps_integers_and_booleans_apart() -> None:
    state = AgentState(metadata={"a": 1, "b": True, "c": 1.0, "d": 0.1})
    assert json.loads(state.to_json())["metadata"] == {"a": 1, "b": True, "c": 1.0, "d": 0.1}
    metadata = AgentState.from_json(state.to_json()).metadata
    assert [type(value) for value in metadata.values()] == [int, bool, float, float]


def test_a_loaded_state_is_immutable() -> None:
    state = AgentState.from_json(EVERYTHING.to_json())
    assert isinstance(state.messages, tuple)
    for value in (state.provider_state, state.metadata, state.usage):
        assert isinstance(value, FrozenDict)
    assert isinstance(state.tool_executions[0].arguments, FrozenDict)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        state.iteration = 3  # type: ignore[misc]


def test_an_empty_provider_state_is_not_none() -> None:
    for value in (None, {}):
        state = AgentState(provider_state=value)
        assert AgentState.from_json(state.to_json()).provider_state == value


# -- samples of saved states ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("state-v1", EVERYTHING),
        ("minimal-v1", MINIMAL),
        ("later-v1", EVERYTHING),
        ("records-v1", RECORDS["stored"]),
        ("old-records-v1", RECORDS["stored"]),
    ],
)
def test_saved_states_of_earlier_versions_can_be_read(name: str, state: AgentState) -> None:
    assert AgentState.from_json((HERE / f"{name}.json").read_bytes()) == state


def test_the_format_does_not_change_by_mistake() -> None:
    """If this fails, a state is saved in another way than before, and may need a new version."""
    assert (HERE / "state-v1.json").read_bytes() == EVERYTHING.to_json()
    assert (HERE / "minimal-v1.json").read_bytes() == MINIMAL.to_json()
    assert (HERE / "records-v1.json").read_bytes() == RECORDS["stored"].to_json()


OLD_RECORDS: dict[str, Any] = {
    "server_knows": 4,
    "server": "a",
    "server_system": "b",
    "empty_answer_after": 5,
    "asked_again": [1, 6],
}


def read_old_records(records: Any) -> AgentState:
    """Read a state as an earlier version saved it, with its records in the metadata."""
    metadata = {"who": "Ada", "locus": records}
    return AgentState.from_json(json.dumps({"locus_state": 1, "metadata": metadata}))


def test_old_records_in_the_metadata_become_fields() -> None:
    state = AgentState(
        metadata={"who": "Ada"},
        server_knowledge=ServerKnowledge(messages=4, server="a", system_prompt="b"),
        empty_response_after=5,
        output_retries=OutputRetries(count=1, message_count=6),
    )
    assert read_old_records(OLD_RECORDS) == state
    assert b"locus_state" in state.to_json()
    assert b'"locus":' not in state.to_json()


@given(st.dictionaries(st.sampled_from([*OLD_RECORDS, "other"]), json_values()))
def test_old_records_with_any_values_can_be_read(records: dict[str, Any]) -> None:
    state = read_old_records(records)
    assert AgentState.from_json(state.to_json()) == state
    others = {name: value for name, value in records.items() if name not in OLD_RECORDS}
    if others or not records:
        assert state.metadata["locus"] == others
    else:
        assert state.metadata == {"who": "Ada"}


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"other": 1}])
def test_other_metadata_of_that_name_stay_as_they_are(value: Any) -> None:
    assert read_old_records(value) == AgentState(metadata={"who": "Ada", "locus": value})


@given(st.dictionaries(st.sampled_from([*OLD_RECORDS, "other"]), json_values()))
def test_metadata_that_look_like_old_records_survive_json(records: dict[str, Any]) -> None:
    state = AgentState(metadata={"locus": records}, empty_response_after=1)
    assert AgentState.from_json(state.to_json()) == state


def test_the_state_does_not_import_cattrs() -> None:
    code = "import locus.core.state, sys; assert 'cattrs' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_newer_format_is_an_error_that_says_so() -> None:
    with pytest.raises(StateFormatError, match=r"format 2.*up to 1.*newer") as exc_info:
        AgentState.from_json(b'{"locus_state": 2, "message_log": []}')
    assert exc_info.value.newer
    assert pickle.loads(pickle.dumps(exc_info.value)).newer


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (b"", "not a saved state"),
        (b"{}", "no version in 'locus_state'"),
        (b"[]", "no version"),
        (b"null", "no version"),
        (b'{"locus_state": "1"}', "no version"),
        (b'{"locus_state": true}', "no version"),
        (b'{"locus_state": 0}', "no version"),
        (b'{"locus_state": 1, "messages": {}}', r"expected an array.*\$\.messages"),
        (b'{"locus_state": 1, "messages": [{"content": "x"}]}', r"missing @ \$\.messages\[0\]"),
        (
            b'{"locus_state": 1, "messages": [{"role": "user", "content": [{"type": "smell"}]}]}',
            r"\$\.messages\[0\]\.content",
        ),
        (b'{"locus_state": 1, "iteration": "3"}', r"expected an integer.*\$\.iteration"),
        (b'{"locus_state": 1, "confidence": 7}', "between 0 and 1"),
        (b'{"locus_state": 1, "tool_executions": [{}]}', r"\$\.tool_executions\[0\]"),
        (b"\xff\xfe", "not a saved state"),
        (b"[" * 100_000, "not a saved state"),
    ],
)
def test_an_error_names_the_path_of_wrong_data(data: bytes, pattern: str) -> None:
    with pytest.raises(StateFormatError, match=pattern) as exc_info:
        AgentState.from_json(data)
    assert not exc_info.value.newer


@pytest.mark.parametrize("item", [b"", b"{", b"{}", b"[]", b'{"role": "robot"}'])
def test_wrong_items_are_an_error(item: bytes) -> None:
    with pytest.raises(StateFormatError, match="not a saved"):
        decode_items([encode_item(Message.user("x")), item], Message)


@given(st.data())
def test_a_truncated_state_is_an_error(data: st.DataObject) -> None:
    complete = EVERYTHING.to_json()
    length = data.draw(st.integers(0, len(complete) - 1))
    with pytest.raises(StateFormatError):
        AgentState.from_json(complete[:length])


@pytest.mark.parametrize(
    "state",
    [
        AgentState(metadata={"a": object()}),
        AgentState(provider_state={"a": b"x"}),
        AgentState((Message.user("x", metadata={"a": {1, 2}}),)),
        AgentState(tool_executions=(ToolExecution("f", "1", {"a": {1: 2}}),)),
    ],
)
def test_values_that_are_not_json_cannot_be_saved(state: AgentState) -> None:
    with pytest.raises(ConfigurationError, match="cannot be saved as JSON"):
        state.to_json()


# -- steps -------------------------------------------------------------------------------------


@given(states(), conversations(), st.lists(executions(), max_size=2))
def test_steps_give_the_same_state_as_the_constructor(
    state: AgentState, new_messages: tuple[Message, ...], new_executions: list[ToolExecution]
) -> None:
    assert state.with_messages(*new_messages) == attrs.evolve(
        state, messages=state.messages + new_messages
    )
    assert state.with_execution(*new_executions) == attrs.evolve(
        state, tool_executions=state.tool_executions + tuple(new_executions)
    )
    assert state.evolve(iteration=7, messages=list(new_messages)) == attrs.evolve(
        state, iteration=7, messages=new_messages
    )
    assert state.evolve() == state
    assert state.last_message == (state.messages[-1] if state.messages else None)


@given(json_objects())
def test_evolve_converts_its_arguments(metadata: dict[str, Any]) -> None:
    state = AgentState().evolve(metadata=metadata, provider_state=metadata, confidence=1)
    assert isinstance(state.metadata, FrozenDict)
    assert isinstance(state.provider_state, FrozenDict)
    assert type(state.confidence) is float
    assert state == AgentState(metadata=metadata, provider_state=metadata, confidence=1)


ENDLESS: dict[str, Any] = {}
ENDLESS["a"] = [ENDLESS]


@pytest.mark.parametrize(
    ("change", "error_type", "pattern"),
    [
        ({"mesages": ()}, TypeError, "no field 'mesages'; it has messages,"),
        ({"messages": ["x"]}, TypeError, r"messages\[0\] is str, not Message"),
        ({"messages": "x"}, TypeError, "messages is a sequence of Message, not str"),
        ({"tool_executions": [Message.user("x")]}, TypeError, r"tool_executions\[0\] is Message"),
        ({"iteration": "1"}, TypeError, "iteration"),
        ({"iteration": True}, TypeError, "iteration is an integer, not True"),
        ({"iteration": 1.5}, TypeError, "iteration is an integer, not 1.5"),
        ({"usage": {"prompt_tokens": 1.5}}, TypeError, "usage has integers"),
        ({"usage": {"x": None}}, TypeError, "usage has integers"),
        ({"usage": {"x": True}}, TypeError, "usage has integers"),
        ({"usage": {1: 1}}, TypeError, "usage has integers"),
        ({"confidence": "1"}, TypeError, "confidence is a number"),
        ({"metadata": ENDLESS}, ValueError, "metadata is nested too deep, or contains itself"),
        ({"metadata": []}, TypeError, "metadata must be a mapping"),
        ({"usage": 3}, TypeError, "usage must be a mapping"),
        ({"provider_state": "x"}, TypeError, "provider_state must be a mapping"),
        ({"server_knowledge": {}}, TypeError, "server_knowledge is ServerKnowledge or None"),
        ({"output_retries": 1}, TypeError, "output_retries is OutputRetries or None, not int"),
        ({"empty_response_after": "1"}, TypeError, "empty_response_after is an integer or"),
        ({"cut_off_call_id": 1}, TypeError, "cut_off_call_id is text or None"),
        ({"confidence": 1.5}, ValueError, "confidence is between 0 and 1"),
        ({"confidence": float("nan")}, ValueError, "confidence is between 0 and 1"),
    ],
)
def test_wrong_values_are_errors(change: Any, error_type: type[Exception], pattern: str) -> None:
    with pytest.raises(error_type, match=pattern):
        AgentState().evolve(**change)
    if "no field" not in pattern:
        with pytest.raises(error_type, match=pattern):
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
def test_wrong_values_of_an_execution_are_errors(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(change))):
        ToolExecution(**{"tool_name": "f", "tool_call_id": "1"} | change)


ANYTHING: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 1, -1, 1.5, 10**30, float("inf"), "x", b"x", {}, ["x"], {1}]
)


@given(st.data())
def test_a_state_that_can_be_saved_can_be_read(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from([AgentState, ToolExecution]))
    names = [field.name for field in attrs.fields(cls)]
    fields: dict[str, Any] = {} if cls is AgentState else {"tool_name": "f", "tool_call_id": "1"}
    fields |= data.draw(st.dictionaries(st.sampled_from(names), ANYTHING, max_size=3))
    if isinstance(fields.get("usage"), dict):
        fields["usage"] = {"x": data.draw(ANYTHING)}
    try:
        value = cls(**fields)
        state = value if isinstance(value, AgentState) else AgentState(tool_executions=(value,))
        saved = state.to_json()
    except (TypeError, ValueError):
        return
    assert AgentState.from_json(saved) == state


def make_nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth - 1):
        value = [value]
    return {"a": value}


def test_nested_values_that_were_saved_can_be_read_on_a_deep_stack() -> None:
    with pytest.raises(ConfigurationError, match="more than 100 levels"):
        AgentState(metadata=make_nested(101)).to_json()
    state = AgentState(metadata=make_nested(100))
    saved = state.to_json()

    def read(frames: int) -> AgentState:
        return read(frames - 1) if frames else AgentState.from_json(saved)

    assert read(300) == state


def test_a_state_does_not_share_its_arguments() -> None:
    value = {"a": [1]}
    state = AgentState(metadata=value, provider_state=value)
    execution = ToolExecution("f", "1", value)
    value["a"].append(2)
    assert state.metadata == state.provider_state == execution.arguments == {"a": [1]}


SPLIT_PAIR = "\ud83d\ude00"  # two surrogates, not the one character that they encode
assert len(SPLIT_PAIR) == 2


@given(st.text("\ud83d\ude00\ud800\udfff\U0001f600\ue000\ue001a\\", max_size=12))
def test_halves_of_a_surrogate_pair_stay_apart(text: str) -> None:
    state = AgentState(
        (Message.user(text), Message.user([text, text])),
        metadata={text: [text, {text: text}], "split_pairs": "\ue000"},
    )
    again = AgentState.from_json(state.to_json())
    assert again == state
    assert again.to_json() == state.to_json()
    assert (
        decode_items([encode_item(message) for message in state.messages], Message)
        == state.messages
    )


def test_a_split_pair_and_its_character_are_different_names() -> None:
    state = AgentState(metadata={SPLIT_PAIR: 1, "\U0001f600": 2, SPLIT_PAIR + "\ue000": 3})
    assert AgentState.from_json(state.to_json()) == state


def test_steps_check_their_arguments() -> None:
    with pytest.raises(TypeError, match="usage has integers"):
        AgentState().with_usage({"prompt_tokens": 1.5})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"messages\[1\] is str"):
        AgentState().with_messages(Message.user("x"), "y")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tool_executions\[0\] is str"):
        AgentState().with_execution("y")  # type: ignore[arg-type]


def test_usage_is_added_key_by_key() -> None:
    state = AgentState().with_usage({"prompt_tokens": 3})
    state = state.with_usage({"prompt_tokens": 4, "cached_tokens": 1}).with_usage({})
    assert state.usage == {"prompt_tokens": 7, "cached_tokens": 1}


def test_a_new_state_has_no_confidence() -> None:
    assert AgentState().confidence == 0


def test_a_step_does_not_look_at_old_messages() -> None:
    """Compare its time with that of copying the tuple of messages, in the same process."""
    state = AgentState(tuple(Message.user(str(n)) for n in range(10_000)))
    message = Message.user("x")

    def measure_fastest(step: Any) -> float:
        times = []
        for _ in range(50):
            start = time.thread_time()
            step()
            times.append(time.thread_time() - start)
        return min(times)

    gc.disable()
    try:
        copy_seconds = measure_fastest(lambda: (*state.messages, message))
        assert measure_fastest(lambda: state.with_messages(message)) < 5 * copy_seconds
        assert measure_fastest(lambda: state.evolve(iteration=3)) < copy_seconds
    finally:
        gc.enable()


# -- pending calls ------------------------------------------------------------------


def make_assistant_message(*ids: str) -> Message:
    return Message.assistant(None, [ToolCall(id, "f") for id in ids])


def make_tool_message(id: str) -> Message:
    return Message.tool(ToolResult(id, "f", "x"))


@pytest.mark.parametrize(
    ("messages", "pending"),
    [
        ((), []),
        ((Message.user("x"),), []),
        ((Message.assistant("x"),), []),
        ((make_assistant_message("1", "2", "3"),), [0, 1, 2]),
        ((make_assistant_message("1", "2", "3"), make_tool_message("2")), [0, 2]),
        (
            (
                make_assistant_message("1", "2"),
                make_tool_message("2"),
                Message.user("y"),
                make_tool_message("1"),
            ),
            [],
        ),
        ((make_assistant_message("1"), Message.user("y")), [0]),
        ((make_assistant_message("1"), make_tool_message("1"), make_assistant_message("2")), [0]),
        ((make_assistant_message("1"), make_tool_message("1"), make_assistant_message("1")), [0]),
        ((make_assistant_message("1"), Message.assistant("never mind")), []),
        ((make_assistant_message("1", "1"), make_tool_message("1")), [1]),
        ((make_tool_message("1"), make_tool_message("2")), []),
    ],
)
def test_pending_calls_are_those_without_a_result(
    messages: tuple[Message, ...], pending: list[int]
) -> None:
    state = AgentState(messages)
    calls = next(
        (message.tool_calls for message in reversed(messages) if message.role == "assistant"), ()
    )
    assert state.pending_calls() == tuple(calls[index] for index in pending)


def test_an_execution_without_an_error_is_a_success() -> None:
    assert ToolExecution("f", "1", result="x").success
    assert not ToolExecution("f", "1", error="x").success
