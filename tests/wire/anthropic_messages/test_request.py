"""Requests of the messages format: every turn, call, result and image is in them, in its place."""

from __future__ import annotations

import base64
import copy
import json
import re
import sys
from functools import cache
from types import MappingProxyType
from typing import Any, is_typeddict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.wire.anthropic_messages import AnthropicMessagesBuilder
from locus.wire.json import encode
from tests.support.strategies import conversations, halves, options, texts, tools

BUILDER = AnthropicMessagesBuilder()
OLD = "claude-sonnet-4-20250514"
NEW = "claude-opus-5"
USER = Message.user("x")
EPHEMERAL = {"type": "ephemeral"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
AS_JSON = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}


def built(messages: Any = "x", tools: Any = None, model: str = OLD, **said: Any) -> Any:
    """The body as it travels."""
    return built_by(BUILDER, messages, tools, model=model, **said)


def built_by(builder: Any, messages: Any = "x", tools: Any = None, **said: Any) -> Any:
    said = {"model": OLD, "max_tokens": 9, **said}
    return json.loads(encode(builder.build(messages, tools, **said)))


def visible(stop: list[str]) -> bool:
    return all(sequence.strip() for sequence in stop)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """Tools, and the keywords of a call that the format can say."""
    given_ = draw(tools())
    said = draw(options(given_).filter(lambda said: visible(said.get("stop", []))))
    if said.get("tool_choice") == "required" and not given_:
        del said["tool_choice"]
    return given_, {"max_tokens": 9, **said}


def sayable(turns: tuple[Message, ...]) -> bool:
    """Whether the last one to speak says anything that the API takes."""
    return bool(spoken([message for message in turns if message.role is not Role.SYSTEM][-1]))


# A second writer of the format, one message at a time.


def spoken(message: Message) -> list[dict[str, Any]]:
    """The blocks that a message has to be in a request."""
    found: list[dict[str, Any]] = []
    content = message.content
    for part in (TextPart(content),) if isinstance(content, str) else content or ():
        match part:
            case ThinkingPart(redacted=str(data)):
                found.append({"type": "redacted_thinking", "data": data})
            case ThinkingPart(text=text, signature=seal):
                found.append({"type": "thinking", "thinking": text, "signature": seal})
            case ImagePart(url=str(url)):
                found.append({"type": "image", "source": {"type": "url", "url": url}})
            case ImagePart(data=bytes(data), media_type=kind):
                inline = base64.b64encode(data).decode()
                source = {"type": "base64", "media_type": kind, "data": inline}
                found.append({"type": "image", "source": source})
            case _ if part.text.strip():
                found.append({"type": "text", "text": part.text})
    if message.role is Role.TOOL:
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": found}
        if not found:
            del result["content"]
        if message.metadata:
            result["is_error"] = True
        return [result]
    for call in message.tool_calls:
        input_ = dict(call.arguments)
        if call.malformed_arguments is not None:
            input_ = {"malformed_arguments": call.malformed_arguments}
        found.append({"type": "tool_use", "id": call.id, "name": call.name, "input": input_})
    return found


def carried(turns: tuple[Message, ...]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The turns that a conversation has to be, without its system messages."""
    found: list[tuple[str, list[dict[str, Any]]]] = []
    for message in turns:
        if message.role is Role.SYSTEM or not spoken(message):
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if not found or found[-1][0] != role:
            found.append((role, []))
        found[-1][1].extend(spoken(message))
    for _, blocks in found:
        blocks.sort(key=lambda block: block["type"] != "tool_result")  # stable
    return found


def read(body: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The turns of a body, every content a list of blocks."""
    return [(turn["role"], _blocks(turn["content"])) for turn in body["messages"]]


def _blocks(content: Any) -> Any:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        {**block, "content": _blocks(block["content"])} if "content" in block else block
        for block in content
    ]


@given(conversations().filter(sayable))
def test_every_turn_call_result_and_image_arrives(turns: tuple[Message, ...]) -> None:
    body = built(turns)
    assert read(body) == carried(turns)
    said = [message.text for message in turns if message.role is Role.SYSTEM]
    assert body.get("system", "") == "\n\n".join(text for text in said if text.strip())


@given(conversations().filter(sayable))
def test_newer_models_get_system_messages_in_their_place(turns: tuple[Message, ...]) -> None:
    body = built(turns, model=NEW)
    roles = [role for role, _ in read(body)]
    assert [turn for turn in read(body) if turn[0] != "system"] == carried(turns)
    for at, role in enumerate(roles):
        if role == "system":
            assert roles[at - 1] == "user"
            assert roles[at + 1 : at + 2] in ([], ["assistant"])
    told = [body["system"]] if "system" in body else []
    told += [block["text"] for role, blocks in read(body) if role == "system" for block in blocks]
    said = [message.text for message in turns if message.role is Role.SYSTEM]
    assert "\n\n".join(told) == "\n\n".join(text for text in said if text.strip())
    leading = []
    for message in turns:
        if message.role is Role.SYSTEM:
            leading.append(message.text)
        elif spoken(message):
            break
    if len(roles) > 1 and roles[0] == "user":
        assert body.get("system", "") == "\n\n".join(text for text in leading if text.strip())


@given(conversations().filter(sayable), calls())
def test_building_is_stable_and_changes_nothing(turns: tuple[Message, ...], call: Any) -> None:
    given_, said = call
    before = copy.deepcopy((given_, said))
    builder = AnthropicMessagesBuilder(prompt_cache=True)
    body = builder.build(turns, given_, model=OLD, **said)
    assert builder.build(turns, given_, model=OLD, **said) == body
    assert (given_, said) == before
    _spoil(body)
    assert (given_, said) == before
    assert builder.build(turns, given_, model=OLD, **said) != body


def test_a_body_shares_nothing_with_what_it_was_built_from() -> None:
    call = ToolCall("1", "f", {"a": {"b": [1]}})
    blocks = [{"type": "text", "text": "a", "citations": [{"b": 1}]}]
    mark = {"type": "ephemeral"}
    turns = [
        Message.user("x", metadata={"cache_control": mark}),
        Message.assistant("a", metadata={"blocks": blocks}),
        USER,
        Message.assistant(None, [call]),
        Message.tool(ToolResult("1", "f", "y")),
    ]
    thinking = {"type": "enabled", "budget_tokens": 5}
    _spoil(AnthropicMessagesBuilder(thinking=thinking).build(turns, model=OLD, max_tokens=9))
    assert (call.arguments, mark) == ({"a": {"b": [1]}}, {"type": "ephemeral"})
    assert blocks == [{"type": "text", "text": "a", "citations": [{"b": 1}]}]
    assert thinking == {"type": "enabled", "budget_tokens": 5}


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for member in value.values():
            _spoil(member)
        value["spoilt"] = True
    elif isinstance(value, list):
        for member in value:
            _spoil(member)
        value.append("spoilt")


# The official SDK as the judge.


@cache
def accepts() -> Any:
    """The SDK's parameter types as a validator that refuses unknown members."""
    pydantic = pytest.importorskip("pydantic")
    pytest.importorskip("anthropic")
    from anthropic.types import message_create_params as params
    from typing_extensions import is_typeddict as is_typeddict_too

    strict = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    for name, module in list(sys.modules.items()):
        if name.startswith("anthropic.types."):
            for kind in vars(module).values():
                typed = is_typeddict(kind) or is_typeddict_too(kind)
                if typed and kind.__name__ != "InputSchemaTyped":  # which is any JSON Schema
                    kind.__pydantic_config__ = strict
    return pydantic.TypeAdapter(params.MessageCreateParams)


def exhaust(value: Any) -> Any:
    """Pull everything out of pydantic's lazy iterables, which validate only then."""
    if isinstance(value, dict):
        return {name: exhaust(member) for name, member in value.items()}
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    return [exhaust(member) for member in value]


def judged(body: dict[str, Any]) -> dict[str, Any]:
    """A body as the SDK's types see it. Newer ones know neither of the sampling parameters."""
    from anthropic.types import message_create_params as params

    known = params.MessageCreateParamsNonStreaming.__annotations__
    body = {n: v for n, v in body.items() if n in known or n not in ("temperature", "top_p")}
    assert exhaust(accepts().validate_python(body)) == body
    return body


@pytest.mark.sdk
@given(
    conversations().filter(sayable),
    calls(),
    st.sampled_from([OLD, NEW, "claude-opus-5-5", "claude-3-5-haiku-latest", "smollm2"]),
    st.booleans(),
    st.sampled_from([None, 2000, "adaptive", {"type": "disabled"}]),
)
def test_what_is_built_is_what_the_sdk_would_send(
    turns: tuple[Message, ...], call: Any, model: str, flag: bool, thinking: Any
) -> None:
    pytest.importorskip("anthropic")
    given_, said = call
    builder = AnthropicMessagesBuilder(prompt_cache=flag, thinking=thinking)
    judged(built_by(builder, turns, given_, model=model, stream=flag, **said))


@pytest.mark.sdk
def test_the_judge_refuses_what_the_sdk_does_not_know() -> None:
    pydantic = pytest.importorskip("pydantic")
    pytest.importorskip("anthropic")
    good = built()
    judged(good)
    odd = {"type": "text", "text": "x", "colour": "red"}
    for bad in (
        good | {"colour": "red"},
        good | {"messages": [{"role": "user", "content": [odd]}]},
        good | {"messages": [{"role": "robot", "content": "x"}]},
        good | {"tools": [{"name": "f"}]},
        good | {"tool_choice": "auto"},
        good | {"max_tokens": None},
    ):
        # The types allow for the SDK's response classes, which take any member and are no JSON.
        with pytest.raises((pydantic.ValidationError, AssertionError)):
            judged(bad)


# Turns.


def test_a_bare_request_says_no_more_than_it_must() -> None:
    assert built() == {
        "model": OLD,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}],
    }


def test_results_come_first_in_the_order_they_were_given_and_say_how_they_failed() -> None:
    turns = [
        USER,
        Message.assistant("so", [ToolCall("1", "f"), ToolCall("2", "g", {"a": 1})]),
        Message.user("wait"),
        Message.tool(ToolResult("2", "g", "", error="no such city")),
        Message.tool(ToolResult("1", "f", "")),
        Message.user("go on"),
    ]
    assert built(turns)["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "so"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {}},
                {"type": "tool_use", "id": "2", "name": "g", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "2",
                    "content": "Error: no such city",
                    "is_error": True,
                },
                {"type": "tool_result", "tool_use_id": "1"},
                {"type": "text", "text": "wait"},
                {"type": "text", "text": "go on"},
            ],
        },
    ]


def test_a_result_may_hold_an_image() -> None:
    turns = [
        USER,
        Message.assistant(None, [ToolCall("1", "f")]),
        Message(Role.TOOL, ["a map", ImagePart(url="https://x/y")], tool_call_id="1"),
    ]
    (result,) = built(turns)["messages"][2]["content"]
    assert result["content"] == [
        {"type": "text", "text": "a map"},
        {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
    ]


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/png;base64,iVBORw==", "image/png", b"\x89PNG"),
        ("DATA:image/gif;name=a.gif;base64,R0lG", "image/gif", b"GIF"),
        ("data:image/png;base64,iVBORw%3D%3D", "image/png", b"\x89PNG"),
        ("data:image/webp,RIFF%00", "image/webp", b"RIFF\x00"),
    ],
)
def test_an_image_in_its_own_address_is_sent_inline(url: str, media_type: str, data: bytes) -> None:
    (block,) = built([Message.user([ImagePart(url=url)])])["messages"][0]["content"]
    assert block["source"]["type"] == "base64"
    assert block["source"]["media_type"] == media_type
    assert base64.b64decode(block["source"]["data"], validate=True) == data


def test_thinking_goes_back_sealed_and_in_its_place() -> None:
    turns = [
        USER,
        Message.assistant(
            [ThinkingPart("hm", "seal"), ThinkingPart(redacted="dark"), "so"], [ToolCall("1", "f")]
        ),
        Message.tool(ToolResult("1", "f", "y")),
        Message.assistant([ThinkingPart("of another model"), "z"]),
        USER,
    ]
    body = built(turns)
    assert [block["type"] for block in body["messages"][1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
    ]
    assert body["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "hm",
        "signature": "seal",
    }
    assert body["messages"][3] == {"role": "assistant", "content": "z"}


def test_a_refusal_of_another_model_is_said_as_text() -> None:
    turns = [USER, Message.assistant([RefusalPart("I will not.")]), USER]
    assert built(turns)["messages"][1] == {"role": "assistant", "content": "I will not."}


def test_malformed_arguments_go_as_they_were_written() -> None:
    turns = [
        USER,
        Message.assistant(None, [ToolCall("1", "f", malformed_arguments='{"a": ')]),
        Message.tool(ToolResult("1", "f", "", error="no JSON")),
    ]
    (call,) = built(turns)["messages"][1]["content"]
    assert call["input"] == {"malformed_arguments": '{"a": '}


def test_blank_text_is_left_out_and_so_is_a_turn_of_nothing_else() -> None:
    turns = [
        Message.user(["x", " ", "y"]),
        Message.assistant("\n\n"),
        Message.user("z"),
        Message.system(" "),
    ]
    body = built(turns)
    (turn,) = body["messages"]
    assert [block["text"] for block in turn["content"]] == ["x", "y", "z"]
    assert "system" not in body


@pytest.mark.parametrize(
    "turns",
    [
        " ",
        [Message.system("be brief")],
        [Message.user([" "])],
        [USER, Message.assistant("y"), Message.user("\n")],
        [USER, Message.assistant("y"), Message.user("\n"), Message.system("be brief")],
    ],
)
def test_a_conversation_of_nothing_is_refused(turns: Any) -> None:
    with pytest.raises(ConfigurationError, match="nothing to answer"):
        built(turns)


def test_the_answer_goes_on_from_the_assistants_last_words() -> None:
    turns = [USER, Message.assistant("The answer is ")]
    assert built(turns)["messages"][1]["content"] == "The answer is"
    assert built([*turns, USER])["messages"][1]["content"] == "The answer is "


def test_a_conversation_may_begin_with_the_assistant() -> None:
    assert [t["role"] for t in built([Message.assistant("Hello!"), USER])["messages"]] == [
        "assistant",
        "user",
    ]


# Ids of calls.


@st.composite
def ids(draw: st.DrawFn) -> list[str]:
    """Ids of calls in their order, some of an alphabet the API refuses, some used twice."""
    one = st.text("ab:._- é|", min_size=1, max_size=3) | st.sampled_from(["a", "a_", "a:"])
    return draw(st.lists(one, min_size=1, max_size=6))


@given(ids())
def test_ids_are_of_the_apis_alphabet_and_tell_calls_apart(found: list[str]) -> None:
    turns = [USER]
    for number, identity in enumerate(found):
        turns.append(Message.assistant(None, [ToolCall(identity, "f", {"n": number})]))
        turns.append(Message.tool(ToolResult(identity, "f", str(number))))
    body = built(turns)
    sent = [
        block
        for turn in body["messages"][1:]
        for block in turn["content"]
        if block["type"] in ("tool_use", "tool_result")
    ]
    uses, results = sent[::2], sent[1::2]
    assert [use["input"]["n"] for use in uses] == list(range(len(found)))
    assert [result["content"] for result in results] == [str(n) for n in range(len(found))]
    assert [use["id"] for use in uses] == [result["tool_use_id"] for result in results]
    assert len({use["id"] for use in uses}) == len(found)
    seen = set()
    for use, identity in zip(uses, found, strict=True):
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", use["id"])
        if re.fullmatch(r"[a-zA-Z0-9_-]+", identity) and identity not in seen:
            assert use["id"] == identity
        seen.add(identity)
    shorter = built(turns[:-2] or turns)
    assert shorter["messages"] == body["messages"][: len(shorter["messages"])]


def test_half_a_surrogate_pair_in_an_id_is_no_trouble() -> None:
    turns = [
        USER,
        Message.assistant(None, [ToolCall("a\ud800", "f"), ToolCall("a\udfff", "f")]),
    ]
    first, second = built(turns)["messages"][1]["content"]
    assert first["id"] != second["id"]


# The system prompt and the cache.


def test_system_messages_are_the_system_prompt_wherever_they_stand() -> None:
    turns = [Message.system("a"), USER, Message.system("b"), Message.assistant("y"), USER]
    body = built(turns)
    assert body["system"] == "a\n\nb"
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]


def test_newer_models_get_them_behind_the_users_turn() -> None:
    turns = [
        Message.system("a"),
        USER,
        Message.system("b"),
        Message.user("y"),
        Message.assistant("z"),
        Message.system("c"),
        Message.system("d"),
        Message.user("w"),
    ]
    body = built(turns, model="claude-opus-4-8")
    assert body["system"] == "a"
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [
        ("user", [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]),
        ("system", "b"),
        ("assistant", "z"),
        ("user", "w"),
        ("system", [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]),
    ]
    late = [USER, Message.assistant("y"), Message.system("b")]
    body = built(late, model="claude-opus-4-8")
    assert body["system"] == "b"
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant"]
    hoisted = built_by(AnthropicMessagesBuilder(system_turns=False), turns, model=NEW)
    assert hoisted["system"] == "a\n\nb\n\nc\n\nd"


def test_the_prompt_cache_marks_the_system_prompt_and_the_last_tool() -> None:
    builder = AnthropicMessagesBuilder(prompt_cache=True)
    other = {"type": "function", "function": {"name": "g", "parameters": {}}}
    body = built_by(builder, [Message.system("a"), USER], [TOOL, other])
    assert body["system"] == [{"type": "text", "text": "a", "cache_control": EPHEMERAL}]
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, EPHEMERAL]
    assert body["messages"] == [{"role": "user", "content": "x"}]
    assert "cache_control" not in json.dumps(built([Message.system("a"), USER], [TOOL]))


def test_a_message_may_be_marked_for_the_cache() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}

    def marked(message: Message) -> Message:
        return Message(
            message.role,
            message.content,
            message.tool_calls,
            message.tool_call_id,
            metadata={"cache_control": mark, "mine": 1},
        )

    turns = [
        marked(Message.system("a")),
        Message.system("b"),
        marked(Message.user(["x", ImagePart(url="https://x/y")])),
        marked(Message.assistant([ThinkingPart("hm", "seal")], [ToolCall("1", "f")])),
        marked(Message.tool(ToolResult("1", "f", "y"))),
        Message.user("z"),
    ]
    body = built(turns)
    assert body["system"] == [
        {"type": "text", "text": "a", "cache_control": mark},
        {"type": "text", "text": "b"},
    ]
    found = [[b.get("cache_control") for b in turn["content"]] for turn in body["messages"]]
    assert found == [[None, mark], [None, mark], [mark, None]]
    assert "mine" not in json.dumps(body)
    thought = ThinkingPart("hm", "seal")  # takes no mark
    for parts, marks in ([thought, "y"], [None, mark]), (["y", thought], [mark, None]):
        blocks = built([USER, marked(Message.assistant(parts)), USER])["messages"][1]["content"]
        assert [block.get("cache_control") for block in blocks] == marks


def test_a_tool_may_be_marked_for_the_cache() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    outer = {**TOOL, "cache_control": mark}
    inner = {"type": "function", "function": {**TOOL["function"], "name": "g"}}
    inner["function"]["cache_control"] = mark
    body = built("x", [outer, inner])
    assert [tool["cache_control"] for tool in body["tools"]] == [mark, mark]
    cached = built_by(AnthropicMessagesBuilder(prompt_cache=True), "x", [outer])
    assert cached["tools"][0]["cache_control"] == mark


def test_a_mark_that_is_none_is_named() -> None:
    turns = [USER, Message.user("y", metadata={"cache_control": "yes"})]
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*cache_control"):
        built(turns)


# Tools.


def test_tools_are_said_in_the_apis_way() -> None:
    bare = {"type": "function", "function": {"name": "g"}}
    loose = {"type": "function", "function": {"name": "h", "parameters": {"$ref": "#/$defs/X"}}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    own = {"type": "custom", "name": "i", "input_schema": SCHEMA, "strict": True}
    assert built("x", [TOOL, bare, loose, search, own])["tools"] == [
        {"name": "f", "description": "d", "input_schema": SCHEMA},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        {"name": "h", "input_schema": {"type": "object", "$ref": "#/$defs/X"}},
        search,
        own,
    ]


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "f"}, {"type": "tool", "name": "f"}),
        ({"tool_choice": TOOL}, {"type": "tool", "name": "f"}),
        ({"tool_choice": {"type": "any"}}, {"type": "any"}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "f", "parallel_tool_calls": False},
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
        (
            {"tool_choice": {"type": "any"}, "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": {"type": "none"}, "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_a_tool_is_chosen(said: dict[str, Any], sent: Any) -> None:
    assert built("x", [TOOL], **said).get("tool_choice") == sent


def test_a_choice_without_tools_says_nothing_or_is_refused() -> None:
    for said in ({"tool_choice": "auto"}, {"tool_choice": "none"}, {"parallel_tool_calls": False}):
        assert "tool_choice" not in built(**said)
    with pytest.raises(ConfigurationError, match="there are no tools"):
        built(tool_choice="required")
    with pytest.raises(ConfigurationError, match=r"tool_choice='g'.*\(f\)"):
        built("x", [TOOL], tool_choice="g")
    with pytest.raises(ConfigurationError, match="there are none"):
        built(tool_choice="g")


def test_no_tool_may_have_the_name_that_answers_go_by() -> None:
    taken = {"type": "function", "function": {"name": "respond_with_schema"}}
    with pytest.raises(ConfigurationError, match="no tool may be called 'respond_with_schema'"):
        built("x", [taken])


# Structured answers.


def test_a_schema_is_a_tool_that_has_to_be_called() -> None:
    body = built("x", [TOOL], response_format=AS_JSON, tool_choice="auto")
    assert [tool["name"] for tool in body["tools"]] == ["f", "respond_with_schema"]
    assert body["tools"][1]["input_schema"] == SCHEMA
    assert body["tools"][1]["description"]
    assert body["tool_choice"] == {
        "type": "tool",
        "name": "respond_with_schema",
        "disable_parallel_tool_use": True,
    }
    assert "output_config" not in body


def test_a_schemas_description_is_the_tools() -> None:
    named = {**AS_JSON["json_schema"], "description": "Where it is."}
    body = built(response_format={"type": "json_schema", "json_schema": named})
    assert body["tools"][0]["description"] == "Where it is."


@pytest.mark.parametrize(
    ("model", "thinking"),
    [("claude-fable-5-1", None), ("claude-opus-5-5", None), (OLD, 2000), (NEW, "adaptive")],
)
def test_where_no_call_can_be_demanded_the_apis_own_way_is_used(model: str, thinking: Any) -> None:
    builder = AnthropicMessagesBuilder(thinking=thinking)
    said: dict[str, Any] = {"response_format": AS_JSON, "model": model, "tool_choice": "auto"}
    body = built_by(builder, "x", [TOOL], **said)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "auto"}
    effort = {"output_config": {"effort": "low"}}
    both = built_by(builder, "x", [TOOL], **said, extra_body=effort)
    assert both["output_config"] == {**body["output_config"], "effort": "low"}


def test_any_json_object_is_asked_for_in_words() -> None:
    body = built([Message.system("a"), USER], response_format={"type": "json_object"})
    assert body["system"].startswith("a\n\n")
    assert "JSON" in body["system"]
    assert built(response_format={"type": "text"}) == built()


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"type": "xml"}, "'xml'"),
        ({}, "not None"),
        ({"type": "json_schema"}, "lacks its schema"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "lacks its schema"),
    ],
)
def test_a_response_format_that_is_none_is_named(said: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        built(response_format=said)


# Options.

SAMPLING_TAKEN = [
    "claude-opus-4-6",
    "claude-opus-4-20250514",
    "claude-opus-4-1-20250805",
    "claude-opus-4",
    "claude-sonnet-4-6",
    "claude-haiku-4-5-20251001",
    "claude-3-5-sonnet-20241022",
    "claude-3-opus-20240229",
    "claude-3-7-sonnet-latest",
    "claude-2.1",
    "claude-instant-1.2",
    "anthropic.claude-v2:1",
    "us.anthropic.claude-opus-4-1-20250805-v1:0",
    "claude-sonnet-4-5@20250929",
    "anthropic/claude-3.5-sonnet",
    "anthropic/claude-opus-4.6",
    "smollm2",
    "qwen3-8b",
    "arn:aws:bedrock:us-west-2:1:application-inference-profile/x",
]
SAMPLING_REFUSED = [
    "claude-opus-4-7",
    "claude-opus-4-7-20260416",
    "claude-opus-4-8",
    "claude-opus-4-10",
    "claude-opus-5",
    "claude-opus-5-5",
    "claude-sonnet-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5",
    "claude-fable-5-1",
    "claude-mythos-preview",
    "claude-opus-10-20290101",
    "claude-next-latest",
    "us.anthropic.claude-opus-4-7-v1:0",
    "claude-opus-4-8@20260528",
    "anthropic/claude-opus-4.7",
    "Claude-Opus-4-7",
]


@pytest.mark.parametrize("model", SAMPLING_TAKEN)
def test_older_models_get_a_temperature_or_else_top_p(model: str) -> None:
    body = built(model=model, temperature=0.0, top_p=0.5)
    assert body["temperature"] == 0
    assert "top_p" not in body
    body = built(model=model, top_p=0.5)
    assert body["top_p"] == 0.5
    assert "temperature" not in body


@pytest.mark.parametrize("model", SAMPLING_REFUSED)
def test_newer_models_get_neither(model: str) -> None:
    assert not {"temperature", "top_p"} & built(model=model, temperature=0.5, top_p=0.5).keys()
    told = AnthropicMessagesBuilder(sampling=True)
    assert built_by(told, model=model, temperature=0.5)["temperature"] == 0.5


@pytest.mark.parametrize(
    ("model", "forced", "turns"),
    [
        ("claude-opus-4-7", True, False),
        ("claude-opus-4-8", True, True),
        ("claude-opus-5", True, True),
        ("claude-fable-5", True, True),
        ("claude-fable-5-1", False, True),
        ("claude-opus-5-5", False, True),
        ("claude-sonnet-6", False, True),
        ("claude-mythos-preview", False, False),
        ("claude-3-5-haiku-latest", True, False),
        ("smollm2", True, False),
    ],
)
def test_what_a_model_takes_is_told_by_its_version(model: str, forced: bool, turns: bool) -> None:
    body = built([USER, Message.system("y")], model=model, response_format=AS_JSON)
    assert ("tool_choice" in body) is forced
    assert (body["messages"][-1]["role"] == "system") is turns


@pytest.mark.parametrize("thinking", [1024, "adaptive", {"type": "enabled", "budget_tokens": 9}])
def test_who_thinks_gets_no_sampling_parameters(thinking: Any) -> None:
    body = built_by(AnthropicMessagesBuilder(thinking=thinking), temperature=0.5, top_p=0.5)
    assert not {"temperature", "top_p"} & body.keys()
    if isinstance(thinking, dict):
        assert body["thinking"] == thinking
    extra = built(temperature=0.5, extra_body={"thinking": {"type": "adaptive"}})
    assert "temperature" not in extra
    disabled = AnthropicMessagesBuilder(thinking={"type": "disabled"})
    assert built_by(disabled, temperature=0.5)["temperature"] == 0.5


def test_thinking_is_a_budget_a_type_or_the_apis_mapping() -> None:
    budget = {"type": "enabled", "budget_tokens": 2000}
    for said, sent in ((2000, budget), ("adaptive", {"type": "adaptive"}), (budget, budget)):
        assert built_by(AnthropicMessagesBuilder(thinking=said))["thinking"] == sent
    for bad in (True, 1.5, {}, {"budget_tokens": 5}, ["x"]):
        with pytest.raises(ConfigurationError, match="thinking takes"):
            AnthropicMessagesBuilder(thinking=bad)


def test_the_other_options_are_sent_under_the_apis_names() -> None:
    body = built(stop=["END"], stream=True, seed=1, frequency_penalty=1.0, presence_penalty=1.0)
    assert (body["stop_sequences"], body["stream"]) == (["END"], True)
    assert body.keys() == {"model", "max_tokens", "messages", "stop_sequences", "stream"}


@pytest.mark.parametrize("stop", ["\n", "", ["END", " "]])
def test_a_stop_sequence_that_the_api_refuses_is_named(stop: Any) -> None:
    with pytest.raises(ConfigurationError, match="stop="):
        built(stop=stop)


def test_the_longest_answer_has_to_be_said() -> None:
    with pytest.raises(ConfigurationError, match="max_tokens"):
        built(max_tokens=None)


def test_extra_body_wins() -> None:
    body = built(max_tokens=5, extra_body={"max_tokens": 7, "top_k": 2})
    assert (body["max_tokens"], body["top_k"]) == (7, 2)


def test_mappings_of_any_kind_are_json() -> None:
    frozen = FrozenDict({"type": "json_schema", "json_schema": FrozenDict(AS_JSON["json_schema"])})
    for form in (frozen, MappingProxyType(AS_JSON)):
        assert built(response_format=form) == built(response_format=AS_JSON)
    call = ToolCall("1", "f", MappingProxyType({"a": MappingProxyType({"b": 1})}))
    (block,) = built([USER, Message.assistant(None, [call])])["messages"][1]["content"]
    assert block["input"] == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("turns", "named"),
    [
        ([Message.system([ImagePart(url="https://x")]), USER], r"messages\[0\].*no image"),
        ([USER, Message.assistant(["x", ImagePart(url="https://x")])], r"messages\[1\].*images"),
        ([USER, Message.user([ImagePart(url="data:,")])], r"messages\[1\].*data:"),
        ([USER, Message.user([ImagePart(url="data:image/png;base64,??")])], r"messages\[1\]"),
        (
            [USER, Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "g", {"a": len})])],
            r"messages\[1\]\.tool_calls\[1\]",
        ),
        ([], "empty"),
    ],
)
def test_what_the_format_cannot_carry_is_named(turns: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        built(turns)


@pytest.mark.parametrize(
    "said",
    [
        {"extra_body": {"a": object()}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": object()}}}]},
    ],
)
def test_what_is_no_json_is_a_configuration_error(said: Any) -> None:
    with pytest.raises(ConfigurationError, match="object"):
        built(**said)


@given(halves(), texts(max_size=5))
def test_half_a_surrogate_pair_is_named_wherever_it_stands(half: str, text: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": half, "parameters": {}}}
    call = ToolCall("1", "f", {"a": half})
    key = ToolCall("1", "f", {half: "a"})
    odd = ToolCall("1", "f", malformed_arguments=half)
    for turns, given_ in (
        (half, None),
        ([Message.system(half), USER], None),
        ([Message.user([text, half])], None),
        ([USER, Message.assistant(half)], None),
        ([USER, Message.assistant(None, [call])], None),
        ([USER, Message.assistant(None, [key])], None),
        ([USER, Message.assistant(None, [odd])], None),
        ("x", [tool]),
    ):
        with pytest.raises(ConfigurationError, match="surrogate") as caught:
            built(turns, given_)
        str(caught.value).encode()
