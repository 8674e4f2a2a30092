"""Locus's own classes as JSON: loaded equal, or an error that names the JSON path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError, ResponseParseError
from locus.core.frozendict import FrozenDict
from locus.core.json_converter import dumps, loads
from locus.core.messages import (
    PART_TYPES,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.core.response import ModelResponse
from locus.wire.chat_completions.response_structs import completion_decoder
from locus.wire.provider_json import encode_json
from tests.support.lone_surrogates import replace_lone_surrogates
from tests.support.strategies import (
    conversations,
    events,
    json_objects,
    messages,
    responses,
    texts,
    texts_with_lone_surrogates,
)


@given(messages() | responses() | events())
def test_a_dumped_value_is_loaded_equal(value: Any) -> None:
    data = dumps(value)
    loaded = loads(data, type(value))
    assert loaded == value
    assert type(loaded) is type(value)
    assert dumps(loaded) == data
    assert loads(data.decode(), type(value)) == value


@given(conversations())
def test_conversations_are_loaded_as_lists_and_tuples(conversation: tuple[Message, ...]) -> None:
    assert loads(dumps(conversation), tuple[Message, ...]) == conversation
    assert loads(dumps(list(conversation)), list[Message]) == list(conversation)


@given(texts_with_lone_surrogates())
def test_half_a_surrogate_pair_is_kept(text: str) -> None:
    message = Message.user(text)
    assert loads(dumps(message), Message) == message


def test_numbers_that_standard_json_excludes_are_kept() -> None:
    logprobs = {"a": float("-inf"), "b": 2**80, "c": 0.1}
    response = ModelResponse(Message.assistant("x"), logprobs=logprobs)
    assert loads(dumps(response), ModelResponse) == response


def test_loaded_values_are_immutable() -> None:
    message = Message.assistant(["a"], [ToolCall("1", "f", {"a": 1})], metadata={"b": 2})
    loaded = loads(dumps(message), Message)
    assert isinstance(loaded.metadata, FrozenDict)
    assert isinstance(loaded.tool_calls[0].arguments, FrozenDict)
    assert hash(loaded) == hash(message)
    response = ModelResponse(message, provider_state={"a": "b"})
    assert isinstance(loads(dumps(response), ModelResponse).provider_state, FrozenDict)


def test_parts_have_a_type_member_and_bytes_are_base64() -> None:
    message = Message.user(["x", ImagePart(data=b"\x00\xff", media_type="image/png")])
    assert json.loads(dumps(message)) == {
        "role": "user",
        "content": [
            {"type": "text", "text": "x"},
            {"type": "image", "data": "AP8=", "media_type": "image/png"},
        ],
    }
    assert loads(b'{"type": "text", "text": "x"}', TextPart) == TextPart("x")


@pytest.mark.parametrize(
    ("part", "data"),
    [
        (TextPart("x"), {"type": "text", "text": "x"}),
        (ImagePart(url="https://x"), {"type": "image", "url": "https://x"}),
        (RefusalPart("no"), {"type": "refusal", "text": "no"}),
        (ThinkingPart("hm", "seal"), {"type": "thinking", "text": "hm", "signature": "seal"}),
    ],
)
def test_each_part_is_saved_with_its_tag_and_loaded_equal(part: Part, data: Any) -> None:
    message = Message.assistant([part])
    assert json.loads(dumps(message))["content"] == [data]
    assert loads(dumps(message), Message) == message
    assert json.loads(dumps(part)) == data
    assert loads(dumps(part), type(part)) == part


def test_each_part_class_has_an_example_above() -> None:
    (mark,) = (
        mark
        for mark in test_each_part_is_saved_with_its_tag_and_loaded_equal.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    )
    assert {type(part) for part, _ in mark.args[1]} == set(PART_TYPES)


def test_a_subclass_of_a_part_is_not_saved_without_its_tag() -> None:
    class Mine(TextPart):
        pass

    message = Message.user([TextPart("x")])
    object.__setattr__(message, "_content", (Mine("x"),))
    for value in (Mine("x"), message):
        with pytest.raises(ConfigurationError, match="Mine is not one of the parts"):
            dumps(value)


M = '{"role": "assistant", "content": "x", "tool_calls": [%s]}'


@pytest.mark.parametrize(
    ("data", "type_", "pattern"),
    [
        ('{"content": "x"}', Message, r"missing @ \$\.role"),
        ('{"role": "user", "content": 5}', Message, r"expected an array, not 5 @ \$\.content"),
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
        ("[]", Message, "expected an object, not an array"),
        ("null", Message, "expected an object, not null"),
        ("{}", tuple[Message, ...], "expected an array, not an object"),
        ('"abc"', list[Message], "expected an array, not text"),
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
def test_invalid_json_is_an_error_that_names_the_path(
    data: str | bytes, type_: Any, pattern: str
) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        loads(data, type_)


@given(st.data())
def test_an_unknown_member_is_an_error(data: st.DataObject) -> None:
    document = json.loads(dumps(data.draw(messages())))
    name = data.draw(st.sampled_from(sorted(document)))
    document[name + "_"] = document.pop(name)
    with pytest.raises(ConfigurationError, match=name):
        loads(json.dumps(document), Message)


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        (Message.user("x", metadata={"a": b"x"}), "bytes"),
        (Message.user("x", metadata={"a": {1: 2}}), "name of a member must be text, not 1"),
        (Message.user("x", metadata={"a": {1, 2}}), "set"),
        (Message.user("x", metadata={"a": object()}), "object"),
        (object(), "object"),
        ({"a": Message.user("x")}, "Message"),
    ],
)
def test_dumping_a_value_that_json_cannot_represent_is_an_error(value: Any, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        dumps(value)


def test_dumping_a_value_that_contains_itself_is_an_error() -> None:
    recursive: list[Any] = []
    recursive.append(recursive)
    with pytest.raises(ConfigurationError, match="recursion"):
        dumps(Message.user("x", metadata={"a": recursive}))


# Requests.


@given(json_objects())
def test_requests_are_encoded_as_json(body: dict[str, Any]) -> None:
    assert json.loads(encode_json(body)) == body


@given(texts_with_lone_surrogates())
def test_half_a_surrogate_pair_in_a_request_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="surrogate") as exc_info:
        encode_json({"messages": [{"content": text}]})
    half = next(character for character in text if "\ud800" <= character <= "\udfff")
    assert repr(half) in str(exc_info.value)
    str(exc_info.value).encode()


@pytest.mark.parametrize("value", [object(), {"a": object()}, {"a": [object()]}])
def test_encoding_another_class_is_an_error_that_names_it(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="object"):
        encode_json(value)


# Responses.


@given(texts() | texts_with_lone_surrogates())
def test_half_a_surrogate_pair_in_a_response_is_decoded(text: str) -> None:
    body = json.dumps({"id": text})
    assert completion_decoder.decode(body).id == replace_lone_surrogates(text)
    assert completion_decoder.decode(body.encode()).id == replace_lone_surrogates(text)


def test_a_byte_order_mark_and_nan_are_decoded() -> None:
    assert completion_decoder.decode(b'\xef\xbb\xbf{"id": "x", "created": NaN}').id == "x"


@given(st.binary(max_size=50) | texts() | json_objects())
def test_any_other_response_is_a_parse_error_with_its_body(body: Any) -> None:
    body_text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    exc_info = None
    try:
        completion_decoder.decode(body)
    except ResponseParseError as error:
        exc_info = error
    assert exc_info is None or exc_info.body == body_text[:2000]
