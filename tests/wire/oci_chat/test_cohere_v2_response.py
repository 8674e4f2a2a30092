"""Whole answers of Cohere's second format: read equal to what they say, or refused."""

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
    InternalServerError,
    ResponseParseError,
)
from locus.core.messages import Message, TextPart, ThinkingPart
from locus.core.response import ModelResponse
from locus.wire.json import dumps, loads
from locus.wire.oci_chat.cohere_formats import CohereV2ChatParser
from tests.support.oci.sdk_classes import check_accepted, understood, written
from tests.support.strategies import Answered, SaidCall, call_ids, json_objects, names, texts
from tests.support.wire_json.chat_json import call_of
from tests.support.wire_json.oci_cohere_json import (
    text,
    thinking,
    v2_end,
    v2_expected,
    v2_sayable,
    v2_whole,
)

PARSER = CohereV2ChatParser()


def parse(**message: Any) -> ModelResponse:
    said = {"role": "ASSISTANT", **message}
    return PARSER.parse({"chatResponse": v2_end() | {"message": said}})


def call(arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"type": "FUNCTION", "function": {"name": "f", "arguments": arguments}, **more}


@given(st.data())
def test_an_answer_is_read_as_what_it_says(data: st.DataObject) -> None:
    answered = data.draw(v2_sayable(whole=True))
    body = json.dumps(v2_whole(answered), ensure_ascii=data.draw(st.booleans()))
    read = PARSER.parse(body)
    assert read == v2_expected(answered)
    assert PARSER.parse(body.encode()) == PARSER.parse(v2_whole(answered)) == read


@given(v2_sayable(whole=True))
def test_an_answer_can_be_kept_and_put_back_into_the_conversation(answered: Answered) -> None:
    answer = PARSER.parse(v2_whole(answered))
    assert loads(dumps(answer), ModelResponse) == answer
    if answer.message.says_something or answer.message.tool_calls:
        assert conversation([Message.user("x"), answer.message])[1] is answer.message


def test_thinking_is_reasoning_and_stays_in_the_message_in_its_place() -> None:
    answer = parse(content=[text("a"), thinking("hm"), text("b"), text("c")])
    assert (answer.reasoning, answer.content) == ("hm", "abc")
    parts = [TextPart("a"), ThinkingPart("hm"), TextPart("bc")]
    assert answer.message == Message.assistant(parts)


def test_the_plan_is_reasoning_and_kept_to_be_sent_back() -> None:
    answer = parse(content=[thinking("hm. ")], toolPlan="I will.", toolCalls=[call(id="1")])
    assert answer.reasoning == "hm. I will."
    assert answer.message.metadata == {"tool_plan": "I will."}
    assert answer.finish_reason == "tool_calls"


def test_what_is_neither_text_nor_thinking_is_left_out() -> None:
    contents = [{"type": "DOCUMENT", "document": {}}, text("x"), {"type": "NEXT_YEARS"}]
    assert parse(content=contents).message == Message.assistant("x")
    assert parse().message == parse(content=None).message == Message.assistant("")


@pytest.mark.parametrize("arguments", ["", "null", "[1]", "{", "{'a': 1}", [1, "é"], 3, True])
def test_arguments_that_are_no_object_are_kept(arguments: Any) -> None:
    (read,) = parse(toolCalls=[call(arguments, id="1")]).tool_calls
    kept = read.malformed_arguments
    assert kept is not None
    assert (kept if isinstance(arguments, str) else json.loads(kept)) == arguments


def test_arguments_may_be_an_object_or_nothing() -> None:
    calls = [call({"a": 1}, id="1"), call(None, id="2"), call('{"a": 2}', id="3")]
    read = parse(toolCalls=calls).tool_calls
    assert [one.arguments for one in read] == [{"a": 1}, {}, {"a": 2}]


def test_calls_have_ids_of_their_own_in_any_case() -> None:
    calls = [call(id="a"), call(id="a"), call(id="a_1"), call(), call(id="")]
    read = [one.id for one in parse(toolCalls=calls).tool_calls]
    assert read[0] == "a"
    assert len(set(read)) == 5
    assert [one.id for one in parse(toolCalls=calls).tool_calls] == read


def test_a_call_without_a_name_is_a_parse_error() -> None:
    for nameless in ({"id": "1"}, {"id": "1", "function": {"arguments": "{}"}}):
        with pytest.raises(ResponseParseError, match="tool call 1 has no name"):
            parse(toolCalls=[call(id="0"), nameless])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "InvalidParameter", "message": "boom"}, BadRequestError),
        ({"message": "boom"}, APIStatusError),
        ({"chatResponse": v2_end(finishReason="ERROR", errorMessage="boom")}, InternalServerError),
    ],
)
def test_a_body_that_is_an_error_is_a_named_one(
    body: dict[str, Any], kind: type[APIStatusError]
) -> None:
    with pytest.raises(APIStatusError, match="boom") as caught:
        PARSER.parse(json.dumps(body))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "body", ["{}", "[]", "hello", '{"chatResponse": 3}', '{"chatResponse": {"id": "1"}}']
)
def test_a_body_that_is_no_answer_is_a_parse_error_that_quotes_it(body: str) -> None:
    with pytest.raises(ResponseParseError) as caught:
        PARSER.parse(body)
    assert caught.value.body == body


# -- the package as the judge --------------------------------------------------------------------


@st.composite
def responses(draw: st.DrawFn) -> dict[str, Any]:
    """What a ``CohereChatResponseV2`` can be made of."""
    counts = st.none() | st.integers(0, 2**31)
    some = st.fixed_dictionaries
    function = some({"name": names(), "arguments": json_objects().map(json.dumps)})
    one = some({"id": call_ids(), "type": st.just("FUNCTION"), "function": function})
    content = (
        st.builds(text, texts())
        | st.builds(thinking, texts())
        | st.just({"type": "IMAGE_URL", "imageUrl": {"url": "https://x", "detail": "AUTO"}})
        | st.just({"type": "DOCUMENT", "document": {"id": "1"}})
    )
    cited = some({"start": st.integers(0, 9), "text": texts(), "type": st.just("PLAN")})
    message = some(
        {"role": st.just("ASSISTANT"), "content": st.none() | st.lists(content, max_size=4)},
        optional={
            "toolPlan": texts(),
            "toolCalls": st.lists(one, max_size=3, unique_by=lambda call: call["id"]),
            "citations": st.lists(cited, max_size=2),
        },
    )
    token = some({"tokenIds": st.lists(st.integers(0, 9)), "text": texts()})
    return draw(
        some(
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
                "usage": some({"promptTokens": counts, "completionTokens": counts}),
            },
        )
    )


@pytest.mark.sdk
@given(responses())
def test_every_response_that_the_package_can_write_is_read_equal(said: dict[str, Any]) -> None:
    pytest.importorskip("oci")
    result = understood({"modelId": "m", "modelVersion": "1", "chatResponse": said}, "ChatResult")
    theirs = result.chat_response
    body = json.dumps(written(result))
    if theirs.finish_reason == "ERROR":
        with pytest.raises(APIStatusError):
            PARSER.parse(body)
        return
    read = PARSER.parse(body)
    contents = theirs.message.content or []
    assert read.content == "".join(one.text for one in contents if one.type == "TEXT")
    thought = "".join(one.thinking for one in contents if one.type == "THINKING")
    assert (read.reasoning or "") == thought + (theirs.message.tool_plan or "")
    calls = [
        call_of(SaidCall(one.id, one.function["name"], one.function["arguments"]))
        for one in theirs.message.tool_calls or ()
    ]
    assert list(read.tool_calls) == calls
    assert (read.stop_reason, read.model) == (theirs.finish_reason, "m")
    assert read.response_id == theirs.id
    counts = theirs.usage and {
        "prompt_tokens": theirs.usage.prompt_tokens,
        "completion_tokens": theirs.usage.completion_tokens,
    }
    assert read.usage == {
        name: count for name, count in (counts or {}).items() if count is not None
    }
    probable = theirs.log_probabilities
    assert (read.logprobs is None) == (probable is None)
    if read.logprobs is not None:
        assert [one["text"] for one in read.logprobs["content"]] == [one.text for one in probable]
    cited = read.message.metadata.get("citations", [])
    assert [one["text"] for one in cited] == [one.text for one in theirs.message.citations or ()]


@pytest.mark.sdk
@given(v2_sayable(whole=True))
def test_what_these_tests_call_an_answer_the_package_calls_one(answered: Answered) -> None:
    pytest.importorskip("oci")
    body = v2_whole(answered)
    if answered.first.stop == "NEXT_YEARS":  # not a word of this year's package
        body["chatResponse"]["finishReason"] = "COMPLETE"
    check_accepted(body, "ChatResult")
