"""Tests of when signed thinking is left out because the conversation before it was changed."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from locus.core.messages import Message, ToolResult
from locus.core.native_state_routing import bind_native_state
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser

BUILDER = AnthropicMessagesBuilder()
RULE = BUILDER.native_state_rule
MODEL = "claude-opus-5-5"
SYSTEM = Message.system("Be brief.")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = Message.tool(ToolResult("t", "f", "ok"))


def build(messages: list[Message], tools: Any = (TOOL,), **options: Any) -> dict[str, Any]:
    return BUILDER.build(messages, tools, **{"model": MODEL, "max_tokens": 9, **options})


def respond(messages: list[Message], *blocks: dict[str, Any], tools: Any = (TOOL,)) -> Message:
    """Return the message of a response to these messages, as a model would return it."""
    body = build(messages, tools)
    response = AnthropicMessagesParser().parse({"content": [THINKING, *blocks]})
    maker = RULE.make_maker(MODEL, "https://a")
    assert RULE.compute_history is not None
    return bind_native_state(response, maker, lambda: RULE.compute_history(body)).message


def count_thinking(body: dict[str, Any]) -> int:
    return sum(
        block["type"] == "thinking"
        for message in body["messages"]
        if not isinstance(message["content"], str)
        for block in message["content"]
    )


@pytest.fixture
def conversation() -> list[Message]:
    """A conversation of two responses with thinking, the first of which calls a tool."""
    messages = [SYSTEM, Message.user("a"), Message.user("b")]
    messages += [respond(messages, CALL), RESULT]
    messages += [respond(messages, {"type": "text", "text": "So."}), Message.user("c")]
    return messages


def test_thinking_after_the_same_conversation_is_sent(conversation: list[Message]) -> None:
    assert count_thinking(build(conversation)) == 2
    cached = AnthropicMessagesBuilder(prompt_cache=True)
    body = cached.build(conversation, [TOOL], model=MODEL, max_tokens=9)
    assert count_thinking(body) == 2  # marks for the cache do not count


@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "claude-fable-5-1", "us.anthropic.claude-fable-5-1-v1:0"]
)
def test_a_changed_system_prompt_drops_all_thinking(
    conversation: list[Message], model: str
) -> None:
    changed = [
        attrs.evolve(
            message,
            native_state=message.native_state
            and attrs.evolve(message.native_state, maker=RULE.make_maker(model)),
        )
        for message in [Message.system("Be long."), *conversation[1:]]
    ]
    body = build(changed, model=model)
    assert count_thinking(body) == 0
    assert [message["role"] for message in body["messages"]] == ["user", "assistant"] * 2 + ["user"]


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-opus-5", "claude-mythos-5-1"])
def test_models_that_do_not_check_it_get_their_thinking(
    conversation: list[Message], model: str
) -> None:
    changed = [
        attrs.evolve(
            message,
            native_state=message.native_state
            and attrs.evolve(message.native_state, maker=RULE.make_maker(model)),
        )
        for message in [Message.system("Be long."), *conversation[1:]]
    ]
    assert count_thinking(build(changed, model=model)) == 2


def test_other_tools_drop_all_thinking(conversation: list[Message]) -> None:
    other = {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}
    assert count_thinking(build(conversation, [other])) == 0


def test_a_message_that_was_left_out_drops_the_thinking_after_it(
    conversation: list[Message],
) -> None:
    assert count_thinking(build([SYSTEM, *conversation[2:]])) == 0


def test_a_changed_result_drops_the_thinking_after_it_only(conversation: list[Message]) -> None:
    shortened = attrs.evolve(RESULT, content="o…")
    changed = [shortened if message is RESULT else message for message in conversation]
    body = build(changed)
    assert count_thinking(body) == 1
    assert body["messages"][1]["content"][0]["type"] == "thinking"


def test_thinking_that_is_missing_before_drops_the_thinking_after_it(
    conversation: list[Message],
) -> None:
    without = attrs.evolve(conversation[3], content=None, native_state=None)
    assert count_thinking(build([*conversation[:3], without, *conversation[4:]])) == 0


def test_a_response_of_thinking_alone_disappears_with_it() -> None:
    messages = [Message.user("a")]
    messages = [*messages, respond(messages, {"type": "compaction", "content": "x"})]
    body = build([SYSTEM, *messages, Message.user("b")])
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert count_thinking(body) == 0


def test_state_without_a_digest_is_sent(conversation: list[Message]) -> None:
    """As of a message that an earlier version has saved."""
    old = [
        attrs.evolve(
            message,
            native_state=message.native_state and attrs.evolve(message.native_state, history=None),
        )
        for message in [Message.system("Be long."), *conversation[1:]]
    ]
    assert count_thinking(build(old)) == 2


def test_called_tools_are_declared_where_there_are_none(conversation: list[Message]) -> None:
    body = build(conversation, ())
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}
    assert "tools" not in build([Message.user("x")], ())
