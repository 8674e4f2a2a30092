"""Tests of ``thinking=`` by the model's family, and of what a model that thinks rejects."""

from __future__ import annotations

from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import Message
from locus.models.native.anthropic import AnthropicModel

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def build_request(model: str, messages: Any = "x", tools: Any = (), **options: Any) -> Any:
    config = {name: options.pop(name) for name in ("thinking", "max_tokens") if name in options}
    return AnthropicModel(model, api_key="k", **config).request(messages, tools, **options)


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("claude-3-7-sonnet-20250219", 1024, {"type": "enabled", "budget_tokens": 1024}),
        ("claude-haiku-4-5", 2000, {"type": "enabled", "budget_tokens": 2000}),
        ("us.anthropic.claude-opus-4-6-v1:0", 2000, {"type": "enabled", "budget_tokens": 2000}),
        ("claude-opus-4-6", "adaptive", {"type": "adaptive"}),
        ("claude-opus-5-5", "adaptive", {"type": "adaptive"}),
        ("claude-opus-5-5", {"type": "disabled"}, {"type": "disabled"}),
        ("kimi-k2-thinking", 10, {"type": "enabled", "budget_tokens": 10}),
        ("arn:aws:bedrock:profile/x", 5000, {"type": "enabled", "budget_tokens": 5000}),
    ],
)
def test_thinking_is_sent_as_the_model_accepts_it(model: str, thinking: Any, expected: Any) -> None:
    assert build_request(model, thinking=thinking)["thinking"] == expected


@pytest.mark.parametrize(
    ("model", "thinking", "pattern"),
    [
        ("claude-opus-4-7", 2000, "takes no number of tokens; use thinking='adaptive'"),
        ("anthropic/claude-sonnet-5", {"type": "enabled", "budget_tokens": 2000}, "'adaptive'"),
        ("claude-sonnet-4-5", "adaptive", "takes a number of tokens instead"),
        ("claude-sonnet-4-5", 1023, "1024"),
        ("claude-sonnet-4-5", {"type": "enabled"}, "1024"),
        ("claude-sonnet-4-5", 4096, "max_tokens=4096 includes the thinking"),
        ("claude-3-5-haiku-latest", 2000, "does not think"),
    ],
)
def test_thinking_that_the_model_rejects_is_reported(
    model: str, thinking: Any, pattern: str
) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        build_request(model, thinking=thinking)


def test_the_max_tokens_of_a_call_must_leave_room() -> None:
    with pytest.raises(ConfigurationError, match="max_tokens=1500"):
        AnthropicModel("claude-haiku-4-5", api_key="k", thinking=2000).request("x", max_tokens=1500)


def test_interleaved_thinking_may_exceed_max_tokens() -> None:
    headers = {"Anthropic-Beta": "interleaved-thinking-2025-05-14"}
    options: dict[str, Any] = {"thinking": 9000, "extra_headers": headers}
    assert build_request("claude-sonnet-4-5", tools=[LOOK], **options)["max_tokens"] == 4096
    with pytest.raises(ConfigurationError, match="max_tokens"):
        build_request("claude-sonnet-4-5", **options)


@pytest.mark.parametrize("tool_choice", ["required", "look", {"type": "any"}])
@pytest.mark.parametrize(
    ("model", "thinking"),
    [("claude-sonnet-4-5", 2000), ("claude-opus-4-6", "adaptive"), ("claude-opus-5-5", None)],
)
def test_forced_call_that_the_model_rejects_is_reported(
    model: str, thinking: Any, tool_choice: Any
) -> None:
    with pytest.raises(ConfigurationError, match="cannot be made to call a tool"):
        build_request(model, tools=[LOOK], thinking=thinking, tool_choice=tool_choice)


@pytest.mark.parametrize("tool_choice", ["auto", "none"])
def test_thinking_goes_with_other_tool_choices(tool_choice: str) -> None:
    options: dict[str, Any] = {"thinking": 2000, "tool_choice": tool_choice}
    body = build_request("claude-sonnet-4-5", tools=[LOOK], **options)
    assert body["tool_choice"] == {"type": tool_choice}


PREFILL = [Message.user("as JSON"), Message.assistant("{")]


@pytest.mark.parametrize(
    ("model", "thinking"),
    [("claude-opus-4-6", None), ("claude-sonnet-5", None), ("claude-sonnet-4-5", 2000)],
)
def test_beginning_of_the_response_that_the_model_rejects_is_reported(
    model: str, thinking: Any
) -> None:
    with pytest.raises(ConfigurationError, match="ends with an assistant message"):
        build_request(model, PREFILL, thinking=thinking)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "smollm2", "claude"])
def test_other_models_continue_the_beginning(model: str) -> None:
    assert build_request(model, PREFILL)["messages"][-1] == {"role": "assistant", "content": "{"}


def test_max_tokens_of_extra_body_count() -> None:
    options: dict[str, Any] = {"thinking": 5000, "extra_body": {"max_tokens": 9000}}
    assert build_request("claude-sonnet-4-5", **options)["max_tokens"] == 9000
