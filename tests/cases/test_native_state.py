"""What a server wants to see again comes back to it unchanged, and reaches nobody else.

Each row is a response as a server of that kind sends it, whole and streamed, and what the next
request to the same server has to hold. The secrets begin with ``zq``: no other server, and no other
family of models, may be sent one.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest

from locus.core.json_converter import dumps, loads
from locus.core.messages import Message, ToolResult
from locus.models.native.anthropic import AnthropicModel
from locus.models.native.ollama import OllamaModel
from locus.models.native.openai import OpenAIModel
from locus.models.providers.oci import OCIModel, OCIResponsesModel
from locus.testing import LoopbackServer, Reply

OTHER_URL = "http://127.0.0.1:9"
ROME = '{"city":"Rome"}'
TRIPS: Mapping[str, Callable[[Message], Message]] = {
    "kept": lambda message: message,
    "json": lambda message: loads(dumps(message), Message),
    "pickle": lambda message: pickle.loads(pickle.dumps(message)),
}


def make_openai(url: str, model: str) -> Any:
    return OpenAIModel(model, "key", f"{url}/v1", max_retries=0)


def make_anthropic(url: str, model: str) -> Any:
    return AnthropicModel(model, "key", url, max_retries=0)


def make_responses(url: str, model: str) -> Any:
    return OCIResponsesModel(model, api_key="key", base_url=url, store=False, max_retries=0)


def make_ollama(url: str, model: str) -> Any:
    return OllamaModel(model, url, max_retries=0)


@attrs.frozen
class Row:
    """A kind of server, its response, and what the next request to it holds.

    :param make_model: makes the model for an address and a name.
    :param model: the name.
    :param other_model: a model of another family on the same server.
    :param whole: the body of the whole response.
    :param events: the chunks of the same response in a stream.
    :param find: finds in the body of the next request what has to be there.
    :param expected: what that is.
    """

    make_model: Callable[[str, str], Any]
    model: str
    other_model: str
    whole: Any
    events: list[Any]
    find: Callable[[Any], Any]
    expected: Any


def chat_row(
    model: str,
    message: dict[str, Any],
    deltas: list[dict[str, Any]],
    find: Callable[[Any], Any],
    expected: Any,
) -> Row:
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return Row(
        make_openai,
        model,
        "llama-4",
        {"id": "c", "choices": [choice]},
        [*chunks, end],
        lambda body: find(body["messages"][1]),
        expected,
    )


def anthropic_row(model: str, other_model: str, *blocks: dict[str, str]) -> Row:
    """Make the row of a response with blocks of thinking before its text."""
    content = [*blocks, {"type": "text", "text": "So."}]
    events: list[Any] = [{"type": "message_start", "message": {"content": []}}]
    for index, block in enumerate(content):
        deltas = {name: block[name] for name in ("thinking", "signature") if name in block}
        empty = {**block, **dict.fromkeys(deltas, "")}
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        for name, text in deltas.items():
            delta = {"type": f"{name}_delta", name: text}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    return Row(
        make_anthropic,
        model,
        other_model,
        {"content": content, "stop_reason": "end_turn"},
        [*events, {"type": "message_stop"}],
        lambda body: body["messages"][1]["content"][: len(blocks)],
        list(blocks),
    )


def make_call(**members: Any) -> dict[str, Any]:
    function = {"name": "weather", "arguments": ROME}
    return {"id": "call_1", "type": "function", "function": function, **members}


def first_call(message: Any) -> Any:
    return message["tool_calls"][0]


SIGNATURE = {"google": {"thought_signature": "zq-signature"}}
VERTEX = {"vertex": {"thought_signature": "zq"}}
GATEWAY = {"provider_specific_fields": {"thought_signature": "zq"}}
DETAIL = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
ENCRYPTED = {"type": "reasoning.encrypted", "data": "zq-data", "index": 1}
LONG_ID = "call_" + "a" * 32 + "__thought__zq" + "B" * 90
MISTRAL = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "zq hm"}]},
    {"type": "text", "text": "So."},
]
RESPONSE: dict[str, Any] = {
    "id": "r",
    "status": "completed",
    "output": [
        {"type": "reasoning", "id": "zq", "summary": [], "encrypted_content": "zq-dark"},
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "So.", "annotations": []}],
        },
    ],
}
CUSTOM = {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}

ROWS: dict[str, Row] = {
    "Gemini's signature on a call": chat_row(
        "gemini-3-pro-preview",
        {"content": None, "tool_calls": [make_call(extra_content=SIGNATURE)]},
        [{"tool_calls": [make_call(extra_content=SIGNATURE)]}],
        lambda message: first_call(message)["extra_content"],
        SIGNATURE,
    ),
    "Gemini's signature on text": chat_row(
        "gemini-3-pro-preview",
        {"content": "So.", "extra_content": SIGNATURE},
        [{"content": "So."}, {"content": "", "extra_content": SIGNATURE}],
        lambda message: message["extra_content"],
        SIGNATURE,
    ),
    "Vertex's signature": chat_row(
        "google/gemini-3-pro",
        {"tool_calls": [make_call(extra_content=VERTEX)]},
        [{"tool_calls": [make_call(index=0, extra_content=VERTEX)]}],
        lambda message: first_call(message)["extra_content"],
        VERTEX,
    ),
    "a gateway's signature in the function": chat_row(
        "gemini-3-flash",
        {"tool_calls": [make_call(function={**make_call()["function"], **GATEWAY})]},
        [
            {"tool_calls": [make_call(index=0)]},
            {"tool_calls": [{"index": 0, "function": GATEWAY}]},
        ],
        lambda message: first_call(message)["function"]["provider_specific_fields"],
        GATEWAY["provider_specific_fields"],
    ),
    "DeepSeek's reasoning": chat_row(
        "deepseek-v4-pro",
        {"content": "", "reasoning_content": "zq city?", "tool_calls": [make_call()]},
        [
            {"reasoning_content": "zq "},
            {"reasoning_content": "city?"},
            {"tool_calls": [make_call(index=0)]},
        ],
        lambda message: (message["reasoning_content"], "reasoning" in message),
        ("zq city?", False),
    ),
    "vLLM's reasoning": chat_row(
        "gpt-oss-120b",
        {"content": None, "reasoning": "zq city?", "tool_calls": [make_call()]},
        [{"reasoning": "zq city?"}, {"tool_calls": [make_call(index=0)]}],
        lambda message: (message["reasoning"], "reasoning_content" in message),
        ("zq city?", False),
    ),
    "Copilot's opaque reasoning": chat_row(
        "gemini-3-pro-preview",
        {"reasoning_text": "zq hm", "reasoning_opaque": "zq-opaque", "tool_calls": [make_call()]},
        [
            {"reasoning_text": "zq hm"},
            {"reasoning_opaque": "zq-opaque"},
            {"tool_calls": [make_call(index=0)]},
        ],
        lambda message: (message["reasoning_text"], message["reasoning_opaque"]),
        ("zq hm", "zq-opaque"),
    ),
    "OpenRouter's details": chat_row(
        "anthropic/claude-opus-5",
        {
            "content": "So.",
            "reasoning_details": [{**DETAIL, "text": "zq hm", "signature": "zq-s"}, ENCRYPTED],
        },
        [
            {"reasoning_details": [{**DETAIL, "text": "zq "}]},
            {"reasoning_details": [{**DETAIL, "text": "hm"}]},
            {"reasoning_details": [{**DETAIL, "signature": "zq-s"}, ENCRYPTED]},
            {"content": "So."},
        ],
        lambda message: message["reasoning_details"],
        [{**DETAIL, "text": "zq hm", "signature": "zq-s"}, ENCRYPTED],
    ),
    "LiteLLM's thinking blocks": chat_row(
        "claude-proxy",
        {
            "content": "So.",
            "thinking_blocks": [{"type": "thinking", "thinking": "zq hm", "signature": "zq-s"}],
        },
        [
            {"thinking_blocks": [{"type": "thinking", "thinking": "zq ", "signature": None}]},
            {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "zq-s"}]},
            {"content": "So."},
        ],
        lambda message: message["thinking_blocks"],
        [{"type": "thinking", "thinking": "zq hm", "signature": "zq-s"}],
    ),
    "Mistral's typed content": chat_row(
        "magistral-medium",
        {"content": MISTRAL},
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "zq "}]}]},
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
            {"content": "So"},
            {"content": "."},
        ],
        lambda message: message["content"],
        MISTRAL,
    ),
    "a long id": chat_row(
        "gemini-proxy",
        {"tool_calls": [make_call(id=LONG_ID)]},
        [{"tool_calls": [make_call(id=LONG_ID, index=0)]}],
        lambda message: first_call(message)["id"],
        LONG_ID,
    ),
    "a spoken answer": chat_row(
        "gpt-4o-audio-preview",
        {"content": None, "audio": {"id": "zq-audio", "data": "AA==", "transcript": "Hello."}},
        [
            {"audio": {"id": "zq-audio", "transcript": "Hello."}},
            {"audio": {"id": "zq-audio", "data": "AA=="}},
        ],
        lambda message: message["audio"],
        {"id": "zq-audio"},
    ),
    "Claude's thinking": anthropic_row(
        "claude-opus-4-6",
        "claude-sonnet-4-6",
        {"type": "thinking", "thinking": "zq hm", "signature": "zq-s"},
        {"type": "redacted_thinking", "data": "zq-dark"},
    ),
    "thinking without a signature": anthropic_row(
        "deepseek-v4-pro", "kimi-k2", {"type": "thinking", "thinking": "zq hm"}
    ),
    "encrypted reasoning": Row(
        make_responses,
        "openai.gpt-5",
        "openai.gpt-4.1",
        RESPONSE,
        [
            {"type": "response.output_text.delta", "output_index": 1, "delta": "So."},
            {"type": "response.completed", "response": RESPONSE},
        ],
        lambda body: body["input"][1],
        RESPONSE["output"][0],
    ),
    "Ollama's thinking": Row(
        make_ollama,
        "qwen3:8b",
        "gpt-oss:20b",
        {
            "message": {"role": "assistant", "content": "So.", "thinking": "zq hm"},
            "done": True,
            "done_reason": "stop",
        },
        [
            {"message": {"role": "assistant", "content": "", "thinking": "zq "}, "done": False},
            {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
            {
                "message": {"role": "assistant", "content": "So."},
                "done": True,
                "done_reason": "stop",
            },
        ],
        lambda body: body["messages"][1]["thinking"],
        "zq hm",
    ),
}
SERVER_BOUND = {"a spoken answer"}
"""What another model of the same server receives as well."""


def get_reply(row: Row, streamed: bool) -> Reply:
    if not streamed:
        return Reply.json(row.whole)
    if row.make_model is make_ollama:
        return Reply.ndjson(row.events)
    if row.make_model is make_openai:
        return Reply.sse(row.events)
    return Reply.sse([(event["type"], event) for event in row.events], done=False)


def continue_conversation(message: Message) -> list[Message]:
    results = [Message.tool(ToolResult(call.id, call.name, "ok")) for call in message.tool_calls]
    return [Message.user("hi"), message, *results, Message.user("go on")]


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ROWS)
def test_it_comes_back_to_its_maker_and_to_nobody_else(
    name: str, streamed: bool, trip: str
) -> None:
    row = ROWS[name]
    with LoopbackServer() as server:
        server.always(get_reply(row, streamed))
        model = row.make_model(server.url, row.model)
        if streamed:
            *_, last = model.stream_sync("hi")
            message = last.response.message
        else:
            message = model.complete_sync("hi").message
    message = TRIPS[trip](message)
    messages = continue_conversation(message)
    assert row.find(model.request(messages)) == row.expected

    others = [
        row.make_model(OTHER_URL, row.model),
        make_openai(server.url, "zz"),
        make_anthropic(server.url, "claude-opus-4-6"),
        make_responses(server.url, row.model),
        make_ollama(server.url, "llama3"),
    ]
    others = [other for other in others if type(other) is not type(model)] + others[:1]
    if name not in SERVER_BOUND:
        others.append(row.make_model(server.url, row.other_model))
    if not message.has_content and not message.tool_calls:  # a spoken answer has no text
        messages[1] = attrs.evolve(message, content="So.")
    for other in others:
        assert "zq" not in json.dumps(other.request(messages)), other


def fetch_message(model: str, message: dict[str, Any]) -> tuple[Any, Message]:
    """Let a model respond with a message; return the model and the message."""
    finish_reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"message": message, "finish_reason": finish_reason}
    with LoopbackServer() as server:
        server.always(Reply.json({"choices": [choice]}))
        openai = make_openai(server.url, model)
        return openai, openai.complete_sync("hi").message


def test_the_call_of_a_free_text_tool_goes_back_as_one() -> None:
    model, message = fetch_message("gpt-5", {"tool_calls": [CUSTOM]})
    messages = continue_conversation(message)
    assert model.request(messages)["messages"][1]["tool_calls"] == [CUSTOM]
    (call,) = make_openai(OTHER_URL, "gpt-5").request(messages)["messages"][1]["tool_calls"]
    assert call["type"] == "function"


def test_plain_reasoning_is_left_out_of_a_conversation_without_calls() -> None:
    answer = {"content": "So.", "reasoning_content": "hm"}
    model, message = fetch_message("deepseek-reasoner", answer)
    assert "reasoning_content" not in model.request(continue_conversation(message))["messages"][1]


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        ("gemini-3-pro-preview", "skip_thought_signature_validator"),
        ("google/gemini-3.1-flash", "skip_thought_signature_validator"),
        ("gemini-2.5-pro", None),
        ("gpt-4o", None),
    ],
)
def test_the_first_call_of_another_provider_skips_geminis_check(
    model: str, signature: str | None
) -> None:
    _, message = fetch_message("gpt-4o", {"tool_calls": [make_call(), make_call(id="call_2")]})
    body = make_openai(OTHER_URL, model).request(continue_conversation(message))
    first, second = body["messages"][1]["tool_calls"]
    extra = first.get("extra_content", {"google": {"thought_signature": None}})
    assert extra == {"google": {"thought_signature": signature}}
    assert "extra_content" not in second


def test_pictures_of_an_answer_are_attachments_and_go_back() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}}
    answer = {"content": "", "images": [picture]}
    model, message = fetch_message("google/gemini-3-image", answer)
    assert message.metadata["attachments"] == [picture]
    assert model.request(continue_conversation(message))["messages"][1]["images"] == [picture]


def test_thoughts_that_gemini_marks_are_reasoning() -> None:
    mark = {"google": {"thought": True}}
    whole = {"content": "<thought>Plan it.</thought>Answer", "extra_content": mark}
    parser = make_openai(OTHER_URL, "gemini-3").response_parser
    response = parser.parse({"choices": [{"message": whole, "finish_reason": "stop"}]})
    assert (response.content, response.reasoning) == ("Answer", "Plan it.")
    assert response.message.native_state is None
    deltas = [
        {"content": "<thought>Plan", "extra_content": mark},
        {"content": " it.", "extra_content": mark},
        {"content": "</thought>Ans"},
        {"content": "wer"},
    ]
    with LoopbackServer() as server:
        chunks = [{"id": "1", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"id": "1", "choices": [{"index": 0, "finish_reason": "stop"}]})
        server.always(Reply.sse(chunks))
        events = list(make_openai(server.url, "gemini-3").stream_sync("hi"))
    assert "".join(event.content or "" for event in events) == "Answer"
    assert "".join(event.reasoning or "" for event in events) == "Plan it."
    assert events[-1].response.message == response.message


def test_a_signature_of_ocis_generic_format_goes_back() -> None:
    call = {"id": "c1", "type": "FUNCTION", "name": "f", "arguments": "{}", "thoughtSignature": "s"}
    model = OCIModel("google.gemini-3-pro", "ocid1.compartment.oc1..a", service_endpoint=OTHER_URL)
    choice = {"index": 0, "message": {"role": "ASSISTANT", "toolCalls": [call]}}
    message = model.response_parser.parse({"chatResponse": {"choices": [choice]}}).message
    body = model.request_builder.build(
        continue_conversation(message), model="google.gemini-3-pro", max_tokens=9
    )
    assert body["chatRequest"]["messages"][1]["toolCalls"] == [call]
