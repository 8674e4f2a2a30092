"""The official SDK as the judge of the responses format, in both directions.

What Locus builds, the SDK's parameter types accept, with no member they do not know. What its
response classes can say, Locus reads equal. The same bytes give the same answer through both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, is_typeddict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.messages import Message, ToolResult
from locus.core.response import ModelResponse
from locus.wire.json import encode
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support.strategies import conversations, options, splits, tools
from tests.support.wire_json.responses_json import (
    Answer,
    answer_of,
    call_of,
    delta,
    ending,
    events,
    framed,
    message,
    read,
    response_answers,
    sse,
    whole,
)

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")
typing_extensions = pytest.importorskip("typing_extensions")

from openai.types.responses import Response, response_create_params  # noqa: E402
from openai.types.responses.response import IncompleteDetails  # noqa: E402

pytestmark = pytest.mark.sdk

# The SDK rides on httpx2 since its third version, and on httpx before.
MAJOR = int(openai.VERSION.split(".")[0])
http = pytest.importorskip("httpx2" if MAJOR >= 3 else "httpx")

PARSER = ResponsesParser()
_KNOWN: Any = get_args(get_args(IncompleteDetails.model_fields["reason"].annotation)[0])
REASONS: tuple[str | None, ...] = (*_KNOWN, None)
"""Why an answer is incomplete, as far as this version of the SDK knows."""


# Requests.


@cache
def accepts() -> Any:
    """The SDK's parameter types as a validator that refuses unknown members."""
    strict = pydantic.ConfigDict(extra="forbid")
    for name, module in list(sys.modules.items()):
        if name.startswith("openai.types"):
            for kind in vars(module).values():
                if is_typeddict(kind) or typing_extensions.is_typeddict(kind):
                    kind.__pydantic_config__ = strict
    return pydantic.TypeAdapter(response_create_params.ResponseCreateParams)


def exhaust(value: Any) -> Any:
    """Pull everything out of pydantic's lazy iterables, which validate only then."""
    if isinstance(value, dict):
        return {name: exhaust(member) for name, member in value.items()}
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    return [exhaust(member) for member in value]


def check_request(turns: Any, given_: Any = None, store: bool = True, **said: Any) -> None:
    body = json.loads(encode(ResponsesBuilder(store).build(turns, given_, **said)))
    assert exhaust(accepts().validate_python(body)) == body


@given(st.data())
def test_what_is_built_is_what_the_sdk_would_send(data: st.DataObject) -> None:
    given_ = data.draw(tools())
    said = data.draw(options(given_))
    said.pop("stop", None)
    said["model"] = data.draw(st.sampled_from(["gpt-4o", "o3", "gpt-5", "llama-3"]))
    said["stream"] = data.draw(st.booleans())
    said["provider_state"] = data.draw(st.sampled_from([None, {"previous_response_id": "r"}]))
    check_request(data.draw(conversations()), given_, data.draw(st.booleans()), **said)


@given(response_answers(), st.booleans())
def test_an_answer_goes_back_as_the_sdk_would_send_it(answer: Answer, store: bool) -> None:
    said = ResponsesParser(store).parse(whole(answer)).message
    turns = [Message.user("x"), said]
    turns += [Message.tool(ToolResult(call.id, "f", "y")) for call in said.tool_calls]
    if said.says_something or said.tool_calls:
        check_request([*turns, Message.user("z")], store=store, model="gpt-5")


def test_the_judge_refuses_what_the_sdk_does_not_know() -> None:
    good = ResponsesBuilder().build("x", model="m")
    accepts().validate_python(good)
    (turn,) = good["input"]
    for bad in (
        good | {"colour": "red"},
        good | {"input": [turn | {"colour": "red"}]},
        good | {"input": [turn | {"content": [{"type": "text", "text": "x"}]}]},
        good | {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
        good | {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ):
        with pytest.raises(pydantic.ValidationError):
            exhaust(accepts().validate_python(bad))


# Answers.


def check_equal(ours: ModelResponse, theirs: Any) -> None:
    """Locus's reading of an answer beside the SDK's."""
    assert (ours.response_id, ours.model) == (theirs.id, theirs.model)
    assert ours.content == theirs.output_text
    details = theirs.incomplete_details
    assert ours.stop_reason == ((details and details.reason) or theirs.status)
    parts = [p for item in theirs.output if item.type == "message" for p in item.content]
    refusals = [part.refusal for part in parts if part.type == "refusal"]
    assert (ours.message.refusal or "") == "".join(refusals)
    texts = [part for part in parts if part.type == "output_text"]
    notes = [note.to_dict() for part in texts for note in part.annotations]
    assert ours.message.metadata.get("annotations", []) == notes
    tokens = [token.to_dict() for part in texts for token in part.logprobs or ()]
    assert (ours.logprobs or {"content": []})["content"] == tokens
    thoughts = [
        part.text
        for item in theirs.output
        if item.type == "reasoning"
        for part in [*item.summary, *(item.content or [])]
        if part.text
    ]
    assert (ours.reasoning or "") == "\n\n".join(thoughts)
    calls = [
        call_of(item.to_dict())
        for item in theirs.output
        if item.type in ("function_call", "custom_tool_call")
    ]
    assert list(ours.tool_calls) == calls
    usage = theirs.usage
    assert ours.usage == {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_tokens": usage.input_tokens_details.cached_tokens,
        "cache_creation_input_tokens": usage.input_tokens_details.cache_write_tokens,
        "reasoning_tokens": usage.output_tokens_details.reasoning_tokens,
    }
    assert ours.total_tokens == usage.total_tokens


@given(response_answers(legible=False, reasons=REASONS))
def test_what_the_sdk_can_say_is_read_equal(answer: Answer) -> None:
    theirs = Response.model_validate(whole(answer))
    check_equal(PARSER.parse(theirs.to_json().encode()), theirs)
    check_equal(PARSER.parse(theirs.to_dict()), theirs)
    # Half of what the union of items knows has other members, null in this one.
    check_equal(PARSER.parse(theirs.model_dump_json()), theirs)
    check_equal(PARSER.parse(theirs.model_dump(mode="json")), theirs)


def test_every_item_that_the_sdk_knows_is_read_or_kept() -> None:
    from typing import get_args

    from openai.types.responses import ResponseOutputItem

    union = get_args(get_args(ResponseOutputItem)[0])
    kinds = {get_args(item.model_fields["type"].annotation)[0] for item in union}
    assert {"message", "reasoning", "function_call", "custom_tool_call", "mcp_call"} <= kinds
    for kind in kinds - {"message", "reasoning", "function_call", "custom_tool_call"}:
        item = {"type": kind, "id": "x_1", "name": 5, "arguments": {}, "content": "y", "output": 1}
        answer = PARSER.parse(whole(Answer((item, message("so")))))
        assert (answer.content, answer.tool_calls) == ("so", ())
        assert answer.message.metadata["output_items"][0] == item


# Streams.


def through_the_sdk(pieces: list[bytes]) -> tuple[list[Any], Any]:
    """The events that the SDK's own stream makes of an answer's bytes, and the whole answer."""

    def answer(_: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield from pieces

        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    with http.Client(transport=http.MockTransport(answer)) as transport:
        client = openai.OpenAI(
            api_key="none", base_url="http://x/v1", http_client=transport, max_retries=0
        )
        with client.responses.stream(model="m", input="x") as stream:
            found = list(stream)
    ended = [e for e in found if e.type in ("response.completed", "response.incomplete")]
    return found, ended[-1].response if ended else None


@given(st.data())
def test_the_same_bytes_give_the_same_answer(data: st.DataObject) -> None:
    answer = data.draw(response_answers(legible=False))
    style = data.draw(st.sampled_from(["openai", "openai", "items", "bare"]))
    stream = data.draw(framed(data.draw(events(answer, style, plain=True))))
    found, theirs = through_the_sdk(data.draw(splits(stream)))
    check_equal(answer_of(data.draw(splits(stream))), theirs)
    if style == "openai":
        deltas = [event.delta for event in found if event.type == "response.output_text.delta"]
        got, _ = read([stream])
        assert [event.content for event in got if event.content] == [d for d in deltas if d]
        thoughts = [
            event.delta
            for event in found
            if event.type.startswith("response.reasoning") and event.type.endswith("delta")
        ]
        said = "".join(event.reasoning or "" for event in got)
        assert said.replace("\n\n", "") == "".join(thoughts).replace("\n\n", "")


@pytest.mark.skipif(MAJOR < 3, reason="older versions of the SDK fail on such a stream")
@given(st.data())
def test_an_answer_without_its_output_at_the_end_is_recovered_as_by_the_sdk(
    data: st.DataObject,
) -> None:
    answer = data.draw(response_answers(legible=False))
    found = data.draw(events(answer, "openai", plain=True))
    found[-1]["response"]["output"] = None
    _, theirs = through_the_sdk([sse(*found)])
    check_equal(answer_of(sse(*found)), theirs)


@given(st.data())
def test_of_a_stream_that_is_cut_the_sdk_saw_no_more_than_locus(data: st.DataObject) -> None:
    stream = sse(*data.draw(events(data.draw(response_answers()), plain=True)))
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    try:
        found, _ = through_the_sdk([prefix])
    except (ValueError, openai.APIError):  # cut in the middle of an event
        return
    _, decoder = read([prefix])
    deltas = [event.delta for event in found if event.type == "response.output_text.delta"]
    if not decoder.done:
        assert decoder.failure is not None
        assert decoder.failure.partial is not None
        assert decoder.failure.partial.content == "".join(deltas)


def test_an_error_in_the_stream_is_one_in_both() -> None:
    begun = {"type": "response.created", "response": ending()["response"]}
    added = {"type": "response.output_item.added", "output_index": 0, "item": message()}
    part = {"type": "output_text", "text": "", "annotations": []}
    opened = {"type": "response.content_part.added", "output_index": 0, "content_index": 0}
    error = {"error": {"type": "server_error", "message": "boom"}}
    stream = sse(begun, added, {**opened, "part": part}, delta("x"), error)
    with pytest.raises(openai.APIError, match="boom"):
        through_the_sdk([stream])
    failure = read([stream])[1].failure
    assert failure is not None
    assert "boom" in str(failure)
