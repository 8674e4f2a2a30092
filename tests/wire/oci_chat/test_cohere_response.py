"""Whole answers of Cohere's first format, and the ids that its tool calls get."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.conversation import conversation
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
from locus.wire.json import dumps, encode, loads
from locus.wire.oci_chat.cohere_formats import CohereChatBuilder, CohereChatParser
from tests.support.oci.sdk_classes import understood, written
from tests.support.strategies import Answered, json_objects, names, texts
from tests.support.wire_json.chat_json import sse
from tests.support.wire_json.oci_cohere_json import USER, end, essence, expected, sayable, whole

PARSER = CohereChatParser()
CALL = {"name": "f", "parameters": {"a": 1}}


def parse(text: str = "", **more: Any) -> ModelResponse:
    return PARSER.parse({"chatResponse": end(text, **more)})


@given(st.data())
def test_an_answer_is_read_as_what_it_says(data: st.DataObject) -> None:
    answered = data.draw(sayable(whole=True))
    text = json.dumps(whole(answered), ensure_ascii=data.draw(st.booleans()))
    read = PARSER.parse(text)
    assert essence(read) == expected(answered)
    assert PARSER.parse(text.encode()) == PARSER.parse(whole(answered)) == read


@given(sayable(whole=True))
def test_an_answer_can_be_kept_and_put_back_into_the_conversation(answered: Answered) -> None:
    answer = PARSER.parse(whole(answered))
    assert loads(dumps(answer), ModelResponse) == answer
    if answer.message.says_something or answer.message.tool_calls:
        assert conversation([Message.user("x"), answer.message])[1] is answer.message


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("COMPLETE", "stop"),
        ("MAX_TOKENS", "length"),
        ("ERROR_LIMIT", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("USER_CANCEL", "other"),
        ("UNKNOWN_ENUM_VALUE", "other"),
    ],
)
def test_the_services_word_for_the_end_is_kept_and_understood(word: str, meaning: str) -> None:
    answer = parse("x", finishReason=word)
    assert (answer.stop_reason, answer.finish_reason) == (word, meaning)


def test_what_the_service_adds_is_in_the_metadata_and_not_sent_back() -> None:
    notes = {"citations": [{"start": 0}], "documents": [{"id": "1"}], "searchQueries": [{}]}
    message = parse("x", **notes).message
    assert message.metadata == {
        "citations": [{"start": 0}],
        "documents": [{"id": "1"}],
        "search_queries": [{}],
    }
    body = CohereChatBuilder().build([Message.user("y"), message, Message.user("z")], model="m")
    assert body["chatRequest"]["chatHistory"][1] == {"role": "CHATBOT", "message": "x"}


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "404", "message": "boom"}, NotFoundError),
        ({"code": "InvalidParameter", "message": "boom"}, BadRequestError),
        ({"message": "boom"}, APIStatusError),
        ({"error": {"message": "boom", "code": 500}}, InternalServerError),
        ({"chatResponse": end(finishReason="ERROR", errorMessage="boom")}, InternalServerError),
        (
            {"chatResponse": end("so far", finishReason="ERROR", errorMessage="boom")},
            InternalServerError,
        ),
        (
            {"chatResponse": end(finishReason="ERROR_LIMIT", errorMessage="boom")},
            ContextWindowExceededError,
        ),
        (
            {"chatResponse": end(finishReason="ERROR_TOXIC", errorMessage="boom")},
            ContentFilterError,
        ),
    ],
)
def test_a_body_that_is_an_error_is_a_named_one(
    body: dict[str, Any], kind: type[APIStatusError]
) -> None:
    with pytest.raises(APIStatusError, match="boom") as caught:
        PARSER.parse(json.dumps(body))
    assert type(caught.value) is kind
    assert json.loads(caught.value.body) == body


def test_an_error_that_says_nothing_is_one() -> None:
    with pytest.raises(InternalServerError, match="the model failed"):
        parse(finishReason="ERROR")


@pytest.mark.parametrize("body", ["{}", '{"modelId": "m"}', "[]", "hello", '{"chatResponse": 3}'])
def test_a_body_that_is_no_answer_is_a_parse_error_that_quotes_it(body: str) -> None:
    with pytest.raises(ResponseParseError) as caught:
        PARSER.parse(body)
    assert caught.value.body == body


# -- tool calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", ["", "null", "[1]", "{", "{'a': 1}", [1, "é"], 3, True])
def test_parameters_that_are_no_object_are_kept(parameters: Any) -> None:
    (call,) = parse(toolCalls=[{"name": "f", "parameters": parameters}]).tool_calls
    kept = call.malformed_arguments
    assert kept is not None
    assert call.arguments == {}
    assert (kept if isinstance(parameters, str) else json.loads(kept)) == parameters


def test_a_call_without_parameters_has_none_and_json_text_is_read() -> None:
    calls = [{"name": "f"}, {"name": "f", "parameters": None}, {"name": "f", "parameters": "{}"}]
    for call in parse(toolCalls=calls).tool_calls:
        assert (call.arguments, call.malformed_arguments) == ({}, None)


def test_a_call_without_a_name_is_a_parse_error() -> None:
    with pytest.raises(ResponseParseError, match="tool call 1 has no name"):
        parse(toolCalls=[CALL, {"parameters": {}}])


def test_calls_that_are_alike_get_ids_of_their_own_that_stay() -> None:
    first, second = parse(toolCalls=[CALL, CALL]).tool_calls
    assert first.id != second.id
    assert parse(toolCalls=[CALL, CALL]).tool_calls == (first, second)


@pytest.mark.parametrize(
    "other",
    [
        {"chatHistory": [USER, USER]},
        {"usage": {"promptTokens": 2}},
        {"text": "x"},
    ],
)
def test_the_same_call_in_another_answer_has_another_id(other: dict[str, Any]) -> None:
    said = end(toolCalls=[CALL], chatHistory=[USER])
    (one,) = PARSER.parse({"chatResponse": said}).tool_calls
    (two,) = PARSER.parse({"chatResponse": said | other}).tool_calls
    assert one.id != two.id


def test_a_parser_within_a_conversation_takes_no_id_twice() -> None:
    turns = [Message.user("x")]
    for _ in range(4):
        parser = PARSER.within(turns)
        body = json.dumps({"chatResponse": end(toolCalls=[CALL, CALL])})
        answer = parser.parse(body)
        decoder = parser.decoder()
        streamed = decoder.feed(sse(end(toolCalls=[CALL, CALL]), "[DONE]"))
        assert streamed[-1].response == answer
        turns.append(answer.message)
        turns += [Message.tool(ToolResult(call.id, "f", "y")) for call in answer.tool_calls]
    ids = [call.id for message in turns for call in message.tool_calls]
    assert len(set(ids)) == 8
    assert parser.taken == set(ids[:6])
    assert PARSER.taken == frozenset()
    assert PARSER.within("hello") == PARSER.within(Message.user("x")) == PARSER


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
def test_every_result_reaches_its_call_over_many_turns(
    rounds: list[list[dict[str, Any]]], silent: bool, again: bool, data: st.DataObject
) -> None:
    """The server answers with calls, many of them alike; results come back in any order."""
    turns = [Message.user("go")]
    wanted: list[list[tuple[Any, str]]] = []
    for number, calls in enumerate(rounds):
        sent = json.loads(encode(CohereChatBuilder().build(turns, model="m")))["chatRequest"]
        history = [*sent.get("chatHistory", []), {"role": "CHATBOT", "toolCalls": calls}]
        said = end(toolCalls=calls) | ({} if silent else {"chatHistory": history})
        parser = PARSER.within(turns) if silent else PARSER
        if again:
            decoder = parser.decoder()
            (*_, last) = decoder.feed(sse(said, "[DONE]"))
            assert last.response is not None
            answer = last.response
        else:
            answer = parser.parse({"chatResponse": said})
        turns.append(answer.message)
        gave = [f"{number}.{at}" for at in range(len(calls))]
        wanted.append(list(zip(calls, gave, strict=True)))
        results = [
            Message.tool(ToolResult(call.id, call.name, text))
            for call, text in zip(answer.tool_calls, gave, strict=True)
        ]
        turns += data.draw(st.permutations(results))
    ids = [call.id for message in turns for call in message.tool_calls]
    assert len(set(ids)) == len(ids)
    body = json.loads(encode(CohereChatBuilder().build(turns, model="m")))["chatRequest"]
    told = [entry["toolResults"] for entry in body["chatHistory"] if entry["role"] == "TOOL"]
    found = [
        [(result["call"], result["outputs"][0]["output"]) for result in results]
        for results in [*told, body["toolResults"]]
    ]
    assert found == wanted
    asked = [entry["toolCalls"] for entry in body["chatHistory"] if entry["role"] == "CHATBOT"]
    assert asked == rounds
    assert body["message"] == ""


# -- the package as the judge --------------------------------------------------------------------


@st.composite
def responses(draw: st.DrawFn) -> dict[str, Any]:
    """What a ``CohereChatResponse`` can be made of."""
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
@given(responses(), st.sampled_from(["cohere.command-r-plus", "m"]))
def test_every_response_that_the_package_can_write_is_read_equal(
    said: dict[str, Any], model: str
) -> None:
    pytest.importorskip("oci")
    chat = {"apiFormat": "COHERE", **said}
    result = understood({"modelId": model, "modelVersion": "1", "chatResponse": chat}, "ChatResult")
    theirs = result.chat_response
    body = json.dumps(written(result))
    calls = theirs.tool_calls or []
    nothing = not theirs.text and not calls
    if theirs.finish_reason == "ERROR" or (
        nothing and theirs.error_message and theirs.finish_reason in ("ERROR_LIMIT", "ERROR_TOXIC")
    ):
        with pytest.raises(APIStatusError):
            PARSER.parse(body)
        return
    read = PARSER.parse(body)
    assert read.content == theirs.text
    assert [(call.name, call.arguments) for call in read.tool_calls] == [
        (call.name, call.parameters) for call in calls
    ]
    assert len({call.id for call in read.tool_calls}) == len(calls)
    assert (read.stop_reason, read.model) == (theirs.finish_reason, model)
    usage, counts = theirs.usage, {}
    if usage is not None:
        prompt, spent = usage.prompt_tokens_details, usage.completion_tokens_details
        counts = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": prompt and prompt.cached_tokens,
            "reasoning_tokens": spent and spent.reasoning_tokens,
        }
    assert read.usage == {name: count for name, count in counts.items() if count is not None}
    notes = read.message.metadata
    assert notes.get("documents", []) == (theirs.documents or [])
    assert [one["text"] for one in notes.get("citations", [])] == [
        one.text for one in theirs.citations or []
    ]
    assert [one["text"] for one in notes.get("search_queries", [])] == [
        one.text for one in theirs.search_queries or []
    ]


@pytest.mark.sdk
@given(sayable(whole=True))
def test_what_these_tests_call_an_answer_the_package_calls_one(answered: Answered) -> None:
    pytest.importorskip("oci")
    theirs = understood(whole(answered), "ChatResult").chat_response
    assert theirs.text == (answered.first.text or "")
    assert [call.name for call in theirs.tool_calls or ()] == [
        call.name for call in answered.first.calls
    ]
