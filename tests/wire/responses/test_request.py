"""What is sent to ``POST /responses``: every message, call, tool and option in its place."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.json_converter import dumps, loads
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.wire.anthropic_messages import AnthropicMessagesBuilder
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.ollama_chat import OllamaChatBuilder
from locus.wire.provider_json import encode_json
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support.native_state import make_state
from tests.support.request_readers import wrap_malformed_arguments
from tests.support.strategies import conversations
from tests.support.wire_json.responses_json import (
    SampleResponse,
    make_message_item,
    sample_responses,
)
from tests.support.wire_json.responses_json import (
    build_body as build_response_body,
)

STORED_STATE = {"previous_response_id": "resp_7"}
LOOK_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
ENCRYPTED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look"}
CALL |= {"arguments": '{"up": true}', "status": "completed"}


def build_body(
    messages: Any,
    tools: Any = None,
    store: bool = True,
    encrypted_reasoning: bool = True,
    **options: Any,
) -> dict[str, Any]:
    body = ResponsesBuilder(store, encrypted_reasoning).build(
        messages, tools, **{"model": "gpt-4o", **options}
    )
    decoded: dict[str, Any] = json.loads(encode_json(body))
    return decoded


def build_items(messages: Any, **kw: Any) -> list[Any]:
    input_items: list[Any] = build_body(messages, **kw)["input"]
    return input_items


def parse_message(*items: dict[str, Any], store: bool = False) -> Message:
    """Parse items into the message of a response."""
    return ResponsesParser(store).parse(build_response_body(SampleResponse(items))).message


def make_input_message(text: str, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


# Messages.


def test_a_prompt() -> None:
    assert build_body("hello", max_tokens=5, temperature=0, top_p=0.5) == {
        "model": "gpt-4o",
        "input": [make_input_message("hello")],
        "store": True,
        "max_output_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
    }


def test_every_role_has_its_item() -> None:
    image = ImagePart(data=b"\x89PNG", media_type="image/jpg", detail="low")
    messages = [
        Message.system("be brief"),
        Message.user(["look", image, ImagePart(url="https://x/y.png")]),
        Message.assistant(
            "so",
            [ToolCall("call_1", "look", {"up": "Zürich"}), ToolCall("call_2", "look")],
        ),
        Message.tool(ToolResult("call_1", "look", "a wall")),
        Message.tool(ToolResult("call_2", "look", "", error="too dark")),
        Message.system("in French"),
        Message.user("and?"),
    ]
    input_items = build_items(messages)
    message_id = input_items[2].pop("id")
    assert message_id.startswith("msg_")
    assert len(message_id) <= 64
    data = "data:image/jpeg;base64,iVBORw=="
    assert input_items == [
        make_input_message("be brief", "system"),
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": data, "detail": "low"},
                {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "so", "annotations": []}],
        },
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "look",
            "arguments": '{"up":"Zürich"}',
        },
        {"type": "function_call", "call_id": "call_2", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "a wall"},
        {"type": "function_call_output", "call_id": "call_2", "output": "Error: too dark"},
        make_input_message("in French", "system"),
        make_input_message("and?"),
    ]


def test_malformed_arguments_go_back_inside_valid_json() -> None:
    call = ToolCall.from_json("c", "look", '{"up": ')
    messages = [Message.user("x"), Message.assistant(None, [call])]
    messages.append(Message.tool(ToolResult("c", "look", "", error="that was no JSON")))
    assert json.loads(build_items(messages)[1]["arguments"]) == {"malformed_arguments": '{"up": '}


def test_a_tool_shows_a_picture() -> None:
    messages = [
        Message.user("x"),
        Message.assistant(None, [ToolCall("c", "look")]),
        Message("tool", ["seen:", ImagePart(url="https://x/y.png")], tool_call_id="c"),
    ]
    assert build_items(messages)[2]["output"] == [
        {"type": "input_text", "text": "seen:"},
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"},
    ]


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_an_image_in_another_role_is_rejected_by_position(role: str) -> None:
    message = Message(role, ["x", ImagePart(url="https://x/y.png")])
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*images.*only in user and tool"):
        build_body([Message.user("x"), message, Message.user("x")])


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("data:image/png;base64,iVBORw==", "data:image/png;base64,iVBORw=="),
        ("DATA:image/jpg;x=1;base64,iVBORw==", "data:image/jpeg;base64,iVBORw=="),
        ("data:image/svg+xml,%3Csvg/%3E", "data:image/svg+xml;base64,PHN2Zy8+"),
    ],
)
def test_a_data_url_is_sent_in_the_only_accepted_form(url: str, sent: str) -> None:
    assert build_items(Message.user(ImagePart(url=url)))[0]["content"][0]["image_url"] == sent


@pytest.mark.parametrize("url", ["data:image/png", "data:;base64,aGk=", "data:image/png;base64,%"])
def test_a_malformed_data_url_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[0\].*data: URL"):
        build_body(Message.user(ImagePart(url=url)))


def test_a_refusal_and_thinking_of_others() -> None:
    parts = [ThinkingPart("hm", "seal"), TextPart("so"), RefusalPart("no")]
    messages = [Message.user("x"), Message.assistant(parts), Message.user("y")]
    assert build_items(messages)[1]["content"] == [
        {"type": "output_text", "text": "so", "annotations": []},
        {"type": "refusal", "refusal": "no"},
    ]


def test_no_two_messages_have_the_same_id() -> None:
    messages = [Message.user("x"), Message.assistant("same")] * 3 + [Message.user("y")]
    message_ids = [item["id"] for item in build_items(messages) if "id" in item]
    assert len(set(message_ids)) == 3
    assert build_items(messages) == build_items(messages)


def test_an_id_that_is_too_long_is_replaced_in_call_and_result() -> None:
    long = "c" * 65
    messages = [Message.user("x"), Message.assistant(None, [ToolCall(long, "look")])]
    messages.append(Message.tool(ToolResult(long, "look", "y")))
    _, call, result = build_items(messages)
    assert call["call_id"] == result["call_id"]
    assert len(call["call_id"]) <= 64


@given(conversations(), st.booleans())
def test_any_conversation_can_be_sent_and_loses_nothing(messages: Any, store: bool) -> None:
    input_items = build_items(messages, store=store)
    sent = [item for item in input_items if item["type"] == "message"]
    texts = [part.get("text", "") for item in sent for part in item["content"]]
    text_messages = [message for message in messages if message.role != "tool"]
    assert "".join(texts) == "".join(message.text for message in text_messages)
    calls = [item for item in input_items if item["type"] == "function_call"]
    assert [call["arguments"] for call in calls] == [
        wrap_malformed_arguments(call).arguments_json()
        for message in messages
        for call in message.tool_calls
    ]
    outputs = [item for item in input_items if item["type"] == "function_call_output"]
    assert {item["call_id"] for item in outputs} == {item["call_id"] for item in calls}
    ids = [item["id"] for item in input_items if "id" in item]
    assert len(set(ids)) == len(ids)


# Tools.


def test_tools_are_flat_and_say_how_strict_they_are() -> None:
    strict = {"name": "f", "description": "d", "parameters": {}, "strict": True}
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}}
    tools = [
        LOOK_TOOL,
        {"type": "function", "function": strict},
        {"type": "function", "function": {"name": "g", "description": None}},
        {"type": "custom", "custom": {"name": "c", "format": grammar}},
        {"type": "web_search", "search_context_size": "low"},
    ]
    assert build_body("x", tools)["tools"] == [
        {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False},
        {"type": "function", **strict},
        {
            "type": "function",
            "name": "g",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {
            "type": "custom",
            "name": "c",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
        },
        {"type": "web_search", "search_context_size": "low"},
    ]


ALLOWED = [{"type": "function", "function": {"name": "look"}}, {"type": "mcp", "server_label": "x"}]


@pytest.mark.parametrize(
    ("make_input_message", "sent"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("look", {"type": "function", "name": "look"}),
        ("c", {"type": "custom", "name": "c"}),
        (
            {"type": "function", "function": {"name": "look"}},
            {"type": "function", "name": "look"},
        ),
        ({"type": "function", "name": "look"}, {"type": "function", "name": "look"}),
        ({"type": "web_search_preview"}, {"type": "web_search_preview"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": ALLOWED}},
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "look"}, ALLOWED[1]],
            },
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]},
        ),
    ],
)
def test_a_choice_of_tool(make_input_message: Any, sent: Any) -> None:
    tools = [LOOK_TOOL, {"type": "custom", "custom": {"name": "c"}}]
    body = build_body("x", tools, tool_choice=make_input_message, parallel_tool_calls=False)
    assert body.get("tool_choice") == sent
    assert body["parallel_tool_calls"] is False
    without = build_body("x", tool_choice="auto", parallel_tool_calls=False)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & without.keys()


def test_a_choice_of_no_tool_is_rejected_with_the_names() -> None:
    with pytest.raises(ConfigurationError, match=r"'lok' is neither .*\(look\)"):
        build_body("x", [LOOK_TOOL, {"type": "web_search"}], tool_choice="lok")


# Options.


@pytest.mark.parametrize("model", ["o3", "gpt-5-mini", "openai.gpt-5", "openai.o4-mini"])
def test_reasoning_families_get_no_sampling_parameters(model: str) -> None:
    body = build_body("x", model=model, temperature=0.5, top_p=0.5, max_tokens=9)
    assert not {"temperature", "top_p", "include"} & body.keys()
    assert body["max_output_tokens"] == 9


def test_what_the_api_has_no_parameter_for() -> None:
    unchanged = build_body("x")
    assert build_body("x", frequency_penalty=0, presence_penalty=0.0) == unchanged
    for option in ({"seed": 1}, {"frequency_penalty": 1.0}, {"presence_penalty": 1.0}):
        with pytest.raises(ConfigurationError, match="no such parameter"):
            build_body("x", **option)
    assert build_body(Message.user("x", name="ann", metadata={"a": 1})) == unchanged
    with pytest.raises(ConfigurationError, match="no stop sequences"):
        build_body("x", stop="END")


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("make_input_message", "sent"),
    [
        ({"type": "json_object"}, {"type": "json_object"}),
        ({"type": "text"}, {"type": "text"}),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": SCHEMA, "strict": True, "description": "d"},
            },
            {
                "type": "json_schema",
                "name": "n",
                "schema": SCHEMA,
                "strict": True,
                "description": "d",
            },
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
            {"type": "json_schema", "name": "n", "schema": SCHEMA},
        ),
        (
            {"type": "json_schema", "name": "n", "schema": SCHEMA},
            {"type": "json_schema", "name": "n", "schema": SCHEMA},
        ),
    ],
)
def test_the_format_of_the_response(make_input_message: Any, sent: Any) -> None:
    body = build_body(
        "x", response_format=make_input_message, extra_body={"text": {"verbosity": "low"}}
    )
    assert body["text"] == {"format": sent, "verbosity": "low"}


def test_a_schema_that_is_missing_is_rejected() -> None:
    for broken in ({"type": "json_schema"}, {"type": "json_schema", "json_schema": 5}):
        with pytest.raises(ConfigurationError, match="lacks its schema"):
            build_body("x", response_format=broken)


def test_the_callers_extras_win() -> None:
    extra = {"reasoning": {"effort": "low"}, "max_output_tokens": 7, "store": False}
    extra["include"] = ["message.output_text.logprobs"]
    body = build_body(
        "x", model="gpt-5", max_tokens=5, provider_state=STORED_STATE, extra_body=extra
    )
    assert body["reasoning"] == {"effort": "low"}
    assert body["max_output_tokens"] == 7
    assert body["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert body["store"] is False
    assert "previous_response_id" not in body
    assert build_body("x", extra_body={"include": ["a"]})["include"] == ["a"]


def test_a_stream_is_asked_for() -> None:
    assert build_body("x", stream=True) == {**build_body("x"), "stream": True}


# The conversation that the server stores.


def test_with_a_state_only_what_is_new_is_sent() -> None:
    messages = [Message.system("be brief"), Message.user("x")]
    assert build_body(messages, provider_state=None)["input"] == [
        make_input_message("be brief", "system"),
        make_input_message("x"),
    ]
    messages += [Message.assistant("y"), Message.user("z"), Message.system("in French")]
    body = build_body(messages, provider_state=STORED_STATE)
    assert body["previous_response_id"] == "resp_7"
    assert body["input"] == [make_input_message("z"), make_input_message("in French", "system")]
    assert build_body(messages[3:], provider_state=STORED_STATE) == body
    assert "previous_response_id" not in build_body(messages, provider_state={})


def test_with_a_state_results_may_come_without_their_calls() -> None:
    calls = [ToolCall("call_1", "look"), ToolCall("c" * 65, "look")]
    results = [Message.tool(ToolResult(call.id, "look", "y")) for call in calls]
    messages = [Message.user("x"), Message.assistant(None, calls), Message.user("w"), *results]
    new = build_items(messages[2:], provider_state=STORED_STATE)
    assert [item["type"] for item in new] == [
        "function_call_output",
        "function_call_output",
        "message",
    ]
    assert [item["call_id"] for item in new[:2]] == [call.id for call in calls]
    assert build_items(messages, provider_state=STORED_STATE) == new
    with pytest.raises(ConfigurationError, match="no assistant message before it has made"):
        build_body(results)


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_takes_the_place_of_the_previous_response(conversation: Any) -> None:
    """The API refuses a request that has both."""
    messages = [Message.user("x"), Message.assistant("y"), Message.user("z")]
    body = build_body(
        messages, provider_state=STORED_STATE, extra_body={"conversation": conversation}
    )
    assert "previous_response_id" not in body
    assert (body["conversation"], body["input"]) == (conversation, [make_input_message("z")])
    body = build_body(messages, extra_body={"conversation": conversation})
    assert len(body["input"]) == 3
    body = build_body(messages, provider_state=STORED_STATE, extra_body={"conversation": None})
    assert body["previous_response_id"] == "resp_7"


def test_a_state_with_nothing_new_or_of_another_kind_is_rejected() -> None:
    messages = [Message.user("x"), Message.assistant("y")]
    with pytest.raises(ConfigurationError, match=r"messages\[1\] is the response .* nothing new"):
        build_body(messages, provider_state=STORED_STATE)
    for state in ({"thread": 1}, {"previous_response_id": None}, {"previous_response_id": 5}):
        with pytest.raises(ConfigurationError, match="provider_state is what a response"):
            build_body("x", provider_state=state)


def test_an_unstored_conversation_is_sent_completely_and_with_store_false() -> None:
    messages = [Message.user("x"), Message.assistant("y"), Message.user("z")]
    for state in (None, STORED_STATE, {"thread": 1}):
        body = build_body(messages, store=False, provider_state=state, model="gpt-5")
        assert body["store"] is False
        assert "previous_response_id" not in body
        assert len(body["input"]) == 3
        assert body["include"] == ["reasoning.encrypted_content"]
    assert "include" not in build_body(messages, store=False)
    assert "include" not in build_body(
        messages, store=False, encrypted_reasoning=False, model="gpt-5"
    )
    assert "include" not in build_body(messages, store=True, model="gpt-5")


# Responses that go back.


def test_encrypted_reasoning_is_sent_back_unchanged() -> None:
    response = parse_message(ENCRYPTED, make_message_item("so", logprobs=None), CALL)
    messages = [Message.user("x"), response, Message.tool(ToolResult("call_1", "look", "y"))]
    sent = {name: value for name, value in make_message_item("so").items() if value is not None}
    assert build_items(messages, store=False)[1:] == [
        ENCRYPTED,
        sent,
        CALL,
        {"type": "function_call_output", "call_id": "call_1", "output": "y"},
    ]


def test_native_items_survive_pickling_and_json_and_make_a_difference() -> None:
    response = parse_message(ENCRYPTED, make_message_item("so"))
    assert pickle.loads(pickle.dumps(response)) == response
    assert loads(dumps(response), Message) == response
    assert response != parse_message(make_message_item("so"))
    assert response != parse_message(
        {**ENCRYPTED, "encrypted_content": "gBBB"}, make_message_item("so")
    )
    messages = [Message.user("x"), loads(dumps(response), Message), Message.user("y")]
    assert build_items(messages, store=False)[1] == ENCRYPTED


@pytest.mark.parametrize(
    "builder", [ChatCompletionsBuilder(), AnthropicMessagesBuilder(), OllamaChatBuilder()]
)
def test_other_providers_never_see_it(builder: Any) -> None:
    summary = [{"type": "summary_text", "text": "hmm"}]
    messages = [
        Message.user("x"),
        parse_message({**ENCRYPTED, "summary": summary}, make_message_item("so"), CALL),
        Message.tool(ToolResult("call_1", "look", "y")),
    ]
    body = builder.build(messages, [LOOK_TOOL], model="m", max_tokens=9)
    unchanged = [*messages]
    unchanged[1] = Message.assistant("so", [ToolCall("call_1", "look", {"up": True})])
    assert body == builder.build(unchanged, [LOOK_TOOL], model="m", max_tokens=9)


def test_a_message_that_was_changed_is_sent_as_it_is_now() -> None:
    response = parse_message(ENCRYPTED, make_message_item("so"))
    changed = attrs.evolve(response, content="not so")
    input_items = build_items([Message.user("x"), changed, Message.user("y")], store=False)
    assert [item["type"] for item in input_items] == ["message"] * 3
    assert input_items[1]["content"][0]["text"] == "not so"


@pytest.mark.parametrize("value", [5, "x", ["x"], [{"type": "message", "content": 5}], [{}]])
def test_state_that_no_response_had_is_ignored(value: Any) -> None:
    message = Message.assistant("so", native_state=make_state("responses", {"items": value}))
    unchanged = [Message.user("x"), Message.assistant("so"), Message.user("y")]
    assert build_items([unchanged[0], message, unchanged[2]]) == build_items(unchanged)


def test_arguments_that_came_as_an_object_go_back_as_text() -> None:
    response = parse_message(ENCRYPTED, {**CALL, "arguments": {"up": True}})
    assert (
        build_items([Message.user("x"), response, *_make_tool_messages()], store=False)[2] == CALL
    )
    none = parse_message(ENCRYPTED, {**CALL, "arguments": None})
    assert (
        build_items([Message.user("x"), none, *_make_tool_messages()], store=False)[2]["arguments"]
        == "{}"
    )


def test_a_text_response_has_no_native_items() -> None:
    assert parse_message(make_message_item("so"), CALL).native_state is None
    refusal = {"type": "refusal", "refusal": "no"}
    assert (
        parse_message(
            {**make_message_item("so"), "content": [*make_message_item("so")["content"], refusal]}
        ).native_state
        is None
    )
    direct = {**CALL, "caller": {"type": "direct"}, "namespace": None}
    assert parse_message(direct).native_state is None
    assert (
        parse_message(
            {**make_message_item(), "phase": None}, make_message_item(""), CALL
        ).native_state
        is None
    )


@pytest.mark.parametrize(
    "native_items",
    [
        [make_message_item("so", phase="commentary")],
        [make_message_item("so", index=0), make_message_item("so", index=1)],
        [CALL, make_message_item("so")],
        [{**CALL, "namespace": "x"}],
        [{"type": "web_search_call", "id": "ws_1", "status": "completed"}, make_message_item("so")],
        [{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="}],
    ],
)
def test_what_a_message_cannot_express_is_sent_back_unchanged(
    native_items: list[dict[str, Any]],
) -> None:
    messages = [Message.user("x"), parse_message(*native_items)]
    messages += [Message.tool(ToolResult(call.id, "", "r")) for call in messages[1].tool_calls]
    input_items = build_items([*messages, Message.user("y")], store=False)
    assert input_items[1 : 1 + len(native_items)] == native_items


def test_reasoning_that_only_its_server_could_look_up_does_not_go_back() -> None:
    summary = [{"type": "summary_text", "text": "hm"}]
    reference = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": None}
    assert parse_message(reference, make_message_item("so")).native_state is None
    with_phase = make_message_item("so", phase="final_answer")
    input_items = build_items(
        [Message.user("x"), parse_message(reference, with_phase, CALL), *_make_tool_messages()],
        store=False,
    )
    assert [item["type"] for item in input_items[1:3]] == ["message", "function_call"]
    assert (
        input_items[1]["id"] != with_phase["id"]
    )  # it would be looked up, and its reasoning be missed
    assert input_items[1]["phase"] == "final_answer"
    assert "id" not in input_items[2]


def _make_tool_messages() -> list[Message]:
    return [Message.tool(ToolResult("call_1", "look", "y"))]


def test_unencrypted_reasoning_is_sent_back() -> None:
    content = [{"type": "reasoning_text", "text": "hm"}]
    open_ = {"type": "reasoning", "id": "rs_1", "summary": [], "content": content}
    response = parse_message({**open_, "encrypted_content": ""}, make_message_item("so"))
    assert build_items([Message.user("x"), response, Message.user("y")], store=False)[1] == open_


def test_reasoning_that_leads_to_nothing_does_not_go_back() -> None:
    assert parse_message(make_message_item("so"), ENCRYPTED).native_state is None
    with pytest.raises(ConfigurationError, match="neither text nor tool calls"):
        build_body([Message.user("x"), parse_message(ENCRYPTED), Message.user("y")], store=False)


def test_without_reasoning_nothing_refers_to_it() -> None:
    messages = [
        Message.user("x"),
        parse_message(ENCRYPTED, make_message_item("so"), CALL),
        *_make_tool_messages(),
    ]
    input_items = build_items(messages, store=False, encrypted_reasoning=False)
    assert [item["type"] for item in input_items[1:3]] == ["message", "function_call"]
    assert input_items[1]["id"] != "msg_0"
    assert "id" not in input_items[2]


def test_the_same_response_twice_does_not_repeat_its_ids() -> None:
    response = parse_message(ENCRYPTED, make_message_item("so"))
    messages = [Message.user("x"), response, Message.user("y"), response, Message.user("z")]
    input_items = build_items(messages, store=False)
    ids = [item["id"] for item in input_items if "id" in item]
    assert len(set(ids)) == len(ids) == 3


def test_a_free_text_tool_gets_a_result_of_its_kind() -> None:
    custom = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "run"}
    custom["input"] = "ls -l"
    response = parse_message(custom, {**CALL, "call_id": "call_2"})
    assert response.tool_calls[0].malformed_arguments == "ls -l"
    results = [Message.tool(ToolResult(f"call_{at}", "run", "y")) for at in (1, 2)]
    input_items = build_items([Message.user("x"), response, *results], store=False)
    assert input_items[1] == custom
    assert [(item["type"], item["call_id"]) for item in input_items[3:]] == [
        ("custom_tool_call_output", "call_1"),
        ("function_call_output", "call_2"),
    ]
    new_items = build_items([Message.user("x"), response, *results], provider_state=STORED_STATE)
    assert new_items == input_items[3:]


@given(sample_responses(), st.booleans())
def test_every_response_can_go_back_and_says_the_same(
    response: SampleResponse, encrypted_reasoning: bool
) -> None:
    message = ResponsesParser(False).parse(build_response_body(response)).message
    messages = [Message.user("x"), message]
    messages += [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    messages.append(Message.user("z"))
    is_empty = not (message.has_content or message.tool_calls)
    if is_empty and not _has_sendable_server_tool_items(response):
        with pytest.raises(ConfigurationError, match="neither text nor tool calls"):
            build_body(messages)
        return
    input_items = build_items(messages, store=False, encrypted_reasoning=encrypted_reasoning)
    response_items = [item for item in input_items[1:-1] if not item["type"].endswith("output")]
    parsed_again = (
        ResponsesParser(False)
        .parse(build_response_body(SampleResponse(tuple(response_items))))
        .message
    )
    assert (parsed_again.text, parsed_again.refusal, parsed_again.tool_calls) == (
        message.text,
        message.refusal,
        message.tool_calls,
    )


def _has_sendable_server_tool_items(response: SampleResponse) -> bool:
    """Whether the server's own tools were called; it wants no call without the reasoning before."""
    items = [item for item in response.items if item["type"] != "message" or item["content"]]
    while items and items[-1]["type"] == "reasoning":
        items.pop()
    if any(
        item["type"] == "reasoning" and not (item.get("encrypted_content") or item.get("content"))
        for item in items
    ):
        return False
    return any(item["type"].endswith(("search_call", "generation_call")) for item in items)
