"""Summaries in the place of old turns: made once, found again, and never instead of nothing."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.conversation import conversation
from locus.core.errors import APIError, ConfigurationError, RateLimitError
from locus.core.messages import ImagePart, Message, Role, ThinkingPart, ToolCall, ToolResult
from locus.memory import SlidingWindowManager, SummarizingManager
from locus.memory.managers import Summarize, is_summary
from locus.testing import FunctionModel, ScriptedModel
from tests.memory.managers.conversations import check_shortened, long_conversations

SYSTEM = Message.system("Be brief.")


def talk(count: int, start: int = 0) -> tuple[Message, ...]:
    return tuple(
        Message.user(f"question {at}") if at % 2 == 0 else Message.assistant(f"answer {at}")
        for at in range(start, start + count)
    )


def told(request: tuple[Message, ...]) -> list[dict[str, Any]]:
    """The lines of a request for a summary."""
    return [json.loads(line) for line in request[1].text.splitlines()]


@given(long_conversations(), st.integers(0, 6), st.integers(1, 6), st.none() | st.integers(0, 100))
def test_a_summary_stands_for_what_is_gone_and_for_nothing_else(
    turns: tuple[Message, ...], keep: int, more: int, tokens: int | None
) -> None:
    manager = SummarizingManager(
        ScriptedModel("It was said.", cycle=True),
        keep_last=keep,
        threshold=keep + more,
        max_tokens=tokens,
        counter=lambda message: 1 + len(message.text),
    )
    short = manager.apply_sync(turns)
    assert conversation(short) == short
    check_shortened(turns, short)
    found = [message for message in short if is_summary(message)]
    gone = len(turns) - (len(short) - len(found))
    assert len(found) <= 1
    assert sum(message.metadata["summary_of"] for message in found) == gone
    if len(turns) <= keep + more and tokens is None:
        assert short == turns
    assert manager.apply_sync(short) == short


@given(long_conversations(), st.integers(0, 8))
def test_a_summary_survives_a_window_and_a_window_a_summary(
    turns: tuple[Message, ...], size: int
) -> None:
    manager = SummarizingManager(ScriptedModel("So.", cycle=True), keep_last=2, threshold=3)
    short = manager.apply_sync(turns)
    window = SlidingWindowManager(size).apply(short)
    assert conversation(window) == window
    said = [message for message in turns if message.role is Role.USER]
    if said:
        assert said[-1] in window


def test_old_turns_become_one_message_behind_the_instructions() -> None:
    model = ScriptedModel("  They asked and answered.\n")
    manager = SummarizingManager(model, keep_last=4, threshold=9)
    assert manager.apply((SYSTEM, *talk(9))) == (SYSTEM, *talk(9))
    assert not model.calls
    short = manager.apply_sync((SYSTEM, *talk(10)))
    summary = short[1]
    assert short == (SYSTEM, summary, *talk(4, start=6))
    assert summary.role is Role.USER
    assert summary.text == "[Summary of 6 earlier messages]\nThey asked and answered."
    assert summary.metadata == {"summary_of": 6}
    assert [line["text"] for line in told(model.calls[0].messages)] == [
        message.text for message in talk(6)
    ]
    assert model.calls[0].tools == ()


def test_a_summary_is_summarised_with_what_came_after_it() -> None:
    model = ScriptedModel("First.", "Second.")
    manager = SummarizingManager(model, keep_last=2, threshold=5)
    short = manager.apply_sync((SYSTEM, *talk(6)))
    assert manager.apply_sync((*short, *talk(2, start=6))) == (*short, *talk(2, start=6))
    again = manager.apply_sync((*short, *talk(4, start=6)))
    assert again == (
        SYSTEM,
        Message.user("[Summary of 8 earlier messages]\nSecond.", metadata={"summary_of": 8}),
        *talk(2, start=8),
    )
    lines = told(model.calls[1].messages)
    assert [line["role"] for line in lines] == ["summary", "user", "assistant", "user", "assistant"]
    assert lines[0]["text"].endswith("First.")


def test_in_a_long_run_the_summary_comes_behind_the_question() -> None:
    rounds: list[Message] = []
    for at in range(10):
        rounds.append(Message.assistant(None, [ToolCall(f"c{at}", "find", {"page": at})]))
        rounds.append(Message.tool(ToolResult(f"c{at}", "find", f"found {at}")))
    model = ScriptedModel("Searched.")
    manager = SummarizingManager(model, keep_last=5, threshold=10)
    asked = Message.user("Find it.")
    short = manager.apply_sync((SYSTEM, asked, *rounds))
    assert short[:2] == (SYSTEM, asked)
    assert is_summary(short[2])
    assert short[3:] == tuple(rounds[-4:])  # two rounds and the question are five
    first, second, *_ = told(model.calls[0].messages)
    assert first["calls"] == [{"id": "c0", "tool": "find", "arguments": '{"page":0}'}]
    assert second == {"role": "tool", "name": "find", "text": "found 0", "answers": "c0"}


def test_tokens_alone_make_it_time_for_a_summary() -> None:
    model = ScriptedModel("Long.")
    manager = SummarizingManager(
        model, threshold=None, max_tokens=100, counter=lambda m: len(m.text)
    )
    turns = (Message.user("a" * 60), Message.assistant("b" * 40), Message.user("c" * 20))
    assert manager.apply_sync(turns[:2]) == turns[:2]
    short = manager.apply_sync(turns)
    assert is_summary(short[0])
    assert short[1:] == turns[2:]  # with the answer it would be more than half


def test_the_images_of_old_turns_are_shown_and_their_thinking_is_not() -> None:
    image = ImagePart(data=b"\x89PNG", media_type="image/png")
    turns = (
        Message.user(["Look:", image]),
        Message.assistant([ThinkingPart("hm", "sealed"), "A cat."]),
        *talk(2, start=2),
    )
    model = ScriptedModel("A cat was shown.")
    SummarizingManager(model, keep_last=2, threshold=3).apply_sync(turns)
    content = model.calls[0].messages[1].content
    assert isinstance(content, tuple)
    assert content[1] == image
    assert "hm" not in model.calls[0].messages[1].text
    assert [line["role"] for line in told(model.calls[0].messages)] == ["user", "assistant"]


def test_a_summary_that_fails_is_an_error_and_not_a_loss() -> None:
    refused = RateLimitError("slow down", status_code=429)
    manager = SummarizingManager(ScriptedModel(refused), keep_last=2, threshold=3)
    with pytest.raises(RateLimitError):
        manager.apply_sync(talk(8))
    silent = SummarizingManager(
        FunctionModel(lambda *_: Message.assistant(" \n")), keep_last=2, threshold=3
    )
    with pytest.raises(APIError, match=r"summarise 6 messages.*nothing was dropped"):
        silent.apply_sync(talk(8))


def test_the_manager_s_own_model_is_asked_before_the_agent_s() -> None:
    own, agents = ScriptedModel("own"), ScriptedModel("the agent's")
    manager = SummarizingManager(own, keep_last=2, threshold=3)
    assert "own" in manager.apply_sync(talk(4), agents)[0].text
    manager = SummarizingManager(keep_last=2, threshold=3)
    assert "the agent's" in manager.apply_sync(talk(4), agents)[0].text


def test_without_a_model_to_ask_it_says_where_to_give_one() -> None:
    manager = SummarizingManager(keep_last=2, threshold=3)
    with pytest.raises(ConfigurationError, match="pass model= here, or to the manager"):
        manager.apply_sync(talk(4))
    with pytest.raises(ConfigurationError, match="aapply"):
        manager.apply(talk(4))

    class AsyncOnly:
        async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return await ScriptedModel("async").complete(messages)

        def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return ScriptedModel("async").stream(messages)

    with pytest.raises(ConfigurationError, match=r"AsyncOnly has no complete_sync.*aapply"):
        manager.apply_sync(talk(4), AsyncOnly())


def test_it_asks_by_an_effect_that_an_agent_can_carry_out() -> None:
    model = ScriptedModel("x")
    effects = SummarizingManager(model, keep_last=2, threshold=3).reduce(talk(4))
    effect = next(effects)
    assert isinstance(effect, Summarize)
    assert effect.model is model
    assert [message.role for message in effect.messages] == [Role.SYSTEM, Role.USER]
    with pytest.raises(StopIteration) as done:
        effects.send("By hand.")
    assert done.value.value[0].text.endswith("By hand.")
    assert SummarizingManager.rewrites


def test_it_works_the_same_awaited(anyio_backend: str) -> None:
    async def run() -> tuple[Message, ...]:
        manager = SummarizingManager(keep_last=2, threshold=3)
        return await manager.aapply(talk(6), ScriptedModel("Said."))

    blocking = SummarizingManager(keep_last=2, threshold=3)
    expected = blocking.apply_sync(talk(6), ScriptedModel("Said."))
    assert anyio.run(run, backend=anyio_backend) == expected
