"""Assessments of an agent's last step, by rules and by judge models."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError, RateLimitError
from locus.core.messages import ToolCall
from locus.core.state import ToolExecution
from locus.reasoning import AgentStep, Reflection, Reflector
from locus.reasoning.reflector import format_guidance
from locus.testing import ScriptedModel
from tests.reasoning.runtime_calls import call_on_runtime


def make_step(*outcomes: bool, letters: str = "A", confidence: float = 0.0) -> AgentStep:
    """A step whose calls succeeded or not, the last of rounds with these tools."""
    executions = [
        ToolExecution("tool", str(i), {}, "fine" if good else None, None if good else "broken")
        for i, good in enumerate(outcomes)
    ]
    rounds = tuple((ToolCall(name=letter),) for letter in letters)
    return AgentStep("the task", tuple(executions), rounds, confidence)


def test_rules_move_the_confidence_towards_the_share_of_good_calls(runtime_name: str) -> None:
    confidences = []
    confidence = 0.0
    for outcomes in ([True], [True, True], [True, False], [False]):
        step = make_step(*outcomes, confidence=confidence)
        reflection = call_on_runtime(runtime_name, Reflector(), "reflect", step)
        confidence = reflection.confidence
        confidences.append(confidence)
    assert confidences == [0.5, 0.75, 0.625, 0.3125]


def test_a_good_step_has_no_guidance_and_a_failed_one_names_the_errors() -> None:
    good = Reflector().reflect_sync(make_step(True))
    assert good == Reflection("1 of 1 tool calls succeeded.", 0.5)
    assert format_guidance(good) is None
    bad = Reflector().reflect_sync(make_step(True, False))
    assert bad is not None
    assert bad.assessment == "1 of 2 tool calls succeeded."
    assert bad.guidance is not None
    assert "- tool: broken" in bad.guidance
    assert str(format_guidance(bad)).startswith("[Note of the agent's own review, not of the user]")


def test_a_long_error_is_shortened_in_the_guidance_because_the_model_has_it_already() -> None:
    execution = ToolExecution("tool", "1", {}, None, f"first {'x' * 10**6} last")
    reflection = Reflector().reflect_sync(AgentStep("the task", (execution,), ((),)))
    assert reflection is not None
    assert reflection.guidance is not None
    assert len(reflection.guidance) < 1500
    assert "first" in reflection.guidance
    assert "last" in reflection.guidance


def test_a_loop_makes_a_step_worthless(runtime_name: str) -> None:
    for letters, words in (("AAA", "the same step"), ("ABAB", "a cycle of 2 steps")):
        step = make_step(True, letters=letters, confidence=0.8)
        reflection = call_on_runtime(runtime_name, Reflector(), "reflect", step)
        assert reflection.loop_detected
        assert reflection.confidence == 0.4
        assert words in reflection.assessment
        assert f"You are repeating {words}" in reflection.guidance


@given(
    st.lists(st.booleans(), max_size=5), st.text("AB", max_size=8), st.floats(0, 1), st.floats(0, 1)
)
def test_the_confidence_by_rules_is_from_0_to_1(
    outcomes: list[bool], letters: str, confidence: float, rate: float
) -> None:
    step = make_step(*outcomes, letters=letters, confidence=confidence)
    reflection = Reflector(rate=rate).reflect_sync(step)
    assert reflection is not None
    assert 0 <= reflection.confidence <= 1
    if outcomes and all(outcomes) and not reflection.loop_detected:
        assert reflection.confidence >= confidence - 1e-12
    if not any(outcomes) or reflection.loop_detected:
        assert reflection.confidence <= confidence


@pytest.mark.parametrize(
    ("keywords", "step", "is_due"),
    [
        ({}, make_step(True), True),
        ({"every": 2}, make_step(True), False),
        ({"every": 2}, make_step(True, letters="AB"), True),
        ({"every": 2}, make_step(True, letters="ABC"), False),
        ({"every": 5}, make_step(True, letters="AAA"), True),
        ({"when": "error"}, make_step(True), False),
        ({"when": "error"}, make_step(True, False), True),
        ({"when": "error"}, make_step(True, letters="AAA"), True),
        ({"when": "loop"}, make_step(False), False),
        ({"when": "loop"}, make_step(True, letters="AAA"), True),
        ({"when": "loop", "loop_threshold": 4}, make_step(True, letters="AAA"), False),
    ],
)
def test_which_steps_are_assessed(keywords: Any, step: AgentStep, is_due: bool) -> None:
    answer = json.dumps({"assessment": "x", "confidence": 0.5})
    model = ScriptedModel(answer)
    assert (Reflector(**keywords).reflect_sync(step) is not None) == is_due
    assert (Reflector(model, **keywords).reflect_sync(step) is not None) == is_due
    assert len(model.calls) == is_due


def test_a_judge_model_assesses_the_step(runtime_name: str) -> None:
    verdict = {"assessment": "On track.", "confidence": 0.9, "guidance": "Ask for Oslo, too."}
    model = ScriptedModel("no JSON", json.dumps(verdict))
    reflection = call_on_runtime(
        runtime_name, Reflector(model), "reflect", make_step(True, False, confidence=0.25)
    )
    assert reflection == Reflection("On track.", 0.9, "Ask for Oslo, too.")
    question = model.calls[0].messages[1].text
    assert "<task>\nthe task\n</task>" in question
    assert "[1] tool({}): failed: broken" in question
    assert "1 of 2 tool calls succeeded. The confidence before the step was 0.25." in question


@pytest.mark.parametrize(("given", "confidence"), [(7, 1.0), (-1, 0.0), (0.5, 0.5)])
def test_the_confidence_of_a_judge_model_is_limited(given: float, confidence: float) -> None:
    model = ScriptedModel(json.dumps({"assessment": "x", "confidence": given}))
    reflection = Reflector(model).reflect_sync(make_step(True))
    assert reflection == Reflection("x", confidence)


def test_loops_are_found_by_rules_also_with_a_judge_model() -> None:
    verdict = {"assessment": "Fine.", "confidence": 0.9, "guidance": None}
    reflection = Reflector(ScriptedModel(json.dumps(verdict))).reflect_sync(
        make_step(True, letters="AAA")
    )
    assert reflection is not None
    assert reflection.loop_detected
    assert "You are repeating the same step" in str(reflection.guidance)


def test_where_the_judge_model_is_of_no_use_the_rules_decide(runtime_name: str) -> None:
    model = ScriptedModel("Fine.", cycle=True)
    reflection = call_on_runtime(runtime_name, Reflector(model), "reflect", make_step(True))
    assert reflection.confidence == 0.5
    assert "1 of 1 tool calls succeeded. (By rules: the response is not a valid StepVerdict" in (
        reflection.assessment
    )
    assert len(model.calls) == 3


def test_errors_of_the_judge_model_are_raised(runtime_name: str) -> None:
    model = ScriptedModel(RateLimitError("slow down", status_code=429))
    with pytest.raises(RateLimitError):
        call_on_runtime(runtime_name, Reflector(model), "reflect", make_step(True))


@pytest.mark.parametrize(
    ("keywords", "error", "pattern"),
    [
        ({"when": "never"}, ConfigurationError, "when is one of 'round', 'error', 'loop'"),
        ({"every": 0}, ConfigurationError, "every must be an integer from 1"),
        ({"every": 1.5}, ConfigurationError, "every must be an integer from 1"),
        ({"loop_threshold": 1}, ConfigurationError, "loop_threshold must be an integer from 2"),
        ({"rate": math.nan}, ConfigurationError, "rate must be a number from 0 to 1"),
        ({"model": object()}, TypeError, "a judge model is a model or a registry string"),
        ({"instructions": 1}, ConfigurationError, "instructions must be a text"),
    ],
)
def test_wrong_arguments_are_errors(keywords: Any, error: Any, pattern: str) -> None:
    with pytest.raises(error, match=pattern):
        Reflector(**keywords)
