"""Tests of who receives native state, and of its way through JSON and pickle."""

from __future__ import annotations

import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.json_converter import dumps, loads
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall, ToolResult
from locus.core.native_state import Maker, NativeState
from locus.core.native_state_routing import (
    NativeStateRule,
    bind_native_state,
    remove_native_state,
    select_native_state,
    select_native_state_if_messages,
)
from locus.core.response import Candidate, ModelResponse

RULE = NativeStateRule("f", str.upper)

MAKERS = st.builds(
    Maker,
    st.sampled_from(["f", "g"]),
    st.sampled_from([None, "https://a", "https://b"]),
    st.sampled_from([None, "M", "N"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
STATES = st.builds(
    NativeState,
    MAKERS,
    st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    st.booleans(),
    st.none() | st.text(max_size=5),
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Messages of an assistant with native state on them, on their calls, or on neither."""
    calls = [
        ToolCall(str(index), "f", native_state=draw(st.none() | STATES))
        for index in range(draw(st.integers(0, 2)))
    ]
    parts = draw(st.sampled_from([(TextPart("x"),), (ThinkingPart("hm"), TextPart("x"))]))
    metadata = draw(
        st.sampled_from([{}, {"blocks": [{"type": "text"}]}, {"tool_plan": "x"}, {"a": 1}])
    )
    return Message.assistant(parts, calls, native_state=draw(st.none() | STATES), metadata=metadata)


def get_states(message: Message) -> list[NativeState]:
    states = [message.native_state, *(call.native_state for call in message.tool_calls)]
    return [state for state in states if state is not None]


def may_be_same(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


@given(messages())
def test_native_state_survives_json_and_pickle(message: Message) -> None:
    assert loads(dumps(message), Message) == message
    assert pickle.loads(pickle.dumps(message)) == message


@given(st.lists(messages(), max_size=3), MAKERS)
def test_nobody_but_its_maker_receives_state(sent: list[Message], recipient: Maker) -> None:
    before = list(sent)
    received = select_native_state(sent, recipient, RULE)
    assert sent == before
    for message, original in zip(received, before, strict=True):
        states = get_states(original)
        is_for_recipient = all(
            state.maker.wire_format == recipient.wire_format
            and may_be_same(state.maker.address, recipient.address)
            and may_be_same(state.maker.model, recipient.model)
            for state in states
        )
        if is_for_recipient:
            assert message is original
        else:
            assert get_states(message) == []
            assert not any(isinstance(part, ThinkingPart) for part in message.all_content or ())
        assert message.text == original.text
        assert [call.id for call in message.tool_calls] == [call.id for call in original.tool_calls]


def test_another_model_of_the_server_receives_what_the_rule_leaves() -> None:
    rule = NativeStateRule("f", str.upper, lambda message: attrs.evolve(message, name="other"))
    message = Message.assistant("x", native_state=NativeState(Maker("f", "https://a", "M")))
    (other_model,) = select_native_state([message], Maker("f", "https://a", "N"), rule)
    assert other_model.name == "other"
    (other_server,) = select_native_state([message], Maker("f", "https://b", "M"), rule)
    assert other_server == Message.assistant("x")


def test_an_id_that_holds_data_of_its_server_is_replaced_for_others() -> None:
    long_id = "call_" + "x" * 90
    call = ToolCall(
        long_id, "f", native_state=NativeState(Maker("f", "https://a"), {"id": long_id})
    )
    conversation = [
        Message.assistant(None, [call]),
        Message.tool(ToolResult(long_id, "f", "ok")),
        Message.assistant(None, [ToolCall("2", "f")]),
        Message.tool(ToolResult("2", "f", "ok")),
    ]
    same = select_native_state(conversation, Maker("f", "https://a"), RULE)
    assert list(same) == conversation
    sent, result, *others = select_native_state(conversation, Maker("f", "https://b"), RULE)
    assert sent.tool_calls[0].id == result.tool_call_id
    assert len(sent.tool_calls[0].id) < 40
    assert others == conversation[2:]


def test_what_is_no_conversation_passes_unchanged() -> None:
    recipient = RULE.make_maker("m", "https://a")
    for value in ("hi", 5, None, {"role": "user"}):
        assert select_native_state_if_messages(value, recipient, RULE) is value
    mixed = select_native_state_if_messages(iter([Message.user("x"), 5]), recipient, RULE)
    assert mixed == (Message.user("x"), 5)
    foreign = Message.assistant("x", native_state=NativeState(Maker("g")))
    assert select_native_state_if_messages(foreign, recipient, RULE).native_state is None


def test_a_response_is_bound_to_its_maker() -> None:
    call = ToolCall("1", "f", native_state=RULE.make_state({"id": "1"}))
    message = Message.assistant("x", [call], native_state=RULE.make_state({"a": 1}))
    maker = RULE.make_maker("m", "https://a")
    bound = bind_native_state(ModelResponse(message), maker, lambda: pytest.fail("not bound"))
    assert {state.maker for state in get_states(bound.message)} == {Maker("f", "https://a", "M")}
    assert [state.data for state in get_states(bound.message)] == [{"a": 1}, {"id": "1"}]
    plain = ModelResponse(Message.assistant("x"))
    assert bind_native_state(plain, maker, lambda: None) is plain
    both = ModelResponse(message, candidates=(Candidate(message), Candidate(message)))
    both = bind_native_state(both, maker, lambda: None)
    assert both.candidates[0].message == both.message == both.candidates[1].message == bound.message


def test_state_that_is_bound_to_the_conversation_has_its_digest() -> None:
    state = RULE.make_state(bound_to_history=True)
    response = ModelResponse(Message.assistant("x", native_state=state))
    bound = bind_native_state(response, RULE.make_maker("m"), lambda: "digest")
    assert bound.message.native_state is not None
    assert bound.message.native_state.history == "digest"


def test_a_message_of_thinking_alone_is_empty_without_it() -> None:
    message = Message.assistant([ThinkingPart("hm")], native_state=RULE.make_state())
    assert remove_native_state(message) == Message.assistant(None)


def test_only_the_assistants_messages_have_native_state() -> None:
    with pytest.raises(ValueError, match="native_state"):
        Message("user", "x", native_state=RULE.make_state())
    with pytest.raises(TypeError, match=r"Message\.native_state"):
        Message.assistant("x", native_state={"a": 1})
