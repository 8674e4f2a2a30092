"""Arguments of tool calls with numbers that JSON does not have, or that no float can hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.messages import ToolCall
from locus.testing.formats.strategies.response_contents import CallContent
from tests.support.formats import FORMATS, WireFormat

NUMBER = 123456789


def put_number(text: str, number: str) -> str:
    """Put a number into the JSON of a response, where its text may be escaped in a string."""
    assert str(NUMBER) in text
    return text.replace(str(NUMBER), number)


@pytest.mark.parametrize("number", ["1e400", "-1e999", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_such_arguments_are_malformed_whole_and_streamed(wire: WireFormat, number: str) -> None:
    call = CallContent("call_0", "f", json.dumps({"a": [NUMBER]}))
    content = wire.make_content("", calls=(call,))
    whole = wire.parser.parse(put_number(json.dumps(wire.build_body(content)), number))
    frames = wire.build_frames(content, lambda text: (text,))
    stream = put_number(wire.encode_frames(*frames).decode(), number)
    streamed = wire.stream_reader.decode_response(stream.encode())
    for response in (whole, streamed):
        (made,) = response.tool_calls
        assert made.arguments == {}
        assert made.malformed_arguments


@pytest.mark.parametrize("value", [1e308, -0.0, 10**400, "Infinity", None])
def test_other_values_are_arguments(value: Any) -> None:
    call = ToolCall.from_object("c", "f", {"a": {"b": [value]}})
    assert list(call.arguments["a"]["b"]) == [value]
    assert call.malformed_arguments is None
