"""Tests of complete responses of Cohere's second format: parsed, or rejected with an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    InternalServerError,
    ResponseParseError,
)
from locus.core.messages import Message, TextPart, ThinkingPart
from locus.core.response import ModelResponse
from locus.wire.oci_chat import CohereV2ChatParser
from tests.support.native_state import get_data, make_state
from tests.support.oci.sdk_classes import check_round_trip, deserialize, serialize
from tests.support.strategies import (
    CallContent,
    ResponseContent,
    call_ids,
    json_objects,
    names,
    texts,
)
from tests.support.wire_json.chat_json import build_expected_call
from tests.support.wire_json.oci_cohere_json import (
    build_v2_body,
    build_v2_expected_response,
    make_v2_last_chunk,
    make_v2_text_content,
    make_v2_thinking_content,
    v2_expressible_responses,
)

PARSER = CohereV2ChatParser()


def parse_message(**message: Any) -> ModelResponse:
    assistant_message = {"role": "ASSISTANT", **message}
    return PARSER.parse({"chatResponse": make_v2_last_chunk() | {"message": assistant_message}})


def make_call(arguments: Any = "{}", **members: Any) -> dict[str, Any]:
    return {"type": "FUNCTION", "function": {"name": "f", "arguments": arguments}, **members}


@given(st.data())
def test_response_is_parsed_as_expected(data: st.DataObject) -> None:
    sample = data.draw(v2_expressible_responses(with_model=True))
    body = json.dumps(build_v2_body(sample), ensure_ascii=data.draw(st.booleans()))
    response = PARSER.parse(body)
    assert response == build_v2_expected_response(sample)
    assert PARSER.parse(body.encode()) == PARSER.parse(build_v2_body(sample)) == response


def test_thinking_is_reasoning_and_keeps_its_position_in_the_message() -> None:
    response = parse_message(
        content=[
            make_v2_text_content("a"),
            make_v2_thinking_content("hm"),
            make_v2_text_content("b"),
            make_v2_text_content("c"),
        ]
    )
    assert (response.reasoning, response.content) == ("hm", "abc")
    parts = [TextPart("a"), ThinkingPart("hm"), TextPart("bc")]
    state = make_state("oci_cohere_v2")
    assert response.message == Message.assistant(parts, native_state=state)


def test_plan_is_reasoning_and_is_native_state() -> None:
    response = parse_message(
        content=[make_v2_thinking_content("hm. ")],
        toolPlan="I will.",
        toolCalls=[make_call(id="1")],
    )
    assert response.reasoning == "hm. I will."
    assert get_data(response.message) == {"tool_plan": "I will."}
    assert response.finish_reason == "tool_calls"


def test_contents_of_other_types_are_left_out() -> None:
    contents = [
        {"type": "DOCUMENT", "document": {}},
        make_v2_text_content("x"),
        {"type": "NEXT_YEARS"},
    ]
    assert parse_message(content=contents).message == Message.assistant("x")
    assert parse_message().message == parse_message(content=None).message == Message.assistant("")


@pytest.mark.parametrize("arguments", ["[1]", "{", "{'a': 1}", [1, "é"], 3, True])
def test_invalid_arguments_become_malformed_arguments(arguments: Any) -> None:
    (tool_call,) = parse_message(toolCalls=[make_call(arguments, id="1")]).tool_calls
    malformed = tool_call.malformed_arguments
    assert malformed is not None
    assert (malformed if isinstance(arguments, str) else json.loads(malformed)) == arguments


def test_arguments_may_be_an_object_or_nothing() -> None:
    calls = [make_call({"a": 1}, id="1"), make_call(None, id="2"), make_call('{"a": 2}', id="3")]
    tool_calls = parse_message(toolCalls=calls).tool_calls
    assert [tool_call.arguments for tool_call in tool_calls] == [{"a": 1}, {}, {"a": 2}]


def test_call_ids_are_unique() -> None:
    calls = [
        make_call(id="a"),
        make_call(id="a"),
        make_call(id="a_1"),
        make_call(),
        make_call(id=""),
    ]
    call_ids = [tool_call.id for tool_call in parse_message(toolCalls=calls).tool_calls]
    assert call_ids[0] == "a"
    assert len(set(call_ids)) == 5
    assert [tool_call.id for tool_call in parse_message(toolCalls=calls).tool_calls] == call_ids


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ({"code": "InvalidParameter", "message": "boom"}, BadRequestError),
        ({"message": "boom"}, APIStatusError),
        (
            {"chatResponse": make_v2_last_chunk(finishReason="ERROR", errorMessage="boom")},
            InternalServerError,
        ),
    ],
)
def test_error_body_is_raised_as_a_specific_error(
    body: dict[str, Any], error_type: type[APIStatusError]
) -> None:
    with pytest.raises(APIStatusError, match="boom") as exc_info:
        PARSER.parse(json.dumps(body))
    assert type(exc_info.value) is error_type


@pytest.mark.parametrize(
    "body", ["{}", "[]", "hello", '{"chatResponse": 3}', '{"chatResponse": {"id": "1"}}']
)
def test_invalid_body_is_a_parse_error_that_quotes_it(body: str) -> None:
    with pytest.raises(ResponseParseError) as exc_info:
        PARSER.parse(body)
    assert exc_info.value.body == body


# -- comparison with the oci package -------------------------------------------------------------


@st.composite
def cohere_chat_responses(draw: st.DrawFn) -> dict[str, Any]:
    """Any ``CohereChatResponseV2`` as JSON."""
    counts = st.none() | st.integers(0, 2**31)
    fixed = st.fixed_dictionaries
    function = fixed({"name": names(), "arguments": json_objects().map(json.dumps)})
    tool_call = fixed({"id": call_ids(), "type": st.just("FUNCTION"), "function": function})
    content = (
        st.builds(make_v2_text_content, texts())
        | st.builds(make_v2_thinking_content, texts())
        | st.just({"type": "IMAGE_URL", "imageUrl": {"url": "https://x", "detail": "AUTO"}})
        | st.just({"type": "DOCUMENT", "document": {"id": "1"}})
    )
    citation = fixed({"start": st.integers(0, 9), "text": texts(), "type": st.just("PLAN")})
    message = fixed(
        {"role": st.just("ASSISTANT"), "content": st.none() | st.lists(content, max_size=4)},
        optional={
            "toolPlan": texts(),
            "toolCalls": st.lists(tool_call, max_size=3, unique_by=lambda call: call["id"]),
            "citations": st.lists(citation, max_size=2),
        },
    )
    token = fixed({"tokenIds": st.lists(st.integers(0, 9)), "text": texts()})
    return draw(
        fixed(
            {
                "apiFormat": st.just("COHEREV2"),
                "id": call_ids(),
                "message": message,
                "finishReason": st.sampled_from(
                    ["COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "ERROR"]
                ),
            },
            optional={
                "errorMessage": texts(),
                "logProbabilities": st.lists(token, max_size=2),
                "usage": fixed({"promptTokens": counts, "completionTokens": counts}),
            },
        )
    )


@pytest.mark.sdk
@given(cohere_chat_responses())
def test_locus_and_the_oci_package_parse_the_same_response(chat_response: dict[str, Any]) -> None:
    pytest.importorskip("oci")
    result = deserialize(
        {"modelId": "m", "modelVersion": "1", "chatResponse": chat_response}, "ChatResult"
    )
    theirs = result.chat_response
    body = json.dumps(serialize(result))
    if theirs.finish_reason == "ERROR":
        with pytest.raises(APIStatusError):
            PARSER.parse(body)
        return
    response = PARSER.parse(body)
    contents = theirs.message.content or []
    assert response.content == "".join(item.text for item in contents if item.type == "TEXT")
    thinking = "".join(item.thinking for item in contents if item.type == "THINKING")
    assert (response.reasoning or "") == thinking + (theirs.message.tool_plan or "")
    calls = [
        build_expected_call(CallContent(item.id, item.function["name"], item.function["arguments"]))
        for item in theirs.message.tool_calls or ()
    ]
    assert list(response.tool_calls) == calls
    assert (response.stop_reason, response.model) == (theirs.finish_reason, "m")
    assert response.response_id == theirs.id
    expected_usage = theirs.usage and {
        "prompt_tokens": theirs.usage.prompt_tokens,
        "completion_tokens": theirs.usage.completion_tokens,
        "total_tokens": theirs.usage.total_tokens,
    }
    assert response.usage == {
        name: count for name, count in (expected_usage or {}).items() if count is not None
    }
    log_probabilities = theirs.log_probabilities
    assert (response.logprobs is None) == (log_probabilities is None)
    if response.logprobs is not None:
        assert [item["text"] for item in response.logprobs["content"]] == [
            item.text for item in log_probabilities
        ]
    citations = response.message.metadata.get("citations", [])
    assert [item["text"] for item in citations] == [
        item.text for item in theirs.message.citations or ()
    ]


@pytest.mark.sdk
@given(v2_expressible_responses(with_model=True))
def test_the_oci_package_accepts_the_sample_responses(sample: ResponseContent) -> None:
    pytest.importorskip("oci")
    body = build_v2_body(sample)
    if sample.first.stop == "NEXT_YEARS":  # not known to the package
        body["chatResponse"]["finishReason"] = "COMPLETE"
    check_round_trip(body, "ChatResult")
