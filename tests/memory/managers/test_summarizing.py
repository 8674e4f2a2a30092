"""``SummarizingManager``: one model call replaces old messages by a summary."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus import Agent
from locus.core.conversation import validate_messages
from locus.core.errors import APIError, ConfigurationError, RateLimitError
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    Role,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.memory import SlidingWindowManager, SummarizingManager
from locus.memory.managers import SummaryRequest, is_summary
from locus.testing import FunctionModel, ScriptedModel, text, tool_call
from tests.memory.managers.conversations import check_shortened, long_conversations

SYSTEM = Message.system("Be brief.")


def make_conversation(count: int, start: int = 0) -> tuple[Message, ...]:
    return tuple(
        Message.user(f"question {index}")
        if index % 2 == 0
        else Message.assistant(f"answer {index}")
        for index in range(start, start + count)
    )


def parse_request_lines(request: tuple[Message, ...]) -> list[dict[str, Any]]:
    """The JSON lines of a request for a summary."""
    return [json.loads(line) for line in request[1].text.splitlines()]


@given(long_conversations(), st.integers(0, 6), st.integers(1, 6), st.none() | st.integers(0, 100))
def test_a_summary_replaces_the_dropped_messages_and_no_others(
    conversation: tuple[Message, ...], keep_last: int, extra: int, max_tokens: int | None
) -> None:
    manager = SummarizingManager(
        ScriptedModel("A summary.", cycle=True),
        keep_last=keep_last,
        threshold=keep_last + extra,
        max_tokens=max_tokens,
        counter=lambda message: 1 + len(message.text),
    )
    shortened = manager.apply_sync(conversation)
    assert validate_messages(shortened, accepted_parts=None) == shortened
    check_shortened(conversation, shortened)
    summaries = [message for message in shortened if is_summary(message)]
    replaced_count = len(conversation) - (len(shortened) - len(summaries))
    assert len(summaries) <= 1
    assert sum(message.metadata["summary_of"] for message in summaries) == replaced_count
    if len(conversation) <= keep_last + extra and max_tokens is None:
        assert shortened == conversation
    assert manager.apply_sync(shortened) == shortened


@given(long_conversations(), st.integers(0, 8))
def test_a_window_can_follow_a_summary(conversation: tuple[Message, ...], size: int) -> None:
    manager = SummarizingManager(ScriptedModel("So.", cycle=True), keep_last=2, threshold=3)
    shortened = manager.apply_sync(conversation)
    window = SlidingWindowManager(size).apply(shortened)
    assert validate_messages(window, accepted_parts=None) == window
    user_messages = [message for message in conversation if message.role is Role.USER]
    if user_messages:
        assert user_messages[-1] in window


def test_old_messages_are_replaced_by_one_after_the_system_message() -> None:
    model = ScriptedModel("  They asked and answered.\n")
    manager = SummarizingManager(model, keep_last=4, threshold=9)
    assert manager.apply((SYSTEM, *make_conversation(9))) == (
        SYSTEM,
        *make_conversation(9),
    )
    assert not model.calls
    shortened = manager.apply_sync((SYSTEM, *make_conversation(10)))
    summary = shortened[1]
    assert shortened == (SYSTEM, summary, *make_conversation(4, start=6))
    assert summary.role is Role.USER
    assert summary.text == "[Summary of 6 earlier messages]\nThey asked and answered."
    assert summary.metadata == {"summary_of": 6}
    assert [line["text"] for line in parse_request_lines(model.calls[0].messages)] == [
        message.text for message in make_conversation(6)
    ]
    assert model.calls[0].tools == ()


def test_a_summary_is_summarized_with_the_messages_after_it() -> None:
    model = ScriptedModel("First.", "Second.")
    manager = SummarizingManager(model, keep_last=2, threshold=5)
    shortened = manager.apply_sync((SYSTEM, *make_conversation(6)))
    assert manager.apply_sync((*shortened, *make_conversation(2, start=6))) == (
        *shortened,
        *make_conversation(2, start=6),
    )
    shortened_again = manager.apply_sync((*shortened, *make_conversation(4, start=6)))
    assert shortened_again == (
        SYSTEM,
        Message.user("[Summary of 8 earlier messages]\nSecond.", metadata={"summary_of": 8}),
        *make_conversation(2, start=8),
    )
    lines = parse_request_lines(model.calls[1].messages)
    assert [line["role"] for line in lines] == ["summary", "user", "assistant", "user", "assistant"]
    assert lines[0]["text"].endswith("First.")


def test_in_a_long_run_the_summary_follows_the_question() -> None:
    tool_messages: list[Message] = []
    for index in range(10):
        tool_messages.append(
            Message.assistant(None, [ToolCall(f"c{index}", "find", {"page": index})])
        )
        tool_messages.append(Message.tool(ToolResult(f"c{index}", "find", f"found {index}")))
    model = ScriptedModel("Searched.")
    manager = SummarizingManager(model, keep_last=5, threshold=10)
    question = Message.user("Find it.")
    shortened = manager.apply_sync((SYSTEM, question, *tool_messages))
    assert shortened[:2] == (SYSTEM, question)
    assert is_summary(shortened[2])
    assert shortened[3:] == tuple(
        tool_messages[-4:]
    )  # two groups and the question are five messages
    first, second, *_ = parse_request_lines(model.calls[0].messages)
    assert first["calls"] == [{"id": "c0", "tool": "find", "arguments": '{"page":0}'}]
    assert second == {"role": "tool", "name": "find", "text": "found 0", "answers": "c0"}


def test_a_summary_is_made_for_max_tokens_alone() -> None:
    model = ScriptedModel("Long.")
    manager = SummarizingManager(
        model, threshold=None, max_tokens=100, counter=lambda m: len(m.text)
    )
    conversation = (Message.user("a" * 60), Message.assistant("b" * 40), Message.user("c" * 20))
    assert manager.apply_sync(conversation[:2]) == conversation[:2]
    shortened = manager.apply_sync(conversation)
    assert is_summary(shortened[0])
    assert (
        shortened[1:] == conversation[2:]
    )  # with the answer, more than half of the tokens would be kept


def test_the_request_has_the_images_of_old_messages_but_not_their_thinking() -> None:
    image = ImagePart(data=b"\x89PNG", media_type="image/png")
    conversation = (
        Message.user(["Look:", image]),
        Message.assistant([ThinkingPart("hm", "signature"), "A cat."]),
        *make_conversation(2, start=2),
    )
    model = ScriptedModel("A cat was shown.")
    SummarizingManager(model, keep_last=2, threshold=3).apply_sync(conversation)
    content = model.calls[0].messages[1].content
    assert isinstance(content, tuple)
    assert content[1] == image
    assert "hm" not in model.calls[0].messages[1].text
    assert [line["role"] for line in parse_request_lines(model.calls[0].messages)] == [
        "user",
        "assistant",
    ]


def test_after_a_failed_model_call_no_message_is_dropped() -> None:
    rate_limit_error = RateLimitError("slow down", status_code=429)
    manager = SummarizingManager(ScriptedModel(rate_limit_error), keep_last=2, threshold=3)
    with pytest.raises(RateLimitError):
        manager.apply_sync(make_conversation(8))


@pytest.mark.parametrize(
    "response",
    [
        Message.assistant(" \n"),
        Message.assistant([RefusalPart("I cannot help with that.")]),
        text("I cannot", stop_reason="refusal"),
        text("The user", stop_reason="content_filter"),
        text("The us", stop_reason="insufficient_system_resource"),
        tool_call("look"),
    ],
)
def test_a_response_that_is_no_summary_drops_nothing(response: Any) -> None:
    manager = SummarizingManager(FunctionModel(lambda *_: response), keep_last=2, threshold=3)
    with pytest.raises(APIError, match=r"summarize 6 messages.*nothing was dropped"):
        manager.apply_sync(make_conversation(8))
    with pytest.raises(APIError, match="nothing was dropped"):
        Agent(ScriptedModel("x"), conversation_manager=manager).run_sync(make_conversation(9))


def test_the_managers_model_has_priority_over_the_agents() -> None:
    own_model, agent_model = ScriptedModel("own"), ScriptedModel("the agent's")
    manager = SummarizingManager(own_model, keep_last=2, threshold=3)
    assert "own" in manager.apply_sync(make_conversation(4), agent_model)[0].text
    manager = SummarizingManager(keep_last=2, threshold=3)
    assert "the agent's" in manager.apply_sync(make_conversation(4), agent_model)[0].text


def test_without_a_model_the_error_says_where_to_pass_one() -> None:
    manager = SummarizingManager(keep_last=2, threshold=3)
    with pytest.raises(ConfigurationError, match="pass model= here, or to the manager"):
        manager.apply_sync(make_conversation(4))
    with pytest.raises(ConfigurationError, match="aapply"):
        manager.apply(make_conversation(4))

    class AsyncOnly:
        async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return await ScriptedModel("async").complete(messages)

        def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return ScriptedModel("async").stream(messages)

    with pytest.raises(ConfigurationError, match=r"AsyncOnly has no complete_sync.*aapply"):
        manager.apply_sync(make_conversation(4), AsyncOnly())


def test_reduce_yields_a_summary_request() -> None:
    model = ScriptedModel("x")
    reduction = SummarizingManager(model, keep_last=2, threshold=3).reduce(make_conversation(4))
    summary_request = next(reduction)
    assert isinstance(summary_request, SummaryRequest)
    assert summary_request.model is model
    assert [message.role for message in summary_request.messages] == [Role.SYSTEM, Role.USER]
    with pytest.raises(StopIteration) as stop:
        reduction.send("By hand.")
    assert stop.value.value[0].text.endswith("By hand.")
    assert SummarizingManager.rewrites


def test_ashorten_gives_the_same_as_shorten_sync(anyio_backend: str) -> None:
    async def run() -> tuple[Message, ...]:
        manager = SummarizingManager(keep_last=2, threshold=3)
        return await manager.aapply(make_conversation(6), ScriptedModel("Summary."))

    blocking = SummarizingManager(keep_last=2, threshold=3)
    expected = blocking.apply_sync(make_conversation(6), ScriptedModel("Summary."))
    assert anyio.run(run, backend=anyio_backend) == expected
