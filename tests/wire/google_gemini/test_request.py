"""Requests to Gemini: what no other format has."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, ToolCall
from locus.wire.google_gemini import GeminiBuilder, GeminiParser

GEMINI_3 = "gemini-3-flash-preview"
SKIP = "skip_thought_signature_validator"


def build(*messages: Message, model: str = GEMINI_3, **options: Any) -> dict[str, Any]:
    return GeminiBuilder().build(messages, None, model=model, **options)


def parse(*parts: dict[str, Any]) -> Message:
    body = {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP"}]}
    return GeminiParser().parse(json.dumps(body)).message


THOUGHT = {"text": "hm", "thought": True}
TEXT = {"text": "yes", "thoughtSignature": "c2ln"}
CALL = {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}
OTHER_CALL = {"functionCall": {"id": "2", "name": "g", "args": {}}}


def test_signed_parts_are_sent_back_as_they_came() -> None:
    contents = build(Message.user("x"), parse(THOUGHT, TEXT, CALL, OTHER_CALL))["contents"]
    assert contents[1] == {"role": "model", "parts": [THOUGHT, TEXT, CALL, OTHER_CALL]}


def test_an_empty_part_with_a_signature_is_sent_back() -> None:
    empty = {"text": "", "thoughtSignature": "c2ln"}
    message = parse({"text": "yes"}, empty)
    contents = build(Message.user("x"), message, Message.user("y"))["contents"]
    assert contents[1]["parts"] == [{"text": "yes"}, empty]


def test_thoughts_of_a_message_without_signed_text_are_not_sent() -> None:
    contents = build(Message.user("x"), parse(THOUGHT, {"text": "yes"}, CALL))["contents"]
    assert contents[1]["parts"] == [{"text": "yes"}, CALL]


def test_signatures_are_not_sent_after_the_text_was_changed() -> None:
    message = attrs.evolve(parse(THOUGHT, TEXT), content="no")
    contents = build(Message.user("x"), message, Message.user("y"))["contents"]
    assert contents[1]["parts"] == [{"text": "no"}]


@pytest.mark.parametrize(
    ("model", "signature"), [(GEMINI_3, SKIP), ("gemini-3.5-pro", SKIP), ("gemini-2.5-pro", None)]
)
def test_the_first_call_of_another_model_skips_the_validation(
    model: str, signature: str | None
) -> None:
    calls = [ToolCall("1", "f"), ToolCall("2", "g")]
    contents = build(Message.user("x"), Message.assistant(None, calls), model=model)["contents"]
    signatures = [part.get("thoughtSignature") for part in contents[1]["parts"]]
    assert signatures == [signature, None]


def test_the_thinking_of_each_generation() -> None:
    def read(model: str, effort: str) -> Any:
        body = build(Message.user("x"), model=model, reasoning_effort=effort)
        return body["generationConfig"]["thinkingConfig"]

    assert read("gemini-2.5-flash", "none") == {"thinkingBudget": 0, "includeThoughts": False}
    assert read("gemini-2.5-flash", "high") == {"thinkingBudget": 24576, "includeThoughts": True}
    assert read(GEMINI_3, "high") == {"thinkingLevel": "high", "includeThoughts": True}
    with pytest.raises(ConfigurationError, match="has minimal, low, medium, high"):
        read(GEMINI_3, "none")


def test_googles_own_tools_stand_beside_functions() -> None:
    function = {"type": "function", "function": {"name": "look"}}
    own = [{"google_search": {}}, {"type": "code_execution"}, {"type": "x", "limit": 3}]
    body = GeminiBuilder().build("hi", [own[0], function, *own[1:]], model=GEMINI_3)
    declarations, *others = body["tools"]
    assert [one["name"] for one in declarations["functionDeclarations"]] == ["look"]
    assert others == [{"google_search": {}}, {"code_execution": {}}, {"x": {"limit": 3}}]
    assert GeminiBuilder().build("hi", own[:1], model=GEMINI_3)["tools"] == own[:1]


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("f", {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        ("required", {"mode": "ANY"}),
        ({"functionCallingConfig": {"mode": "VALIDATED"}}, {"mode": "VALIDATED"}),
        ("g", None),
        ({"type": "function", "function": {"name": "g"}}, None),
        ({"type": "tool", "name": "f"}, None),
        ([], None),
    ],
    ids=str,
)
def test_a_choice_of_a_tool_is_in_google_s_form(choice: Any, config: dict[str, Any] | None) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

    def build_config() -> Any:
        body = GeminiBuilder().build("x", [tool], model=GEMINI_3, tool_choice=choice)
        return body["toolConfig"]["functionCallingConfig"]

    if config is not None:
        assert build_config() == config
        return
    with pytest.raises(ConfigurationError, match="tool_choice"):
        build_config()
