"""Names of tools that a provider refuses: replaced in the request, and restored in the response."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from locus.core.build_tool_schemas import build_tool_schemas
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.tool_names import ToolNameRule, rename_refused_tools
from locus.testing.formats.strategies.response_contents import (
    CallContent,
    CandidateContent,
    ResponseContent,
)
from locus.testing.server import LoopbackServer, Reply
from tests.support.formats import FORMATS, WireFormat

NAMES = ["functions.get_weather<|channel|>commentary", "a b", "a.b", "1 ä" * 60, "9"]
STRICT = r"[a-zA-Z_][a-zA-Z0-9_]{0,63}"
"""What every provider accepts."""
RENAMING = [wire for wire in FORMATS if getattr(wire.builder, "tool_name_rule", None)]
TOOL = {
    "type": "function",
    "function": {"name": "files/read", "parameters": {"type": "object", "properties": {}}},
}


def test_new_names_are_accepted_everywhere_and_differ() -> None:
    rule = ToolNameRule(STRICT)
    made = {rule.make_name(name) for name in [*NAMES, ""]}
    assert len(made) == len(NAMES) + 1
    assert all(re.fullmatch(STRICT, name) for name in made)
    for wire in RENAMING:
        accepted = wire.builder.tool_name_rule
        assert all(accepted.is_accepted(name) for name in made), wire


def make_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def test_no_two_tools_get_one_name() -> None:
    """Not even where a tool has the very name that is made for another one."""
    rule = ToolNameRule(STRICT)
    names = ["a.b", rule.make_name("a.b"), "", "unnamed_tool", "x\ud800y", "x\udfffy", "x?y"]
    choice = {"type": "allowed_tools", "tools": [{"type": "function", "name": "a.b"}, "x"]}
    options = {"tool_choice": {**choice, "allowed_tools": choice}}
    history = [Message.assistant(None, [ToolCall("c", rule.make_name("a.b", names), {})])]
    renamed = rename_refused_tools(history, list(map(make_tool, names)), options, rule)
    sent = [build_tool_schemas([tool])[0]["function"]["name"] for tool in renamed.tools]
    assert len(set(sent)) == len(names)
    assert sent[1::2][:2] == names[1::2][:2]
    assert all(map(rule.is_accepted, sent))
    assert [renamed.original_names.get(name, name) for name in sent] == names
    for chosen in (renamed.options["tool_choice"], renamed.options["tool_choice"]["allowed_tools"]):
        assert chosen["tools"] == [{"type": "function", "name": sent[0]}, "x"]


def test_a_tool_for_free_text_is_renamed_in_either_form() -> None:
    rule = ToolNameRule(STRICT)
    tools = [{"type": "custom", "name": "a.b"}, {"type": "custom", "custom": {"name": "c.d"}}]
    others = [{"type": "web.search", "name": "web.search"}, {"google.search": {}}]
    renamed = rename_refused_tools("x", [*tools, *others], {}, rule)
    assert renamed.tools == [
        {"type": "custom", "name": rule.make_name("a.b")},
        {"type": "custom", "custom": {"name": rule.make_name("c.d")}},
        *others,
    ]


def collect_names(value: Any) -> set[str]:
    """Collect the names in JSON that are those of tools."""
    text = json.dumps(value)
    return set(re.findall(r"[a-z_]*files[^\"]read[^\"]*", text))


def build_content(wire: WireFormat, name: str) -> ResponseContent:
    call = CallContent("call_7", name, '{"a":1}')
    candidate = CandidateContent(None, None, None, (call,), wire.call_stop_reason)
    return ResponseContent((candidate,), "resp", wire.base_options["model"])


@pytest.mark.usefixtures("formats_environment")
@pytest.mark.parametrize("wire", RENAMING, ids=repr)
def test_the_caller_sees_its_own_name(server: LoopbackServer, wire: WireFormat) -> None:
    model = wire.make_model(server)
    history = [
        Message.user("a"),
        Message.assistant(None, [ToolCall("call_1", "files/read", {})]),
        Message.tool(ToolResult("call_1", "files/read", "x")),
        Message.user("b"),
    ]
    sent = model.request(history, [TOOL])
    (name,) = collect_names(sent)
    assert re.fullmatch(STRICT, name)
    content = build_content(wire, name)
    frames = wire.build_frames(content, lambda text: [text])
    server.enqueue(
        wire.make_body_reply(wire.build_body(content)),
        wire.make_stream_reply(*frames, *wire.end_frames[-1:]),
    )
    answers = [model.complete_sync(history, [TOOL])]
    *_, last = model.stream_sync(history, [TOOL])
    assert last.response is not None
    answers.append(last.response)
    assert [call.name for call in last.tool_calls] == ["files/read"]
    for answer in answers:
        (call,) = answer.tool_calls
        assert (call.name, call.arguments) == ("files/read", {"a": 1})
        result = Message.tool(ToolResult(call.id, "files/read", "y"))
        again = model.request([*history, answer.message, result], [TOOL])
        assert collect_names(again) == {name}


@pytest.mark.usefixtures("formats_environment")
def test_a_choice_of_a_tool_is_renamed_with_it(server: LoopbackServer) -> None:
    chosen = 0
    for wire in RENAMING:
        model = wire.make_model(server)
        if "tool_choice" not in wire.sent_options or wire.name == "oci_cohere":
            continue
        body = model.request("x", [TOOL], tool_choice="files/read")
        assert len(collect_names(body)) == 1, wire
        chosen += 1
    assert chosen > 3


@pytest.mark.usefixtures("formats_environment")
def test_state_of_the_provider_is_renamed_with_its_calls(server: LoopbackServer) -> None:
    """A model makes up a name that its own server refuses: its thinking still goes back."""
    (wire,) = (wire for wire in FORMATS if wire.name == "anthropic_messages")
    thinking = {"type": "thinking", "thinking": "hm", "signature": "seal"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "browser.open", "input": {}}
    body = {"id": "m", "content": [thinking, call], "stop_reason": "tool_use"}
    server.enqueue(Reply.json(body))
    model = wire.make_model(server)
    message = model.complete_sync("x", [TOOL]).message
    assert message.tool_calls[0].name == "browser.open"
    result = Message.tool(ToolResult("toolu_1", "browser.open", "no such tool"))
    blocks = model.request([Message.user("x"), message, result], [TOOL])["messages"][1]["content"]
    assert blocks[0]["signature"] == "seal"
    assert re.fullmatch(STRICT, blocks[1]["name"])
