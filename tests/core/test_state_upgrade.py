"""Tests of how messages that earlier versions saved are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.json_converter import dumps, loads
from locus.core.messages import Message
from locus.core.state import AgentState
from locus.core.state_json import decode_items, decode_state, encode_item, encode_state

OLD = [
    ("blocks", [{"type": "text", "text": "so", "citations": [1]}], "anthropic_messages", "blocks"),
    ("output_items", [{"type": "reasoning", "id": "rs_1", "summary": []}], "responses", "items"),
    ("tool_plan", "I will look.", "oci_cohere_v2", "tool_plan"),
]


@pytest.mark.parametrize(("name", "value", "wire_format", "member"), OLD)
def test_native_state_is_moved_out_of_the_metadata(
    name: str, value: Any, wire_format: str, member: str
) -> None:
    document = {"role": "assistant", "content": "so", "metadata": {name: value, "mine": 1}}
    text = json.dumps(document).encode()
    (item,) = decode_items([text], Message)
    state = json.dumps({"locus_state": 1, "messages": [document]})
    for message in (loads(text, Message), item, decode_state(state, AgentState).messages[0]):
        assert message.metadata == {"mine": 1}
        assert message.native_state is not None
        assert message.native_state.maker.wire_format == wire_format
        assert message.native_state.maker.address is None
        assert message.native_state.data == {member: value}


@pytest.mark.parametrize("name", [name for name, *_ in OLD])
def test_these_names_are_the_callers_today(name: str) -> None:
    for value in ([{"type": "text"}], "x", 5, [], {}):
        message = Message.assistant("so", metadata={name: value})
        assert loads(dumps(message), Message) == message
        assert decode_items([encode_item(message)], Message) == (message,)
        state = AgentState(messages=(message,))
        assert decode_state(encode_state(state), AgentState) == state


def test_what_locus_has_not_written_stays_in_the_metadata() -> None:
    for document in (
        {"role": "user", "content": "x", "metadata": {"blocks": [{"type": "text"}]}},
        {"role": "assistant", "content": "x", "metadata": {"blocks": [1]}},
        {"role": "assistant", "content": "x", "metadata": {"tool_plan": ""}},
    ):
        message = loads(json.dumps(document), Message)
        assert message.native_state is None
        assert message.metadata == document["metadata"]
