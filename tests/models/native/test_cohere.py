"""``CohereModel``: what it sends, and what it makes of answers that the records do not have."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest

from locus import CohereModel, Message, ToolResult, get_model
from locus.core.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    RateLimitError,
)
from locus.core.messages import TextPart, ThinkingPart
from locus.testing.server import LoopbackServer, Reply
from locus.wire.cohere_chat import CohereChatBuilder, CohereChatDecoder, CohereChatParser
from tests.support.formats import FORMATS_BY_NAME
from tests.support.formats.cohere_chat import API_KEY, encode_events
from tests.support.timing import FOREVER

ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}, "strict": True},
}
NAME = {"name": "add"}
CITATION = {
    "start": 0,
    "end": 2,
    "text": "21",
    "sources": [{"type": "tool", "id": "add_1:0", "tool_output": {"output": "21"}}],
}


def make_model(server: LoopbackServer, **kw: Any) -> CohereModel:
    return CohereModel(api_key=API_KEY, base_url=server.url, timeout=FOREVER, max_retries=0, **kw)


def decode(*events: dict[str, Any]) -> Any:
    decoder = CohereChatDecoder()
    found = decoder.feed(encode_events(*events))
    assert decoder.failure is None
    return found


def test_the_environment_names_key_and_address(clean_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="set CO_API_KEY"):
        CohereModel().complete_sync("hi")
    clean_environment.setenv("CO_API_KEY", "k")
    clean_environment.setenv("CO_API_URL", "http://127.0.0.1:1/v2/")
    model = get_model("cohere:command-r7b-12-2024")
    assert isinstance(model, CohereModel)
    assert (model.config.api_key, model.config.base_url) == ("k", "http://127.0.0.1:1")
    assert model.build_url() == "http://127.0.0.1:1/v2/chat"
    for url in ("https://a.example/v1", "https://a.example/v2/chat", "https://a.example"):
        assert CohereModel(base_url=url).config.base_url == "https://a.example"


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        (True, {"type": "enabled"}),
        (False, {"type": "disabled"}),
        (500, {"type": "enabled", "token_budget": 500}),
        ({"type": "disabled"}, {"type": "disabled"}),
        (None, None),
    ],
)
def test_thinking_and_top_k_are_members_of_the_request(
    server: LoopbackServer, thinking: Any, sent: Any
) -> None:
    model = make_model(server, thinking=thinking, top_k=7)
    body = model.request("hi")
    assert (body.get("thinking"), body["k"]) == (sent, 7)
    assert model.request("hi", extra_body={"k": 9})["k"] == 9
    for wrong in ({"thinking": 0}, {"thinking": "much"}, {"top_k": -1}, {"top_k": 1.5}):
        with pytest.raises(ConfigurationError):
            make_model(server, **wrong)


def test_a_round_of_tools_is_sent_as_cohere_documents_it() -> None:
    parsed = CohereChatParser().parse(
        {
            "id": "1",
            "finish_reason": "TOOL_CALL",
            "message": {
                "role": "assistant",
                "tool_plan": "I add.",
                "tool_calls": [
                    {
                        "id": "add_1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 1}'},
                    }
                ],
            },
        }
    )
    assert (parsed.finish_reason, parsed.reasoning) == ("tool_calls", "I add.")
    result = Message.tool(ToolResult("add_1", "add", "", error="no"))
    body = CohereChatBuilder().build(
        [Message.user("x"), parsed.message, result], [ADD], model="m", tool_choice="required"
    )
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "tool_plan": "I add.",
            "tool_calls": [
                {
                    "id": "add_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a":1}'},
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "add_1",
            "content": [{"type": "document", "document": {"data": {"error": "Error: no"}}}],
        },
    ]
    assert (body["tool_choice"], body["strict_tools"]) == ("REQUIRED", True)


def test_citations_plan_and_thinking_of_a_stream() -> None:
    events = decode(
        {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant"}}},
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I "}}},
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "add."}}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "thinking", "thinking": "Hm"}}},
        },
        {"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "21"}}}},
        {"type": "citation-start", "index": 0, "delta": {"message": {"citations": CITATION}}},
        {"type": "citation-end", "index": 0},
        {"type": "message-end", "id": "1", "delta": {"finish_reason": "COMPLETE"}},
    )
    response = events[-1].response
    assert response.message.content == (ThinkingPart("Hm"), TextPart("21"))
    assert list(response.message.metadata["citations"]) == [CITATION]
    assert response.message.native_state.data == {"tool_plan": "I add."}
    assert response.reasoning == "I add.Hm"
    assert "".join(event.content or "" for event in events) == "21"


def test_calls_whose_deltas_have_an_index_only_are_told_apart() -> None:
    start = [
        {
            "type": "tool-call-start",
            "index": index,
            "delta": {
                "message": {"tool_calls": {"id": f"add_{index}", "function": {"name": "add"}}}
            },
        }
        for index in (0, 1)
    ]
    deltas = [
        {
            "type": "tool-call-delta",
            "index": index,
            "delta": {"message": {"tool_calls": {"function": {"arguments": text}}}},
        }
        for index, text in ((0, '{"a"'), (1, '{"b"'), (0, ": 1}"), (1, ": 2}"))
    ]
    end = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}
    calls = decode(*start, *deltas, end)[-1].response.tool_calls
    assert [(call.id, dict(call.arguments)) for call in calls] == [
        ("add_0", {"a": 1}),
        ("add_1", {"b": 2}),
    ]


def test_what_is_billed_is_counted_apart() -> None:
    usage = {
        "billed_units": {"input_tokens": 3, "output_tokens": 2, "search_units": 1},
        "tokens": {"input_tokens": 70.0, "output_tokens": 5.0},
        "cached_tokens": 60,
    }
    body = {"message": {"content": [{"type": "text", "text": "x"}]}, "usage": usage}
    counts = CohereChatParser().parse(body).usage
    assert counts == {
        "prompt_tokens": 70,
        "completion_tokens": 5,
        "cached_tokens": 60,
        "cache_read_input_tokens": 60,
        "billed_input_tokens": 3,
        "billed_output_tokens": 2,
    }
    del usage["tokens"]
    assert CohereChatParser().parse(body).usage["prompt_tokens"] == 3


@pytest.mark.parametrize(
    ("status", "message", "cls"),
    [
        (401, "invalid api token", AuthenticationError),
        (
            400,
            "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received "
            "4292.",
            ContextWindowExceededError,
        ),
        (
            400,
            "too many tokens: max tokens must be less than or equal to 4096, the maximum output "
            "for this model - received 8192.",
            BadRequestError,
        ),
        (429, "trial token rate limit exceeded, limit is 100000 tokens per minute", RateLimitError),
    ],
)
def test_error_responses(
    server: LoopbackServer, status: int, message: str, cls: type[Exception]
) -> None:
    server.always(Reply.json({"id": "e1", "message": message}, status=status))
    with make_model(server) as model, pytest.raises(cls, match=message[:20]) as exc_info:
        model.complete_sync("hi")
    assert type(exc_info.value) is cls


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_that_ran_out_of_time_is_no_answer_only_if_it_is_empty(streamed: bool) -> None:
    def decode_text(text: str) -> Any:
        content = [{"type": "text", "text": text}] if text else []
        if not streamed:
            body = {"message": {"content": content}, "finish_reason": "TIMEOUT"}
            return CohereChatParser().parse(body)
        decoder = CohereChatDecoder()
        found = decoder.feed(
            encode_events(
                {"type": "content-delta", "delta": {"message": {"content": {"text": text}}}},
                {"type": "message-end", "delta": {"finish_reason": "TIMEOUT"}},
            )
        )
        if decoder.failure is not None:
            raise decoder.failure
        return found[-1].response

    assert decode_text("x").stop_reason == "TIMEOUT"
    with pytest.raises(Exception, match="the model failed") as exc_info:
        decode_text("")
    assert exc_info.value.status_code == 504


@pytest.mark.sdk
def test_the_sdk_knows_all_that_is_sent_and_reads_the_same_stream() -> None:
    """The package ``cohere`` is no dependency, not even of the tests: where it is, it judges."""
    client = pytest.importorskip("cohere.v2.client", reason="needs cohere")
    types = import_module("cohere.v2.types.v2chat_stream_response")
    construct_type = import_module("cohere.core.unchecked_base_model").construct_type
    body = CohereChatBuilder().build(
        [Message.user("x")],
        [ADD],
        model="m",
        tool_choice="required",
        max_tokens=5,
        temperature=0.5,
        top_p=0.5,
        stop=["a"],
        seed=1,
        frequency_penalty=0.5,
        response_format={"type": "json_object"},
    )
    assert body.keys() - {"stream"} <= inspect.signature(client.V2Client.chat).parameters.keys()
    wire = FORMATS_BY_NAME["cohere_chat"]
    frames = wire.build_frames(wire.make_content("so it is"), str.split)
    events = [construct_type(type_=types.V2ChatStreamResponse, object_=frame) for frame in frames]
    deltas = [event for event in events if event.type == "content-delta"]
    text = "".join(event.delta.message.content.text for event in deltas)
    response = wire.stream_reader.decode_response(wire.encode_frames(*frames))
    assert response.content == text == "soitis"
    end = events[-1].delta
    assert (end.finish_reason, end.usage.tokens.input_tokens) == (
        response.stop_reason,
        response.prompt_tokens,
    )
