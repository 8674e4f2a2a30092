"""Messages and responses: immutable, equal by value, picklable, and validated."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.call_options import CallOptions
from locus.core.frozendict import EMPTY, FrozenDict, to_frozen_dict
from locus.core.messages import (
    PART_TYPES,
    BasePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.core.response import Candidate, ModelResponse
from tests.support.strategies import (
    events,
    json_objects,
    malformed_arguments,
    messages,
    names,
    responses,
    texts,
    tool_calls,
)

PNG = ImagePart(data=b"\x89PNG", media_type="image/png")


# Values.


@given(messages() | responses() | events())
def test_values_can_be_pickled_and_copied(value: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value


@given(messages() | responses() | events())
def test_no_field_can_be_set(value: Any) -> None:
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)


@given(st.data())
def test_messages_with_equal_content_are_equal_and_have_equal_hashes(data: st.DataObject) -> None:
    message = data.draw(messages())
    copied = pickle.loads(pickle.dumps(message))
    assert message == copied
    hashable = not any(
        isinstance(value, (list, dict))
        for mapping in [message.metadata, *(call.arguments for call in message.tool_calls)]
        for value in mapping.values()
    )
    if hashable:
        assert hash(message) == hash(copied)
        assert len({message, copied}) == 1
    else:
        with pytest.raises(TypeError, match="unhashable"):
            hash(message)


@given(json_objects())
def test_changing_the_original_mapping_does_not_change_the_message(
    original: dict[str, Any],
) -> None:
    call = ToolCall("1", "f", original)
    message = Message.user("x", metadata=original)
    expected = dict(original)
    original["new"] = 1
    assert call.arguments == expected
    assert message.metadata == expected


def test_a_list_of_calls_or_parts_becomes_a_tuple() -> None:
    calls = [ToolCall("1", "f")]
    message = Message.assistant(["a", TextPart("b")], calls)
    calls.clear()
    assert message.tool_calls == (ToolCall("1", "f"),)
    assert message.content == (TextPart("a"), TextPart("b"))
    assert message.text == "ab"
    assert message.refusal is None


def test_the_repr_of_an_image_does_not_contain_its_bytes() -> None:
    assert repr(ImagePart(data=b"x" * 5000, media_type="image/png")) == (
        "ImagePart(url=None, data=<5000 bytes>, media_type='image/png', detail=None)"
    )


def test_roles_are_strings() -> None:
    assert Message("user", "x").role is Role.USER
    assert Role.TOOL == "tool"
    assert f"{Role.SYSTEM}" == "system"


def test_a_refusal_is_not_part_of_the_text() -> None:
    message = Message.assistant([TextPart("Hm. "), RefusalPart("I "), RefusalPart("can't.")])
    assert (message.text, message.refusal) == ("Hm. ", "I can't.")
    response = ModelResponse(message)
    assert (response.content, response.refusal) == ("Hm. ", "I can't.")


@pytest.mark.parametrize("beside", [(RefusalPart("no"),), (ThinkingPart("hm"), RefusalPart("no"))])
def test_the_content_of_a_message_without_text_is_none_also_where_it_is_a_refusal(
    beside: tuple[Part, ...],
) -> None:
    message = Message.assistant(beside, metadata={"a": 1})
    assert (message.content, message.all_content) == (None, beside)
    assert message != Message.assistant(None, metadata={"a": 1})
    assert attrs.evolve(message, metadata={}).all_content == beside
    assert pickle.loads(pickle.dumps(message)).all_content == beside
    assert "RefusalPart" in repr(message)
    with_text = (*beside, TextPart("so"))
    assert Message.assistant(with_text).content == with_text


# Tool calls.


def test_calls_have_unique_ids_by_default() -> None:
    ids = {ToolCall(name="f").id for _ in range(100)}
    assert len(ids) == 100
    assert all(call_id.startswith("call_") for call_id in ids)


@given(json_objects(), st.booleans())
def test_arguments_text_that_is_an_object_is_decoded(
    value: dict[str, Any], ensure_ascii: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=1)
    call = ToolCall.from_json("1", "f", text)
    assert call.arguments == json.loads(text) == value
    assert call.malformed_arguments is None
    assert json.loads(call.arguments_json()) == value


@given(malformed_arguments())
def test_arguments_text_that_is_no_object_is_kept_unchanged(text: str) -> None:
    call = ToolCall.from_json("1", "f", text)
    assert call.malformed_arguments == text
    assert call.arguments == {}
    assert call.arguments_json() == text


@given(st.text(max_size=40))
def test_any_arguments_text_is_either_decoded_or_kept(text: str) -> None:
    call = ToolCall.from_json("1", "f", text)
    if call.malformed_arguments is None:
        while not text.lstrip().startswith("{") and text.strip() not in ("", "null"):
            text = json.loads(text)
        assert call.arguments == (json.loads(text) if text.strip() not in ("", "null") else {})
    else:
        assert call.malformed_arguments == text


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", "null", " null\n", '""', '" "', '"null"', '"{}"', '"{ }"', r'"\"{}\""'],
)
def test_blank_text_and_null_are_no_arguments(text: str) -> None:
    call = ToolCall.from_json("1", "f", text)
    assert (call.arguments, call.malformed_arguments) == ({}, None)
    assert call.arguments_json() == "{}"


def test_control_characters_in_strings_need_no_escape() -> None:
    call = ToolCall.from_json("1", "f", '{"code":\n"a = 1\n\tb = 2", "n": 1}')
    assert call == ToolCall("1", "f", {"code": "a = 1\n\tb = 2", "n": 1})
    assert json.loads(call.arguments_json()) == call.arguments
    for text in ('{"a": "b\n', '"a\nb"', '{"a": NaN,\n"b": "\n"}', '{"a": 1}\n{"b": "\n"}'):
        assert ToolCall.from_json("1", "f", text).malformed_arguments == text


@given(json_objects(), st.integers(1, 3))
def test_an_object_that_was_encoded_once_more_is_that_object(
    value: dict[str, Any], times: int
) -> None:
    text = json.dumps(value)
    for _ in range(times):
        text = json.dumps(text)
    assert ToolCall.from_json("1", "f", text) == ToolCall("1", "f", json.loads(json.dumps(value)))
    for other in (f"[{text}]", f"{text}{text}", text[:-1], json.dumps("[]"), '"x"', '"3"'):
        assert ToolCall.from_json("1", "f", other).malformed_arguments == other


def test_blank_malformed_arguments_are_none() -> None:
    assert ToolCall("1", "f", malformed_arguments=" ") == ToolCall("1", "f")


def test_arguments_that_are_nested_too_deep_are_malformed() -> None:
    text = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    assert ToolCall.from_json("1", "f", text).malformed_arguments == text


def test_integers_beyond_64_bits_keep_every_digit() -> None:
    call = ToolCall.from_json("1", "f", '{"n": 123456789012345678901234567890}')
    assert call.arguments["n"] == 123456789012345678901234567890
    assert json.loads(call.arguments_json()) == call.arguments


@given(tool_calls())
def test_encoded_arguments_are_decoded_to_the_same_call(call: ToolCall) -> None:
    assert ToolCall.from_json(call.id, call.name, call.arguments_json()) == call


# Tool results.


@given(texts(), st.none() | texts(min_size=1))
def test_the_message_of_a_failed_result_contains_its_error(content: str, error: str | None) -> None:
    result = ToolResult("1", "f", content, error=error, duration_ms=1.5)
    message = Message.tool(result)
    assert result.success is (error is None)
    assert message.role is Role.TOOL
    assert (message.tool_call_id, message.name) == ("1", "f")
    assert content in message.text
    if error is None:
        assert message.text == content
        assert message.metadata == {}
    else:
        assert error in message.text
        assert message.metadata == {"error": error}


# Errors of the constructors.


@pytest.mark.parametrize(
    ("make_value", "pattern"),
    [
        (lambda: Message("robot", "x"), "role"),
        (lambda: Message(None, "x"), "role"),
        (lambda: Message.user(5), "content"),
        (lambda: Message.user(b"x"), "content"),
        (lambda: Message.user({"type": "text", "text": "x"}), "content"),
        (lambda: Message.user(["x", {"type": "text"}]), "content part 1"),
        (lambda: Message.assistant("x", 5), "tool_calls"),
        (lambda: Message.assistant("x", ToolCall(name="f")), "tool_calls"),
        (lambda: Message.assistant("x", [{"id": "1"}]), r"tool_calls\[0\]"),
        (lambda: Message.assistant("x", "f"), "tool_calls"),
        (lambda: Message("user", "x", [ToolCall(name="f")]), "tool_calls"),
        (lambda: Message("tool", "x"), "tool_call_id"),
        (lambda: Message("tool", "x", tool_call_id=""), "tool_call_id"),
        (lambda: Message("tool", "x", tool_call_id=5), "tool_call_id"),
        (lambda: Message("user", "x", tool_call_id="1"), "tool_call_id"),
        (lambda: Message.user("x", name=5), "name"),
        (lambda: Message.user("x", metadata=[1]), "metadata"),
        (lambda: Message.user("x", metadata=0), "metadata"),
        (lambda: ToolCall(5, "f"), "id"),
        (lambda: ToolCall("", "f"), "id"),
        (lambda: ToolCall("1"), "name"),
        (lambda: ToolCall("1", ""), "name"),
        (lambda: ToolCall("1", 5), "name"),
        (lambda: ToolCall("1", "f", "{}"), "arguments"),
        (lambda: ToolCall("1", "f", ""), "arguments"),
        (lambda: ToolCall("1", "f", {}, 5), "malformed_arguments"),
        (lambda: ToolCall("1", "f", {"a": 1}, "{"), "malformed_arguments"),
        (lambda: ToolResult(5, "f", "x"), "tool_call_id"),
        (lambda: ToolResult("1", None, "x"), "name"),
        (lambda: ToolResult("1", "f", {"a": 1}), "content"),
        (lambda: ToolResult("1", "f", "x", error=ValueError()), "error"),
        (lambda: TextPart(5), "text"),
        (lambda: ThinkingPart(5), "text"),
        (lambda: ThinkingPart("x", signature=5), "signature"),
        (lambda: ThinkingPart(redacted=b"x"), "redacted"),
        (lambda: Message.user([RefusalPart("no")]), "RefusalPart.*user"),
        (lambda: Message.system([ThinkingPart("hm")]), "ThinkingPart.*system"),
        (lambda: RefusalPart(None), "text"),
        (lambda: ImagePart(), "url= or data="),
        (lambda: ImagePart(url="https://x", data=b"x", media_type="image/png"), "url= or data="),
        (lambda: ImagePart(url=""), "url"),
        (lambda: ImagePart(url=5), "url"),
        (lambda: ImagePart(data=b"x"), "media_type"),
        (lambda: ImagePart(data="x", media_type="image/png"), "data"),
        (lambda: ImagePart(url="https://x", detail=5), "detail"),
        (lambda: ModelResponse(Message.assistant("x"), usage=[1]), "usage"),
        (lambda: CallOptions(model="m", response_format="json"), "response_format"),
        (lambda: CallOptions(model="m", extra_body=[1]), "extra_body"),
    ],
)
def test_errors_of_constructors_name_the_field(make_value: Any, pattern: str) -> None:
    with pytest.raises((TypeError, ValueError), match=pattern):
        make_value()


@pytest.mark.parametrize("base", PART_TYPES)
def test_a_subclass_of_a_part_is_a_type_error(base: type[Part]) -> None:
    part = type("Mine", (base,), {})(*([] if base is ThinkingPart else ["https://x"]))
    pattern = f"content part 1 is Mine, a subclass of {base.__name__}.*Message.metadata"
    with pytest.raises(TypeError, match=pattern):
        Message.assistant(["a", part])
    with pytest.raises(TypeError, match="content part 0 is Mine"):
        Message.assistant(part)


def test_a_part_class_that_is_not_listed_is_a_type_error() -> None:
    class Other(BasePart):
        pass

    with pytest.raises(TypeError, match="content part 0 is Other; a part is a string, TextPart, "):
        Message.user([Other()])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="content part 0 is Other"):
        Message.user(Other())  # type: ignore[arg-type]


@pytest.mark.parametrize("base", PART_TYPES)
def test_each_part_class_names_its_tag_its_plural_and_its_roles(base: type[Part]) -> None:
    assert base.plural
    assert base.roles
    assert [cls for cls in PART_TYPES if cls.tag == base.tag] == [base]


# FrozenDict.


def test_every_change_of_a_frozen_dict_is_an_error() -> None:
    frozen = FrozenDict({"a": 1})
    for change in (
        lambda: frozen.__setitem__("a", 2),
        lambda: frozen.__delitem__("a"),
        lambda: frozen.__ior__({"a": 2}),
        lambda: frozen.update(a=2),
        lambda: frozen.setdefault("b", 2),
        lambda: frozen.pop("a"),
        lambda: frozen.popitem(),
        lambda: frozen.clear(),
    ):
        with pytest.raises(TypeError, match="immutable"):
            change()
    assert frozen == {"a": 1}
    assert {**frozen, "b": 2} == {"a": 1, "b": 2}
    assert frozen | {"b": 2} == {"a": 1, "b": 2}


@given(json_objects())
def test_a_frozen_dict_works_as_a_dict(value: dict[str, Any]) -> None:
    frozen = FrozenDict(value)
    assert frozen == value
    assert repr(frozen) == repr(value)
    assert json.loads(json.dumps(frozen)) == value
    assert msgspec.json.decode(msgspec.json.encode(frozen)) == value
    for copied in (copy.copy(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert type(copied) is FrozenDict
        assert copied == value


@given(st.dictionaries(names(), st.integers() | texts()))
def test_the_hash_of_a_frozen_dict_does_not_depend_on_the_order(value: dict[str, Any]) -> None:
    reversed_copy = FrozenDict(dict(reversed(value.items())))
    assert hash(FrozenDict(value)) == hash(reversed_copy)
    assert FrozenDict(value) == reversed_copy


def test_an_empty_mapping_is_shared() -> None:
    assert to_frozen_dict(None) is EMPTY
    assert to_frozen_dict({}) is EMPTY
    assert Message.user("x").metadata is EMPTY
    with pytest.raises(TypeError, match="metadata must be a mapping, not list"):
        to_frozen_dict([("a", 1)], "metadata")


# The finish reason.


@pytest.mark.parametrize(
    ("stop_reason", "calls", "expected"),
    [
        ("stop", 0, "stop"),
        ("stop", 1, "tool_calls"),
        ("STOP", 0, "stop"),
        ("end_turn", 0, "stop"),
        ("COMPLETE", 0, "stop"),
        ("tool_use", 1, "tool_calls"),
        ("function_call", 1, "tool_calls"),
        ("function_calls", 1, "tool_calls"),
        ("length", 1, "length"),
        ("MAX_TOKENS", 0, "length"),
        ("refusal", 0, "content_filter"),
        ("content_filter", 0, "content_filter"),
        ("something new", 0, "other"),
        (None, 0, "other"),
    ],
)
def test_stop_reasons_are_mapped_to_finish_reasons(
    stop_reason: str | None, calls: int, expected: str
) -> None:
    message = Message.assistant("x", [ToolCall(name="f")] * calls)
    assert ModelResponse(message, stop_reason=stop_reason).finish_reason == expected
    assert Candidate(message, stop_reason).finish_reason == expected


def test_a_provider_says_what_its_own_stop_reasons_mean() -> None:
    meanings: dict[str, Any] = {"LIMIT": "length", "DONE": "stop"}
    message, call = Message.assistant("x"), Message.assistant("x", [ToolCall(name="f")])
    candidates = (Candidate(message, "LIMIT"), Candidate(call, "DONE"), Candidate(message, "eos"))
    response = ModelResponse(message, stop_reason="LIMIT", candidates=candidates)
    found = response.with_stop_meanings(meanings)
    assert (found.stop_reason, found.finish_reason) == ("LIMIT", "length")
    finish_reasons = [one.finish_reason for one in found.candidates]
    assert finish_reasons == ["length", "tool_calls", "stop"]
    assert found.with_headers({"x": "y"}).finish_reason == "length"
    assert response.finish_reason == "other"


def test_token_counts_that_were_not_reported_are_zero() -> None:
    response = ModelResponse(Message.assistant("x"), {"prompt_tokens": 3})
    assert (response.prompt_tokens, response.completion_tokens, response.total_tokens) == (3, 0, 3)
