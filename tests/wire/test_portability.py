"""A conversation that began with one provider continues with any other, and loses nothing.

Conversations are genuine: users' messages, and responses read from the bytes of one provider, then
of the next. What is sent is read back, and checked as in the shipped suite of portability.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locus.core.messages import (
    ImagePart,
    Message,
    Role,
    ToolCall,
    ToolResult,
)
from locus.models.native.anthropic import AnthropicModel
from locus.models.native.ollama import OllamaModel
from locus.models.native.openai import OpenAIModel
from locus.models.providers.oci import OCIModel, OCIResponsesModel
from locus.testing import LoopbackServer
from locus.testing.formats.portability_suite import (
    check_call_ids,
    check_request,
    has_text_or_calls,
    read_request,
)
from locus.testing.formats.strategies.conversation_legs import conversation_legs
from locus.wire.anthropic_messages import AnthropicMessagesParser
from locus.wire.oci_chat import CohereV2ChatParser
from locus.wire.responses import ResponsesParser
from tests.support import anthropic_responses
from tests.support.formats import FORMATS, FORMATS_BY_NAME
from tests.support.wire_json import anthropic_json, responses_json

NAMES = [wire.name for wire in FORMATS]
PAIRS = list(itertools.product(NAMES, NAMES))
PER_PAIR = max(2, 2 * settings().max_examples // len(PAIRS))
PER_NAME = max(2, settings().max_examples // len(NAMES))
USER = Message.user("x")


@pytest.mark.parametrize(
    ("first_provider", "second_provider"), PAIRS, ids=lambda name: name.replace(" ", "-")
)
@settings(max_examples=PER_PAIR)
@given(data=st.data())
def test_a_conversation_goes_from_any_provider_to_any_other_and_on(
    first_provider: str, second_provider: str, data: st.DataObject
) -> None:
    messages: list[Message] = []
    for name in (
        first_provider,
        second_provider,
        data.draw(st.sampled_from(NAMES)),
        first_provider,
    ):
        if messages:
            messages = check_request(FORMATS_BY_NAME[name], messages)
        call_count = sum(len(message.tool_calls) for message in messages)
        messages += data.draw(conversation_legs(FORMATS_BY_NAME[name].messages, call_count))
    check_request(FORMATS_BY_NAME[second_provider], messages)


# To another provider and back.


@pytest.mark.parametrize("other_provider", [name for name in NAMES if name != "anthropic_messages"])
@settings(max_examples=PER_NAME)
@given(response=anthropic_responses.anthropic_responses(), data=st.data())
def test_thinking_and_searches_are_sent_to_anthropic_and_to_nobody_else(
    other_provider: str, response: anthropic_responses.AnthropicResponse, data: st.DataObject
) -> None:
    signed = {"type": "thinking", "thinking": "zq-thought", "signature": "zq-seal"}
    redacted = {"type": "redacted_thinking", "data": "zq-dark"}
    read_message = {"type": "text", "text": "So.", "citations": None}
    blocks = (signed, redacted, read_message, *response.blocks)
    response = attrs.evolve(
        response, blocks=blocks, stop_reason="end_turn", refusal_explanation=None
    )
    provider = FORMATS_BY_NAME["anthropic_messages"]
    message = _parse_body(anthropic_json.build_body(response))
    results = [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    messages = [USER, message, *results, USER]
    body_before = json.loads(provider.encode_request(messages))["messages"]
    assert body_before[1] == {
        "role": "assistant",
        "content": anthropic_responses.build_replayed_blocks(response),
    }

    other_body = FORMATS_BY_NAME[other_provider].encode_request(messages)
    assert b"zq-" not in other_body
    other_response = data.draw(
        FORMATS_BY_NAME[other_provider]
        .messages(900)
        .filter(lambda read_message: not read_message.tool_calls)
    )
    messages = [*messages, other_response, USER] if has_text_or_calls(other_response) else messages
    assert b"zq-" not in FORMATS_BY_NAME[other_provider].encode_request(messages)
    body_after = json.loads(provider.encode_request(messages))["messages"]
    assert body_after[:2] == body_before[:2]


def _parse_body(body: dict[str, Any]) -> Message:
    return AnthropicMessagesParser().parse(json.dumps(body)).message


@pytest.mark.parametrize("other_provider", [name for name in NAMES if name != "responses"])
@settings(max_examples=PER_NAME)
@given(sample=responses_json.sample_responses(), data=st.data())
def test_reasoning_and_searches_are_sent_to_responses_and_to_nobody_else(
    other_provider: str, sample: responses_json.SampleResponse, data: st.DataObject
) -> None:
    signed = {
        "type": "reasoning",
        "id": "rs_zq",
        "summary": [{"type": "summary_text", "text": "zq-thought"}],
        "encrypted_content": "zq-seal",
    }
    search = {"type": "web_search_call", "id": "ws_zq", "status": "completed", "action": {}}
    item = responses_json.make_message_item("So.", index=99)
    # A server that kept nothing does not know reasoning by its id; all of it stays out then.
    items = [item for item in sample.items if item["type"] != "reasoning"]
    sample = attrs.evolve(sample, items=(signed, search, *items, item))
    provider = FORMATS_BY_NAME["responses"]
    message = ResponsesParser().parse(json.dumps(responses_json.build_body(sample))).message
    results = [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    messages = [USER, message, *results, USER]
    body_before = json.loads(provider.encode_request(messages))["input"]
    assert body_before[1:3] == [signed, search]
    assert item in body_before

    other_body = FORMATS_BY_NAME[other_provider].encode_request(messages)
    assert not re.search(b"zq|web_search|output_items|encrypted", other_body)
    other = data.draw(
        FORMATS_BY_NAME[other_provider].messages(900).filter(lambda message: not message.tool_calls)
    )
    messages = [*messages, other, USER] if has_text_or_calls(other) else messages
    body_after = json.loads(provider.encode_request(messages))["input"]
    assert body_after[: len(body_before)] == body_before


def test_a_response_that_occurs_twice_repeats_no_id_in_responses() -> None:
    signed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "dark"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
    items = (signed, search, responses_json.make_message_item("So."))
    body = responses_json.build_body(responses_json.SampleResponse(items))
    message = ResponsesParser().parse(json.dumps(body)).message
    read_messages = read_request(FORMATS_BY_NAME["responses"], [USER, message, USER, message, USER])
    assert [read_message.parts for read_message in read_messages] == [
        ("x",),
        ("So.",),
        ("x",),
        ("So.",),
        ("x",),
    ]


@pytest.mark.parametrize("other_provider", [name for name in NAMES if name != "oci_cohere_v2"])
def test_the_plan_is_sent_to_cohere_and_to_nobody_else(other_provider: str) -> None:
    call = {"id": "1", "type": "FUNCTION", "function": {"name": "f", "arguments": "{}"}}
    native_message = {"role": "ASSISTANT", "toolPlan": "zq-plan", "toolCalls": [call]}
    body = {"chatResponse": {"message": native_message, "finishReason": "TOOL_CALL"}}
    message = CohereV2ChatParser().parse(json.dumps(body)).message
    messages = [
        USER,
        message,
        Message.tool(ToolResult("1", "f", "y")),
        Message.assistant("So."),
        USER,
    ]
    assert b"zq-plan" not in FORMATS_BY_NAME[other_provider].encode_request(messages)
    request = json.loads(FORMATS_BY_NAME["oci_cohere_v2"].encode_request(messages))["chatRequest"]
    assert request["messages"][1] == {**native_message, "content": []}


# Ids.

RULES = [
    # "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9."
    ("chat_completions", "mistralai/Devstral-Small-2507", re.compile(r"[a-zA-Z0-9]{9}")),
    ("chat_completions", "mistral-large-latest", re.compile(r"[a-zA-Z0-9]{9}")),
    ("chat_completions", "gemini-3-pro", re.compile(r".+", re.DOTALL)),
    ("chat_completions", "moonshotai/Kimi-K2", re.compile(r".+", re.DOTALL)),
    ("oci_generic", "mistral.mistral-large", re.compile(r"[a-zA-Z0-9]{9}")),
    ("oci_generic", "google.gemini-2.5-pro", re.compile(r".+", re.DOTALL)),
]


@pytest.mark.parametrize(
    ("name", "model", "rule"), RULES, ids=lambda value: value if isinstance(value, str) else ""
)
@given(st.data())
def test_ids_are_accepted_by_the_models_of_a_server(
    name: str, model: str, rule: re.Pattern[str], data: st.DataObject
) -> None:
    check_call_ids(FORMATS_BY_NAME[name], model, rule, data)


# Before anything is sent.

MODELS = {
    "chat_completions": lambda url: OpenAIModel(api_key="k", base_url=url, max_retries=0),
    "anthropic_messages": lambda url: AnthropicModel(api_key="k", base_url=url, max_retries=0),
    "ollama_chat": lambda url: OllamaModel(base_url=url, max_retries=0),
    "oci_generic": lambda url: _make_oci_model(url, "GENERIC"),
    "oci_cohere": lambda url: _make_oci_model(url, "COHERE"),
    "oci_cohere_v2": lambda url: _make_oci_model(url, "COHEREV2"),
    "responses": lambda url: OCIResponsesModel("gpt-5", api_key="k", base_url=url, max_retries=0),
}


def _make_oci_model(url: str, api_format: str) -> OCIModel:
    return OCIModel("m", "ocid1.a", service_endpoint=url, api_format=api_format, max_retries=0)


CALL = Message.assistant(None, [ToolCall("1", "f")])
MAP = Message(Role.TOOL, [ImagePart(data=b"1", media_type="image/png")], tool_call_id="1")
DRAWN_RULES = Message.system([ImagePart(data=b"1", media_type="image/png")])
IMPOSSIBLE = [
    ("chat_completions", [USER, DRAWN_RULES], r"messages\[1\].*images.*system"),
    ("chat_completions", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    ("chat_completions", [Message.user([ImagePart(url="data:x")])], r"messages\[0\].*data:"),
    (
        "anthropic_messages",
        [USER, Message.system([ImagePart(url="https://x")])],
        r"messages\[1\].*image",
    ),
    ("anthropic_messages", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    (
        "anthropic_messages",
        [Message.user([ImagePart(data=b"BM", media_type="image/bmp")])],
        r"messages\[0\].*image/png.*image/bmp",
    ),
    (
        "ollama_chat",
        [USER, Message.user([ImagePart(url="https://x")])],
        r"messages\[1\].*https://x",
    ),
    ("oci_generic", [USER, DRAWN_RULES], r"messages\[1\].*images.*system"),
    ("oci_generic", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    ("oci_cohere", [USER, Message.user([ImagePart(url="https://x")])], r"messages\[1\].*images"),
    ("oci_cohere", [USER, CALL, MAP], r"messages\[2\].*images"),
    ("oci_cohere", [USER, Message.assistant("so")], r"messages\[1\].*ends with neither"),
    ("oci_cohere_v2", [USER, DRAWN_RULES], r"messages\[1\].*images.*system"),
    ("responses", [USER, Message.system([ImagePart(url="https://x")])], r"messages\[1\].*image"),
    ("responses", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
]


@pytest.mark.parametrize(("name", "messages", "named"), IMPOSSIBLE)
def test_what_a_format_cannot_express_raises_and_nothing_is_sent(
    name: str, messages: list[Message], named: str
) -> None:
    with LoopbackServer() as server, MODELS[name](server.url) as model:
        with pytest.raises(ValueError, match=named):
            model.complete_sync(messages)
        with pytest.raises(ValueError, match=named), model.stream_sync(messages) as events:
            list(events)
        assert server.requests == ()
        assert server.connections_total == 0
