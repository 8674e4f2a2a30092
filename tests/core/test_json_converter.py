"""Locus's own values as JSON: loaded as they were dumped, or refused with the place named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError, ResponseParseError
from locus.core.frozendict import FrozenDict
from locus.core.messages import ImagePart, Message, TextPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.chat_completions.json_types import reader
from locus.wire.json import dumps, encode, loads
from tests.support.strategies import (
    conversations,
    events,
    halves,
    json_objects,
    messages,
    responses,
    texts,
)


@given(messages() | responses() | events())
def test_what_was_dumped_is_loaded_equal(value: Any) -> None:
    data = dumps(value)
    again = loads(data, type(value))
    assert again == value
    assert type(again) is type(value)
    assert dumps(again) == data
    assert loads(data.decode(), type(value)) == value


@given(conversations())
def test_whole_conversations_are_dumped_as_lists_and_tuples(turns: tuple[Message, ...]) -> None:
    assert loads(dumps(turns), tuple[Message, ...]) == turns
    assert loads(dumps(list(turns)), list[Message]) == list(turns)


@given(halves())
def test_half_a_surrogate_pair_is_kept(text: str) -> None:
    message = Message.user(text)
    assert loads(dumps(message), Message) == message


def test_numbers_that_json_does_not_know_are_kept() -> None:
    logprobs = {"a": float("-inf"), "b": 2**80, "c": 0.1}
    response = ModelResponse(Message.assistant("x"), logprobs=logprobs)
    assert loads(dumps(response), ModelResponse) == response


def test_loaded_values_are_as_immutable_as_made_ones() -> None:
    message = Message.assistant(["a"], [ToolCall("1", "f", {"a": 1})], metadata={"b": 2})
    again = loads(dumps(message), Message)
    assert isinstance(again.metadata, FrozenDict)
    assert isinstance(again.tool_calls[0].arguments, FrozenDict)
    assert hash(again) == hash(message)
    response = ModelResponse(message, provider_state={"a": "b"})
    assert isinstance(loads(dumps(response), ModelResponse).provider_state, FrozenDict)


def test_parts_say_their_type_and_bytes_are_base64() -> None:
    message = Message.user(["x", ImagePart(data=b"\x00\xff", media_type="image/png")])
    assert json.loads(dumps(message)) == {
        "role": "user",
        "content": [
            {"type": "text", "text": "x"},
            {"type": "image", "data": "AP8=", "media_type": "image/png"},
        ],
    }
    assert loads(b'{"type": "text", "text": "x"}', TextPart) == TextPart("x")


M = '{"role": "assistant", "content": "x", "tool_calls": [%s]}'


@pytest.mark.parametrize(
    ("data", "kind", "named"),
    [
        ('{"content": "x"}', Message, r"missing @ \$\.role"),
        ('{"role": "user", "content": 5}', Message, r"an array is wanted, not 5 @ \$\.content"),
        ('{"role": "user", "content": true}', Message, r"\$\.content"),
        ('{"role": "robot", "content": "x"}', Message, "role"),
        ('{"role": "user", "content": "x", "colour": 1}', Message, "unknown: colour"),
        ('{"role": "user", "content": "x", "name": 5}', Message, r"text.*\$\.name"),
        ('{"role": "user", "content": "x", "metadata": []}', Message, r"\$\.metadata"),
        ('{"role": "user", "content": "x", "metadata": ""}', Message, r"\$\.metadata"),
        ('{"role": "user", "content": [{"type": "video"}]}', Message, r"\$\.content\[0\]"),
        ('{"role": "user", "content": [{"text": "x"}]}', Message, r"\$\.content\[0\]"),
        ('{"role": "user", "content": {"type": "text"}}', Message, r"\$\.content"),
        ('{"type": "refusal", "text": "x"}', TextPart, "type must be 'text', not text"),
        ('{"role": "user", "content": [{"type": "image", "data": 5}]}', Message, r"\[0\]\.data"),
        ('{"role": "user", "content": [{"type": "text", "text": 1}]}', Message, r"\[0\]\.text"),
        ('{"role": "user", "content": [{"type": "image", "data": "%"}]}', Message, r"\[0\]\.data"),
        (M % '{"name": "f"}', Message, r"id is required.*tool_calls\[0\]"),
        (M % '{"id": "1"}', Message, r"name is required.*tool_calls\[0\]"),
        (M % '{"id": 1, "name": "f"}', Message, r"tool_calls\[0\]\.id"),
        (M % '{"id": "1", "name": "f", "arguments": "{}"}', Message, r"\[0\]\.arguments"),
        (M % "5", Message, r"tool_calls\[0\]"),
        ("[]", Message, "an object is wanted, not an array"),
        ("null", Message, "an object is wanted, not null"),
        ("{}", tuple[Message, ...], "an array is wanted, not an object"),
        ('"abc"', list[Message], "an array is wanted, not text"),
        ('[{"role": "user", "content": "x"}, {}]', tuple[Message, ...], r"\$\[1\]\.role"),
        ('{"message": {"role": "user"}, "usage": {"a": "1"}}', ModelResponse, r"\$\.usage\['a'\]"),
        ('{"message": {"role": "user"}, "usage": {"a": 1.5}}', ModelResponse, r"\$\.usage\['a'\]"),
        ('{"message": {"role": "user"}, "usage": {"a": true}}', ModelResponse, r"\$\.usage\['a'\]"),
        ("{", Message, "this is not Message"),
        ("", Message, "this is not Message"),
        (b"\xff", Message, "this is not Message"),
        ("[" * 100_000, Message, "this is not Message"),
    ],
)
def test_what_was_not_dumped_is_refused_and_the_place_named(
    data: str | bytes, kind: Any, named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        loads(data, kind)


@given(st.data())
def test_a_member_that_is_renamed_is_never_dropped(data: st.DataObject) -> None:
    plain = json.loads(dumps(data.draw(messages())))
    name = data.draw(st.sampled_from(sorted(plain)))
    plain[name + "_"] = plain.pop(name)
    with pytest.raises(ConfigurationError, match=name):
        loads(json.dumps(plain), Message)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Message.user("x", metadata={"a": b"x"}), "bytes"),
        (Message.user("x", metadata={"a": {1: 2}}), "name of a member must be text, not 1"),
        (Message.user("x", metadata={"a": {1, 2}}), "set"),
        (Message.user("x", metadata={"a": object()}), "object"),
        (object(), "object"),
        ({"a": Message.user("x")}, "Message"),
    ],
)
def test_what_json_cannot_say_is_refused_when_dumped(value: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        dumps(value)


def test_what_contains_itself_is_refused_when_dumped() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigurationError, match="recursion"):
        dumps(Message.user("x", metadata={"a": endless}))


# Requests.


@given(json_objects())
def test_requests_are_written_as_json(body: dict[str, Any]) -> None:
    assert json.loads(encode(body)) == body


@given(halves())
def test_half_a_surrogate_pair_in_a_request_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="surrogate") as caught:
        encode({"messages": [{"content": text}]})
    half = next(character for character in text if "\ud800" <= character <= "\udfff")
    assert repr(half) in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("value", [object(), {"a": object()}, {"a": [object()]}])
def test_what_json_cannot_say_is_named(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="object"):
        encode(value)


# Answers.


@given(texts() | halves())
def test_half_a_surrogate_pair_in_an_answer_is_read(text: str) -> None:
    body = json.dumps({"id": text})
    assert reader.read(body).id == json.loads(body)["id"]
    assert reader.read(body.encode()).id == json.loads(body)["id"]


def test_a_byte_order_mark_and_numbers_json_does_not_know_are_read() -> None:
    assert reader.read(b'\xef\xbb\xbf{"id": "x", "created": NaN}').id == "x"


@given(st.binary(max_size=50) | texts() | json_objects())
def test_any_other_answer_is_a_parse_error_that_quotes_it(body: Any) -> None:
    quoted = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    caught = None
    try:
        reader.read(body)
    except ResponseParseError as error:
        caught = error
    assert caught is None or caught.body == quoted[:2000]
