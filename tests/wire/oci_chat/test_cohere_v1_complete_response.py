"""Tests of complete responses of Cohere's first format, and of the ids of its tool calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ContentFilterError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    ResponseParseError,
)
from locus.core.messages import Message, ToolResult
from locus.core.response import ModelResponse
from locus.wire.oci_chat import CohereV1ChatBuilder, CohereV1ChatParser
from locus.wire.provider_json import encode_json
from tests.support.oci.sdk_classes import deserialize, serialize
from tests.support.strategies import ResponseContent, json_objects, names, texts
from tests.support.wire_json.chat_json import encode_sse
from tests.support.wire_json.oci_cohere_json import (
    USER_ENTRY,
    build_v1_body,
    build_v1_expected_response,
    make_v1_last_chunk,
    v1_expressible_responses,
    without_generated_ids,
)

PARSER = CohereV1ChatParser()
CALL = {"name": "f", "parameters": {"a": 1}}


def parse_chat_response(text: str = "", **members: Any) -> ModelResponse:
    return PARSER.parse({"chatResponse": make_v1_last_chunk(text, **members)})


@given(st.data())
def test_response_is_parsed_as_expected(data: st.DataObject) -> None:
    sample = data.draw(v1_expressible_responses(with_model=True))
    text = json.dumps(build_v1_body(sample), ensure_ascii=data.draw(st.booleans()))
    response = PARSER.parse(text)
    assert without_generated_ids(response) == build_v1_expected_response(sample)
    assert PARSER.parse(text.encode()) == PARSER.parse(build_v1_body(sample)) == response


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("COMPLETE", "stop"),
        ("MAX_TOKENS", "length"),
        ("ERROR_LIMIT", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("USER_CANCEL", "other"),
        ("UNKNOWN_ENUM_VALUE", "other"),
    ],
)
def test_stop_reason_and_finish_reason(reason: str, finish_reason: str) -> None:
    response = parse_chat_response("x", finishReason=reason)
    assert (response.stop_reason, response.finish_reason) == (reason, finish_reason)


def test_citations_and_documents_are_metadata_and_not_sent_back() -> None:
    members = {"citations": [{"start": 0}], "documents": [{"id": "1"}], "searchQueries": [{}]}
    message = parse_chat_response("x", **members).message
    assert message.metadata == {
        "citations": [{"start": 0}],
        "documents": [{"id": "1"}],
        "search_queries": [{}],
    }
    body = CohereV1ChatBuilder().build([Message.user("y"), message, Message.user("z")], model="m")
    assert body["chatRequest"]["chatHistory"][1] == {"role": "CHATBOT", "message": "x"}


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ({"code": "404", "message": "boom"}, NotFoundError),
        ({"code": "InvalidParameter", "message": "boom"}, BadRequestError),
        ({"message": "boom"}, APIStatusError),
        ({"error": {"message": "boom", "code": 500}}, InternalServerError),
        (
            {"chatResponse": make_v1_last_chunk(finishReason="ERROR", errorMessage="boom")},
            InternalServerError,
        ),
        (
            {
                "chatResponse": make_v1_last_chunk(
                    "so far", finishReason="ERROR", errorMessage="boom"
                )
            },
            InternalServerError,
        ),
        (
            {"chatResponse": make_v1_last_chunk(finishReason="ERROR_LIMIT", errorMessage="boom")},
            ContextWindowExceededError,
        ),
        (
            {"chatResponse": make_v1_last_chunk(finishReason="ERROR_TOXIC", errorMessage="boom")},
            ContentFilterError,
        ),
    ],
)
def test_error_body_is_raised_as_a_specific_error(
    body: dict[str, Any], error_type: type[APIStatusError]
) -> None:
    with pytest.raises(APIStatusError, match="boom") as exc_info:
        PARSER.parse(json.dumps(body))
    assert type(exc_info.value) is error_type
    assert json.loads(exc_info.value.body) == body


def test_error_without_a_message_is_raised() -> None:
    with pytest.raises(InternalServerError, match="the model failed"):
        parse_chat_response(finishReason="ERROR")


@pytest.mark.parametrize("body", ["{}", '{"modelId": "m"}', "[]", "hello", '{"chatResponse": 3}'])
def test_invalid_body_is_a_parse_error_that_quotes_it(body: str) -> None:
    with pytest.raises(ResponseParseError) as exc_info:
        PARSER.parse(body)
    assert exc_info.value.body == body


# -- tool calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", ["[1]", "{", "{'a': 1}", [1, "é"], 3, True])
def test_invalid_parameters_become_malformed_arguments(parameters: Any) -> None:
    (call,) = parse_chat_response(toolCalls=[{"name": "f", "parameters": parameters}]).tool_calls
    malformed = call.malformed_arguments
    assert malformed is not None
    assert call.arguments == {}
    assert (malformed if isinstance(parameters, str) else json.loads(malformed)) == parameters


def test_missing_parameters_and_parameters_as_json_text() -> None:
    calls = [{"name": "f"}, {"name": "f", "parameters": None}, {"name": "f", "parameters": "{}"}]
    for call in parse_chat_response(toolCalls=calls).tool_calls:
        assert (call.arguments, call.malformed_arguments) == ({}, None)


def test_equal_calls_get_unique_and_stable_ids() -> None:
    first, second = parse_chat_response(toolCalls=[CALL, CALL]).tool_calls
    assert first.id != second.id
    assert parse_chat_response(toolCalls=[CALL, CALL]).tool_calls == (first, second)


@pytest.mark.parametrize(
    "other_members",
    [
        {"chatHistory": [USER_ENTRY, USER_ENTRY]},
        {"usage": {"promptTokens": 2}},
        {"text": "x"},
    ],
)
def test_same_call_in_another_response_gets_another_id(other_members: dict[str, Any]) -> None:
    chat_response = make_v1_last_chunk(toolCalls=[CALL], chatHistory=[USER_ENTRY])
    (first,) = PARSER.parse({"chatResponse": chat_response}).tool_calls
    (second,) = PARSER.parse({"chatResponse": chat_response | other_members}).tool_calls
    assert first.id != second.id


def test_parser_for_a_conversation_uses_no_id_twice() -> None:
    messages = [Message.user("x")]
    for _ in range(4):
        parser = PARSER.with_used_call_ids(messages)
        body = json.dumps({"chatResponse": make_v1_last_chunk(toolCalls=[CALL, CALL])})
        response = parser.parse(body)
        decoder = parser.make_decoder()
        streamed = decoder.feed(encode_sse(make_v1_last_chunk(toolCalls=[CALL, CALL]), "[DONE]"))
        assert streamed[-1].response == response
        messages.append(response.message)
        messages += [Message.tool(ToolResult(call.id, "f", "y")) for call in response.tool_calls]
    ids = [call.id for message in messages for call in message.tool_calls]
    assert len(set(ids)) == 8
    assert parser.used_call_ids == set(ids[:6])
    assert PARSER.used_call_ids == frozenset()
    assert (
        PARSER.with_used_call_ids("hello") == PARSER.with_used_call_ids(Message.user("x")) == PARSER
    )


_NAMES = st.sampled_from(["look", "look", "ask"])
_CALLS = st.lists(
    st.builds(
        lambda name, parameters: {"name": name, "parameters": parameters},
        _NAMES,
        st.sampled_from([{}, {"at": 1}, {"at": 1}, {"at": {"x": [2]}}]),
    ),
    min_size=1,
    max_size=4,
)


@given(st.lists(_CALLS, min_size=1, max_size=4), st.booleans(), st.booleans(), st.data())
def test_results_are_matched_to_their_calls_over_many_rounds(
    rounds: list[list[dict[str, Any]]], without_history: bool, streamed: bool, data: st.DataObject
) -> None:
    """Return the server responds with calls, many of them equal; results are sent in any order."""
    messages = [Message.user("go")]
    expected: list[list[tuple[Any, str]]] = []
    for round_index, calls in enumerate(rounds):
        request = json.loads(encode_json(CohereV1ChatBuilder().build(messages, model="m")))[
            "chatRequest"
        ]
        history = [*request.get("chatHistory", []), {"role": "CHATBOT", "toolCalls": calls}]
        last_chunk = make_v1_last_chunk(toolCalls=calls) | (
            {} if without_history else {"chatHistory": history}
        )
        parser = PARSER.with_used_call_ids(messages) if without_history else PARSER
        if streamed:
            decoder = parser.make_decoder()
            (*_, final_event) = decoder.feed(encode_sse(last_chunk, "[DONE]"))
            assert final_event.response is not None
            response = final_event.response
        else:
            response = parser.parse({"chatResponse": last_chunk})
        messages.append(response.message)
        outputs = [f"{round_index}.{index}" for index in range(len(calls))]
        expected.append(list(zip(calls, outputs, strict=True)))
        results = [
            Message.tool(ToolResult(call.id, call.name, text))
            for call, text in zip(response.tool_calls, outputs, strict=True)
        ]
        messages += data.draw(st.permutations(results))
    ids = [call.id for message in messages for call in message.tool_calls]
    assert len(set(ids)) == len(ids)
    body = json.loads(encode_json(CohereV1ChatBuilder().build(messages, model="m")))["chatRequest"]
    tool_results = [
        entry["toolResults"] for entry in body["chatHistory"] if entry["role"] == "TOOL"
    ]
    parsed = [
        [(result["call"], result["outputs"][0]["output"]) for result in results]
        for results in [*tool_results, body["toolResults"]]
    ]
    assert parsed == expected
    calls_sent = [entry["toolCalls"] for entry in body["chatHistory"] if entry["role"] == "CHATBOT"]
    assert calls_sent == rounds
    assert body["message"] == ""


# -- comparison with the oci package -------------------------------------------------------------


@st.composite
def cohere_chat_responses(draw: st.DrawFn) -> dict[str, Any]:
    """Any ``CohereChatResponse`` as JSON."""
    call = st.fixed_dictionaries({"name": names(), "parameters": json_objects()})
    counts = st.none() | st.integers(0, 2**31)
    return draw(
        st.fixed_dictionaries(
            {
                "text": texts(),
                "finishReason": st.sampled_from(
                    ["COMPLETE", "ERROR_TOXIC", "ERROR_LIMIT", "ERROR", "USER_CANCEL", "MAX_TOKENS"]
                ),
            },
            optional={
                "chatHistory": st.lists(
                    st.builds(
                        lambda role, text: {"role": role, "message": text},
                        st.sampled_from(["USER", "CHATBOT", "SYSTEM"]),
                        texts(),
                    )
                    | st.builds(
                        lambda call, output: {
                            "role": "TOOL",
                            "toolResults": [{"call": call, "outputs": [output]}],
                        },
                        call,
                        json_objects(),
                    ),
                    max_size=3,
                ),
                "citations": st.lists(
                    st.fixed_dictionaries(
                        {"start": st.integers(0, 9), "end": st.integers(0, 9), "text": texts()}
                    ),
                    max_size=2,
                ),
                "isSearchRequired": st.booleans(),
                "errorMessage": texts(),
                "searchQueries": st.lists(st.fixed_dictionaries({"text": texts()}), max_size=2),
                "documents": st.lists(json_objects(), max_size=2),
                "toolCalls": st.none() | st.lists(call, max_size=3),
                "prompt": texts(),
                "usage": st.fixed_dictionaries(
                    {
                        "promptTokens": counts,
                        "completionTokens": counts,
                        "totalTokens": counts,
                        "promptTokensDetails": st.none()
                        | st.fixed_dictionaries({"cachedTokens": counts}),
                        "completionTokensDetails": st.none()
                        | st.fixed_dictionaries({"reasoningTokens": counts}),
                    }
                ),
            },
        )
    )


@pytest.mark.sdk
@given(cohere_chat_responses(), st.sampled_from(["cohere.command-r-plus", "m"]))
def test_locus_and_the_oci_package_parse_the_same_response(
    members: dict[str, Any], model: str
) -> None:
    pytest.importorskip("oci")
    chat_response = {"apiFormat": "COHERE", **members}
    result = deserialize(
        {"modelId": model, "modelVersion": "1", "chatResponse": chat_response}, "ChatResult"
    )
    theirs = result.chat_response
    body = json.dumps(serialize(result))
    calls = theirs.tool_calls or []
    is_empty = not theirs.text and not calls
    if theirs.finish_reason == "ERROR" or (
        is_empty and theirs.error_message and theirs.finish_reason in ("ERROR_LIMIT", "ERROR_TOXIC")
    ):
        with pytest.raises(APIStatusError):
            PARSER.parse(body)
        return
    response = PARSER.parse(body)
    assert response.content == theirs.text
    assert [(call.name, call.arguments) for call in response.tool_calls] == [
        (call.name, call.parameters) for call in calls
    ]
    assert len({call.id for call in response.tool_calls}) == len(calls)
    assert (response.stop_reason, response.model) == (theirs.finish_reason, model)
    usage, expected_usage = theirs.usage, {}
    if usage is not None:
        prompt_details, completion_details = (
            usage.prompt_tokens_details,
            usage.completion_tokens_details,
        )
        expected_usage = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "cached_tokens": prompt_details and prompt_details.cached_tokens,
            "cache_read_input_tokens": prompt_details and prompt_details.cached_tokens,
            "reasoning_tokens": completion_details and completion_details.reasoning_tokens,
        }
    assert response.usage == {
        name: count for name, count in expected_usage.items() if count is not None
    }
    metadata = response.message.metadata
    assert metadata.get("documents", []) == (theirs.documents or [])
    assert [item["text"] for item in metadata.get("citations", [])] == [
        item.text for item in theirs.citations or []
    ]
    assert [item["text"] for item in metadata.get("search_queries", [])] == [
        item.text for item in theirs.search_queries or []
    ]


@pytest.mark.sdk
@given(v1_expressible_responses(with_model=True))
def test_the_oci_package_accepts_the_sample_responses(sample: ResponseContent) -> None:
    pytest.importorskip("oci")
    theirs = deserialize(build_v1_body(sample), "ChatResult").chat_response
    assert theirs.text == (sample.first.text or "")
    assert [call.name for call in theirs.tool_calls or ()] == [
        call.name for call in sample.first.calls
    ]
