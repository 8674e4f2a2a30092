"""What is true of the complete responses of every wire format."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from locus.core.conversation import validate_messages
from locus.core.json_converter import dumps, loads
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.parametrize import without_deadline
from locus.testing.formats.wire_format import WireFormat


@without_deadline
@given(st.data())
def test_a_body_is_parsed_alike_as_text_as_bytes_and_as_an_object_and_is_not_modified(
    wire: WireFormat, data: st.DataObject
) -> None:
    example = data.draw(wire.examples())
    text = json.dumps(example.body, ensure_ascii=data.draw(st.booleans()))
    response = wire.parser.parse(text)
    assert wire.normalize_response(response) == example.expected
    assert wire.parser.parse(text.encode()) == response
    assert wire.parser.parse(example.body) == response
    assert example.body == json.loads(text)


@without_deadline
@given(st.data())
def test_a_response_can_be_serialized_and_is_valid_in_a_conversation(
    wire: WireFormat, data: st.DataObject
) -> None:
    response = wire.parser.parse(data.draw(wire.examples()).body)
    assert loads(dumps(response), ModelResponse) == response
    if response.message.has_content or response.message.tool_calls:
        assert (
            validate_messages([Message.user("x"), response.message], accepted_parts=None)[1]
            is response.message
        )
