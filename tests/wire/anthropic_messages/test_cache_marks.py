"""Tests of the marks of ``prompt_cache=``: where they are, how many, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, ThinkingPart, ToolCall, ToolResult
from locus.models.native.anthropic import AnthropicModel

SHORT = {"type": "ephemeral"}
LONG = {"type": "ephemeral", "ttl": "1h"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
DEFERRED = {
    "type": "custom",
    "name": "g",
    "input_schema": {"type": "object"},
    "defer_loading": True,
}


def mark(text: str, cache_control: Any) -> Message:
    return Message.user(text, metadata={"cache_control": cache_control})


def list_marks(messages: Any, tools: Any = (), prompt_cache: Any = True, **options: Any) -> Any:
    """Return the place of each mark and its mark, in the order of the API."""
    model = AnthropicModel("claude-sonnet-4-6", api_key="k", prompt_cache=prompt_cache)
    body = model.request(messages, tools, **options)
    system = body.get("system", "")
    places = [(f"tool {tool['name']}", tool) for tool in body.get("tools", ())]
    places += [("system", block) for block in ([] if isinstance(system, str) else system)]
    for index, message in enumerate(body["messages"]):
        if not isinstance(message["content"], str):
            places += [(f"message {index}", block) for block in message["content"]]
    return [(place, block["cache_control"]) for place, block in places if "cache_control" in block]


SYSTEM = Message.system("Be brief.")
CHAT = [SYSTEM, Message.user("a"), Message.assistant("b"), Message.user("c")]


@pytest.mark.parametrize(("prompt_cache", "expected"), [(True, SHORT), ("5m", SHORT), ("1h", LONG)])
def test_tools_system_prompt_and_end_of_the_conversation_are_marked(
    prompt_cache: Any, expected: Any
) -> None:
    assert list_marks(CHAT, [TOOL], prompt_cache) == [
        ("tool f", expected),
        ("system", expected),
        ("message 2", expected),
    ]


def test_no_marks_without_prompt_cache() -> None:
    assert list_marks(CHAT, [TOOL], False) == []


@pytest.mark.parametrize("value", ["2h", 5, {"type": "ephemeral"}])
def test_invalid_life_is_reported(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="prompt_cache is True"):
        AnthropicModel(api_key="k", prompt_cache=value)


def test_tool_that_is_loaded_later_has_no_mark() -> None:
    assert ("tool f", SHORT) in list_marks("x", [TOOL, DEFERRED])
    assert list_marks("x", [DEFERRED]) == [("message 0", SHORT)]


def test_marks_before_a_long_one_are_long_and_those_behind_a_short_one_short() -> None:
    messages = [SYSTEM, mark("a", LONG), Message.assistant("b"), Message.user("c")]
    assert list_marks(messages, [TOOL]) == [
        ("tool f", LONG),
        ("system", LONG),
        ("message 0", LONG),
        ("message 2", SHORT),
    ]
    messages = [SYSTEM, mark("a", SHORT), Message.assistant("b"), Message.user("c")]
    assert list_marks(messages, (), "1h") == [
        ("system", LONG),
        ("message 0", SHORT),
        ("message 2", SHORT),
    ]


def test_the_callers_marks_come_first() -> None:
    own = [mark("a", SHORT), mark("b", SHORT), mark("c", SHORT)]
    end = [Message.assistant("d"), Message.user("e")]
    places = [place for place, _ in list_marks([SYSTEM, *own, *end], [TOOL])]
    assert places == ["message 0", "message 0", "message 0", "message 2"]
    own.append(mark("d", SHORT))
    assert len(list_marks([SYSTEM, *own, *end], [TOOL])) == 4


def test_the_apis_automatic_mark_takes_a_place() -> None:
    own = [mark("a", SHORT), mark("b", SHORT)]
    options = {"extra_body": {"cache_control": SHORT}}
    assert len(list_marks([SYSTEM, *own, Message.user("e")], [TOOL], True, **options)) == 3


@pytest.mark.parametrize(
    ("marks", "pattern"),
    [([SHORT] * 5, "there are 5 marks"), ([SHORT, LONG], "stands behind one for 5 minutes")],
)
def test_marks_that_the_api_rejects_are_reported(marks: Any, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        list_marks([mark("a", cache_control) for cache_control in marks])


def test_the_last_result_of_a_tool_round_is_marked() -> None:
    calls = [ToolCall("1", "f"), ToolCall("2", "f")]
    results = [Message.tool(ToolResult(call.id, "f", "y")) for call in calls]
    body = AnthropicModel("claude-sonnet-4-6", api_key="k", prompt_cache=True).request(
        [Message.user("a"), Message.assistant(None, calls), *results]
    )
    last = body["messages"][-1]["content"]
    assert [block.get("cache_control") for block in last] == [None, SHORT]


def test_thinking_has_no_mark() -> None:
    answer = Message.assistant(["Let me", ThinkingPart("hm", "seal")])
    model = AnthropicModel("claude-sonnet-4-5", api_key="k", prompt_cache=True)
    last = model.request([Message.user("a"), answer])["messages"][-1]["content"]
    assert [block.get("cache_control") for block in last] == [SHORT, None]
