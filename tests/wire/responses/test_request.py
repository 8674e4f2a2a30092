"""What is sent to ``POST /responses``: every message, call, tool and option in its place."""

from __future__ import annotations

import json
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
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
from locus.wire.json import dumps, encode, loads
from locus.wire.ollama_chat import OllamaChatBuilder
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support.strategies import conversations, halves
from tests.support.wire_json.responses_json import Answer, message, response_answers, whole

STORED = {"previous_response_id": "resp_7"}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SEALED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look"}
CALL |= {"arguments": '{"up": true}', "status": "completed"}


def build(
    messages: Any, tools: Any = None, store: bool = True, sealed: bool = True, **options: Any
) -> dict[str, Any]:
    body = ResponsesBuilder(store, sealed).build(messages, tools, **{"model": "gpt-4o", **options})
    plain: dict[str, Any] = json.loads(encode(body))
    return plain


def items(messages: Any, **kw: Any) -> list[Any]:
    found: list[Any] = build(messages, **kw)["input"]
    return found


def read(*items: dict[str, Any], store: bool = False) -> Message:
    """The message of an answer."""
    return ResponsesParser(store).parse(whole(Answer(items))).message


def said(text: str, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


# Messages.


def test_a_prompt() -> None:
    assert build("hello", max_tokens=5, temperature=0, top_p=0.5) == {
        "model": "gpt-4o",
        "input": [said("hello")],
        "store": True,
        "max_output_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
    }


def test_every_role_has_its_item() -> None:
    image = ImagePart(data=b"\x89PNG", media_type="image/jpg", detail="low")
    turns = [
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
    found = items(turns)
    made = found[2].pop("id")
    assert made.startswith("msg_")
    assert len(made) <= 64
    data = "data:image/jpeg;base64,iVBORw=="
    assert found == [
        said("be brief", "system"),
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
        said("in French", "system"),
        said("and?"),
    ]


def test_malformed_arguments_go_back_to_the_letter() -> None:
    call = ToolCall.from_json("c", "look", '{"up": ')
    turns = [Message.user("x"), Message.assistant(None, [call])]
    turns.append(Message.tool(ToolResult("c", "look", "", error="that was no JSON")))
    assert items(turns)[1]["arguments"] == '{"up": '


def test_a_tool_shows_a_picture() -> None:
    turns = [
        Message.user("x"),
        Message.assistant(None, [ToolCall("c", "look")]),
        Message("tool", ["seen:", ImagePart(url="https://x/y.png")], tool_call_id="c"),
    ]
    assert items(turns)[2]["output"] == [
        {"type": "input_text", "text": "seen:"},
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"},
    ]


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_an_image_from_anybody_else_is_refused_by_position(role: str) -> None:
    turn = Message(role, ["x", ImagePart(url="https://x/y.png")])
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*images from users and tools"):
        build([Message.user("x"), turn, Message.user("x")])


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("data:image/png;base64,iVBORw==", "data:image/png;base64,iVBORw=="),
        ("DATA:image/jpg;x=1;base64,iVBORw==", "data:image/jpeg;base64,iVBORw=="),
        ("data:image/svg+xml,%3Csvg/%3E", "data:image/svg+xml;base64,PHN2Zy8+"),
    ],
)
def test_a_data_address_is_written_in_the_one_form_that_is_taken(url: str, sent: str) -> None:
    assert items(Message.user(ImagePart(url=url)))[0]["content"][0]["image_url"] == sent


@pytest.mark.parametrize("url", ["data:image/png", "data:;base64,aGk=", "data:image/png;base64,%"])
def test_a_broken_data_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[0\].*data: address"):
        build(Message.user(ImagePart(url=url)))


def test_a_refusal_and_thinking_of_others() -> None:
    parts = [ThinkingPart("hm", "seal"), TextPart("so"), RefusalPart("no")]
    turns = [Message.user("x"), Message.assistant(parts), Message.user("y")]
    assert items(turns)[1]["content"] == [
        {"type": "output_text", "text": "so", "annotations": []},
        {"type": "refusal", "refusal": "no"},
    ]


def test_no_two_messages_have_the_same_id() -> None:
    turns = [Message.user("x"), Message.assistant("same")] * 3 + [Message.user("y")]
    made = [item["id"] for item in items(turns) if "id" in item]
    assert len(set(made)) == 3
    assert items(turns) == items(turns)


def test_an_id_that_is_too_long_is_made_over_in_call_and_result() -> None:
    long = "c" * 65
    turns = [Message.user("x"), Message.assistant(None, [ToolCall(long, "look")])]
    turns.append(Message.tool(ToolResult(long, "look", "y")))
    _, call, result = items(turns)
    assert call["call_id"] == result["call_id"]
    assert len(call["call_id"]) <= 64


@given(conversations(), st.booleans())
def test_any_conversation_can_be_sent_and_loses_no_word(turns: Any, store: bool) -> None:
    found = items(turns, store=store)
    sent = [item for item in found if item["type"] == "message"]
    texts = [part.get("text", "") for item in sent for part in item["content"]]
    spoken = [turn for turn in turns if turn.role != "tool"]
    assert "".join(texts) == "".join(turn.text for turn in spoken)
    calls = [item for item in found if item["type"] == "function_call"]
    assert [call["arguments"] for call in calls] == [
        call.arguments_json() for turn in turns for call in turn.tool_calls
    ]
    outputs = [item for item in found if item["type"] == "function_call_output"]
    assert {item["call_id"] for item in outputs} == {item["call_id"] for item in calls}
    ids = [item["id"] for item in found if "id" in item]
    assert len(set(ids)) == len(ids)


@given(halves())
def test_half_a_surrogate_pair_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigurationError, match="surrogate"):
        build(text)


# Tools.


def test_tools_are_flat_and_say_how_strict_they_are() -> None:
    strict = {"name": "f", "description": "d", "parameters": {}, "strict": True}
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}}
    tools = [
        LOOK,
        {"type": "function", "function": strict},
        {"type": "function", "function": {"name": "g", "description": None}},
        {"type": "custom", "custom": {"name": "c", "format": grammar}},
        {"type": "web_search", "search_context_size": "low"},
    ]
    assert build("x", tools)["tools"] == [
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
    ("said", "sent"),
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
def test_a_choice_of_tool(said: Any, sent: Any) -> None:
    tools = [LOOK, {"type": "custom", "custom": {"name": "c"}}]
    body = build("x", tools, tool_choice=said, parallel_tool_calls=False)
    assert body.get("tool_choice") == sent
    assert body["parallel_tool_calls"] is False
    without = build("x", tool_choice="auto", parallel_tool_calls=False)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & without.keys()


def test_a_choice_of_no_tool_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigurationError, match=r"'lok' is neither .*\(look\)"):
        build("x", [LOOK, {"type": "web_search"}], tool_choice="lok")


# Options.


@pytest.mark.parametrize("model", ["o3", "gpt-5-mini", "openai.gpt-5", "openai.o4-mini"])
def test_reasoning_families_get_no_sampling_parameters(model: str) -> None:
    body = build("x", model=model, temperature=0.5, top_p=0.5, max_tokens=9)
    assert not {"temperature", "top_p", "include"} & body.keys()
    assert body["max_output_tokens"] == 9


def test_what_the_api_has_no_place_for() -> None:
    plain = build("x")
    assert build("x", seed=1, frequency_penalty=1.0, presence_penalty=1.0) == plain
    assert build(Message.user("x", name="ann", metadata={"a": 1})) == plain
    with pytest.raises(ConfigurationError, match="no stop sequences"):
        build("x", stop="END")


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("said", "sent"),
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
def test_the_shape_of_the_answer(said: Any, sent: Any) -> None:
    body = build("x", response_format=said, extra_body={"text": {"verbosity": "low"}})
    assert body["text"] == {"format": sent, "verbosity": "low"}


def test_a_schema_that_is_missing_is_refused() -> None:
    for broken in ({"type": "json_schema"}, {"type": "json_schema", "json_schema": 5}):
        with pytest.raises(ConfigurationError, match="lacks its schema"):
            build("x", response_format=broken)


def test_the_callers_extras_win() -> None:
    extra = {"reasoning": {"effort": "low"}, "max_output_tokens": 7, "store": False}
    extra["include"] = ["message.output_text.logprobs"]
    body = build("x", model="gpt-5", max_tokens=5, provider_state=STORED, extra_body=extra)
    assert body["reasoning"] == {"effort": "low"}
    assert body["max_output_tokens"] == 7
    assert body["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert body["store"] is False
    assert "previous_response_id" not in body
    assert build("x", extra_body={"include": ["a"]})["include"] == ["a"]


def test_a_stream_is_asked_for() -> None:
    assert build("x", stream=True) == {**build("x"), "stream": True}


def test_a_mapping_of_any_class_is_an_object() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": MappingProxyType({})}}
    assert build("x", [tool])["tools"][0]["parameters"] == {}


def test_what_is_no_json_is_refused() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"x": object()}}}
    with pytest.raises(ConfigurationError, match="object has no place"):
        build("x", [tool])
    turns = [Message.user("x"), Message.assistant(None, [ToolCall("c", "f", {"x": object()})])]
    with pytest.raises(ConfigurationError, match=r"messages\[1\].tool_calls\[0\]"):
        build(turns)


# The conversation that the server keeps.


def test_with_a_state_only_what_is_new_is_sent() -> None:
    turns = [Message.system("be brief"), Message.user("x")]
    assert build(turns, provider_state=None)["input"] == [said("be brief", "system"), said("x")]
    turns += [Message.assistant("y"), Message.user("z"), Message.system("in French")]
    body = build(turns, provider_state=STORED)
    assert body["previous_response_id"] == "resp_7"
    assert body["input"] == [said("z"), said("in French", "system")]
    assert build(turns[3:], provider_state=STORED) == body
    assert "previous_response_id" not in build(turns, provider_state={})


def test_with_a_state_results_may_come_without_their_calls() -> None:
    calls = [ToolCall("call_1", "look"), ToolCall("c" * 65, "look")]
    results = [Message.tool(ToolResult(call.id, "look", "y")) for call in calls]
    turns = [Message.user("x"), Message.assistant(None, calls), Message.user("w"), *results]
    new = items(turns[2:], provider_state=STORED)
    assert [item["type"] for item in new] == [
        "function_call_output",
        "function_call_output",
        "message",
    ]
    assert [item["call_id"] for item in new[:2]] == [call.id for call in calls]
    assert items(turns, provider_state=STORED) == new
    with pytest.raises(ConfigurationError, match="no assistant message before it has made"):
        build(results)


def test_a_state_with_nothing_new_or_of_another_kind_is_refused() -> None:
    turns = [Message.user("x"), Message.assistant("y")]
    with pytest.raises(ConfigurationError, match=r"messages\[1\] is the answer .* nothing new"):
        build(turns, provider_state=STORED)
    for state in ({"thread": 1}, {"previous_response_id": None}, {"previous_response_id": 5}):
        with pytest.raises(ConfigurationError, match="provider_state is what an answer"):
            build("x", provider_state=state)


def test_an_unstored_conversation_is_sent_whole_and_says_so() -> None:
    turns = [Message.user("x"), Message.assistant("y"), Message.user("z")]
    for state in (None, STORED, {"thread": 1}):
        body = build(turns, store=False, provider_state=state, model="gpt-5")
        assert body["store"] is False
        assert "previous_response_id" not in body
        assert len(body["input"]) == 3
        assert body["include"] == ["reasoning.encrypted_content"]
    assert "include" not in build(turns, store=False)
    assert "include" not in build(turns, store=False, sealed=False, model="gpt-5")
    assert "include" not in build(turns, store=True, model="gpt-5")


# Answers that go back.


def test_encrypted_reasoning_goes_back_as_it_came() -> None:
    answer = read(SEALED, message("so", logprobs=None), CALL)
    turns = [Message.user("x"), answer, Message.tool(ToolResult("call_1", "look", "y"))]
    sent = {name: value for name, value in message("so").items() if value is not None}
    assert items(turns, store=False)[1:] == [
        SEALED,
        sent,
        CALL,
        {"type": "function_call_output", "call_id": "call_1", "output": "y"},
    ]


def test_kept_items_survive_pickling_and_json_and_make_a_difference() -> None:
    answer = read(SEALED, message("so"))
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert loads(dumps(answer), Message) == answer
    assert answer != read(message("so"))
    assert answer != read({**SEALED, "encrypted_content": "gBBB"}, message("so"))
    turns = [Message.user("x"), loads(dumps(answer), Message), Message.user("y")]
    assert items(turns, store=False)[1] == SEALED


@pytest.mark.parametrize(
    "builder", [ChatCompletionsBuilder(), AnthropicMessagesBuilder(), OllamaChatBuilder()]
)
def test_other_providers_never_see_it(builder: Any) -> None:
    summary = [{"type": "summary_text", "text": "hmm"}]
    turns = [
        Message.user("x"),
        read({**SEALED, "summary": summary}, message("so"), CALL),
        Message.tool(ToolResult("call_1", "look", "y")),
    ]
    body = builder.build(turns, [LOOK], model="m", max_tokens=9)
    plain = [*turns]
    plain[1] = Message.assistant("so", [ToolCall("call_1", "look", {"up": True})])
    assert body == builder.build(plain, [LOOK], model="m", max_tokens=9)


def test_a_message_that_was_changed_goes_as_it_is_now() -> None:
    answer = read(SEALED, message("so"))
    changed = Message.assistant("not so", metadata=answer.metadata)
    found = items([Message.user("x"), changed, Message.user("y")], store=False)
    assert [item["type"] for item in found] == ["message"] * 3
    assert found[1]["content"][0]["text"] == "not so"


@pytest.mark.parametrize("note", [5, "x", ["x"], [{"type": "message", "content": 5}], [{}]])
def test_a_note_of_the_same_name_is_the_callers(note: Any) -> None:
    turn = Message.assistant("so", metadata={"output_items": note})
    plain = [Message.user("x"), Message.assistant("so"), Message.user("y")]
    assert items([plain[0], turn, plain[2]]) == items(plain)


def test_arguments_that_came_as_an_object_go_back_as_text() -> None:
    answer = read(SEALED, {**CALL, "arguments": {"up": True}})
    assert items([Message.user("x"), answer, *_after()], store=False)[2] == CALL
    none = read(SEALED, {**CALL, "arguments": None})
    assert items([Message.user("x"), none, *_after()], store=False)[2]["arguments"] == ""


def test_a_plain_answer_keeps_nothing() -> None:
    assert read(message("so"), CALL).metadata == {}
    refusal = {"type": "refusal", "refusal": "no"}
    assert read({**message("so"), "content": [*message("so")["content"], refusal]}).metadata == {}
    direct = {**CALL, "caller": {"type": "direct"}, "namespace": None}
    assert read(direct).metadata == {}
    assert read({**message(), "phase": None}, message(""), CALL).metadata == {}


@pytest.mark.parametrize(
    "odd",
    [
        [message("so", phase="commentary")],
        [message("so", at=0), message("so", at=1)],
        [CALL, message("so")],
        [{**CALL, "namespace": "x"}],
        [{"type": "web_search_call", "id": "ws_1", "status": "completed"}, message("so")],
        [{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="}],
    ],
)
def test_what_a_message_cannot_repeat_goes_back_as_it_came(odd: list[dict[str, Any]]) -> None:
    turns = [Message.user("x"), read(*odd)]
    turns += [Message.tool(ToolResult(call.id, "", "r")) for call in turns[1].tool_calls]
    found = items([*turns, Message.user("y")], store=False)
    assert found[1 : 1 + len(odd)] == odd


def test_reasoning_that_only_its_server_could_look_up_does_not_go_back() -> None:
    summary = [{"type": "summary_text", "text": "hm"}]
    stored = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": None}
    assert read(stored, message("so")).metadata == {}
    phased = message("so", phase="final_answer")
    found = items([Message.user("x"), read(stored, phased, CALL), *_after()], store=False)
    assert [item["type"] for item in found[1:3]] == ["message", "function_call"]
    assert found[1]["id"] != phased["id"]  # it would be looked up, and its reasoning be missed
    assert found[1]["phase"] == "final_answer"
    assert "id" not in found[2]


def _after() -> list[Message]:
    return [Message.tool(ToolResult("call_1", "look", "y"))]


def test_reasoning_in_the_open_goes_back() -> None:
    content = [{"type": "reasoning_text", "text": "hm"}]
    open_ = {"type": "reasoning", "id": "rs_1", "summary": [], "content": content}
    answer = read({**open_, "encrypted_content": ""}, message("so"))
    assert items([Message.user("x"), answer, Message.user("y")], store=False)[1] == open_


def test_reasoning_that_leads_to_nothing_does_not_go_back() -> None:
    assert read(message("so"), SEALED).metadata == {}
    with pytest.raises(ConfigurationError, match="neither text nor tool calls"):
        build([Message.user("x"), read(SEALED), Message.user("y")], store=False)


def test_without_reasoning_nothing_refers_to_it() -> None:
    turns = [Message.user("x"), read(SEALED, message("so"), CALL), *_after()]
    found = items(turns, store=False, sealed=False)
    assert [item["type"] for item in found[1:3]] == ["message", "function_call"]
    assert found[1]["id"] != "msg_0"
    assert "id" not in found[2]


def test_the_same_answer_twice_does_not_repeat_its_ids() -> None:
    answer = read(SEALED, message("so"))
    turns = [Message.user("x"), answer, Message.user("y"), answer, Message.user("z")]
    found = items(turns, store=False)
    ids = [item["id"] for item in found if "id" in item]
    assert len(set(ids)) == len(ids) == 3


def test_a_free_text_tool_gets_a_result_of_its_kind() -> None:
    custom = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "run"}
    custom["input"] = "ls -l"
    answer = read(custom, {**CALL, "call_id": "call_2"})
    assert answer.tool_calls[0].malformed_arguments == "ls -l"
    results = [Message.tool(ToolResult(f"call_{at}", "run", "y")) for at in (1, 2)]
    found = items([Message.user("x"), answer, *results], store=False)
    assert found[1] == custom
    assert [(item["type"], item["call_id"]) for item in found[3:]] == [
        ("custom_tool_call_output", "call_1"),
        ("function_call_output", "call_2"),
    ]
    alone = items([Message.user("x"), answer, *results], provider_state=STORED)
    assert alone == found[3:]


@given(response_answers(), st.booleans())
def test_every_answer_can_go_back_and_says_the_same(answer: Answer, sealed: bool) -> None:
    said_ = ResponsesParser(False).parse(whole(answer)).message
    turns = [Message.user("x"), said_]
    turns += [Message.tool(ToolResult(call.id, "f", "y")) for call in said_.tool_calls]
    turns.append(Message.user("z"))
    silent = not (said_.says_something or said_.tool_calls)
    if silent and not _has_tools_of_the_server(answer):
        with pytest.raises(ConfigurationError, match="neither text nor tool calls"):
            build(turns)
        return
    found = items(turns, store=False, sealed=sealed)
    back = [item for item in found[1:-1] if not item["type"].endswith("output")]
    again = ResponsesParser(False).parse(whole(Answer(tuple(back)))).message
    assert (again.text, again.refusal, again.tool_calls) == (
        said_.text,
        said_.refusal,
        said_.tool_calls,
    )


def _has_tools_of_the_server(answer: Answer) -> bool:
    return any(item["type"].endswith(("search_call", "generation_call")) for item in answer.items)
