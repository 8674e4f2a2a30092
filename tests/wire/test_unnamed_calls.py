"""Calls that a model has forgotten to name: the model is told so, and the answer is not lost."""

from __future__ import annotations

import json

import pytest

from locus.core.response import ModelResponse
from locus.testing.formats.strategies.response_contents import (
    CallContent,
    CandidateContent,
    ResponseContent,
)
from locus.wire.response_parts import UNNAMED_TOOL_NAME
from tests.support.formats import FORMATS, WireFormat

NAMELESS = "nameless"
"""Stands for a name that is left empty."""


def read_both_ways(wire: WireFormat, *calls: tuple[str, str]) -> tuple[ModelResponse, ...]:
    """Read a response with calls of these names and arguments, whole and streamed."""
    contents = tuple(CallContent(f"id_{index}", *call) for index, call in enumerate(calls))
    stop = wire.call_stop_reason
    content = ResponseContent(
        (CandidateContent("so", None, None, contents, stop),), "resp", wire.base_options["model"]
    )
    frames = wire.build_frames(content, lambda text: [text])
    stream = wire.encode_frames(*frames, *wire.end_frames[-1:])
    body = json.dumps(wire.build_body(content))
    return (
        wire.parser.parse(body.replace(f'"{NAMELESS}"', '""')),
        wire.stream_reader.decode_response(stream.replace(f'"{NAMELESS}"'.encode(), b'""')),
    )


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_a_call_without_a_name_gets_one_that_no_tool_has(wire: WireFormat) -> None:
    for response in read_both_ways(wire, ("add", '{"a":1}'), (NAMELESS, '{"b":2}')):
        named = [(call.name, call.arguments) for call in response.tool_calls]
        assert named == [("add", {"a": 1}), (UNNAMED_TOOL_NAME, {"b": 2})]


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_a_call_with_neither_name_nor_arguments_is_no_error(wire: WireFormat) -> None:
    for response in read_both_ways(wire, (NAMELESS, "{}"), ("add", '{"a":1}')):
        named = [call.name for call in response.tool_calls if call.name != UNNAMED_TOOL_NAME]
        assert (named, response.content) == (["add"], "so")
