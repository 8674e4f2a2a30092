"""Checks of an answer's claims, by rules and by judge models."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError, RateLimitError
from locus.core.state import ToolExecution
from locus.reasoning import GroundingEvaluator, GroundingReport
from locus.testing import ScriptedModel
from tests.reasoning.runtime_calls import call_on_runtime

ROME = ToolExecution("weather", "call_1", {"city": "Rome"}, "sunny, 21.50 degrees; 1,204 visitors")
MISSING = ToolExecution("price", "call_2", {"item": "piano"}, error="LookupError: no piano")


@pytest.mark.parametrize(
    "claim",
    [
        "It is sunny in Rome, with 21.5 degrees.",
        "Rome has 1204 visitors.",
        "The weather of ROME: sunny!",
        "There is no price for the piano.",
    ],
)
def test_rules_accept_what_the_tools_returned(runtime_name: str, claim: str) -> None:
    report = call_on_runtime(runtime_name, GroundingEvaluator(), "evaluate", claim, [ROME, MISSING])
    assert report == GroundingReport(1.0, (claim,), ())
    assert report.accepted


@pytest.mark.parametrize(
    "claim",
    [
        "It is 35 degrees in Rome.",
        "It is cloudy and cold in Oslo.",
        "The mayor is Zoë Quill.",
        "The piano costs 400 euros.",
        "Rome has 12040 visitors.",
    ],
)
def test_rules_see_figures_and_names_that_no_tool_returned(runtime_name: str, claim: str) -> None:
    answer = f"It is sunny in Rome. {claim}"
    report = call_on_runtime(
        runtime_name, GroundingEvaluator(), "evaluate", answer, [ROME, MISSING]
    )
    assert report == GroundingReport(0.5, ("It is sunny in Rome.",), (claim,), accepted=False)


def test_the_question_is_no_evidence_but_may_be_repeated() -> None:
    evidence = {"ceo": "Jane Doe"}

    def check(answer: str) -> bool:
        steps = GroundingEvaluator().evaluate_in_steps(
            answer, evidence, "Who is the chief executive officer of Acme in 2024?"
        )
        with pytest.raises(StopIteration) as stop:
            next(steps)
        return bool(stop.value.value.accepted)

    assert check("The chief executive officer of Acme is Jane Doe.")
    assert not check("The chief executive officer of Acme is Max Roe.")
    assert not check("It is Jane Doe since 2024.")  # the figure is not in the evidence
    assert not check("It is the chief executive officer of Acme.")


def test_courtesies_questions_and_headings_are_no_claims() -> None:
    answer = "Hello! Here you are:\n\n1. It is sunny.\n2) e.g. 21.5 degrees\nCan I help you?"
    report = GroundingEvaluator().evaluate_sync(answer, [ROME])
    assert report == GroundingReport(1.0, ("It is sunny.", "e.g. 21.5 degrees"))
    assert GroundingEvaluator().evaluate_sync("Thank you!", [ROME]) == GroundingReport(1.0)


def test_the_scalars_of_an_answer_in_json_are_claims() -> None:
    answer = json.dumps(
        {"city": "Rome", "degrees": 21.5, "people": {"visitors": 99}, "sky": ["sunny", None, True]}
    )
    report = GroundingEvaluator().evaluate_sync(answer, [ROME])
    assert report.grounded == ("Rome", "degrees: 21.5", "sunny")
    assert report.ungrounded == ("visitors: 99",)


@pytest.mark.parametrize("evidence", [[], (), {}, "", None])
def test_without_evidence_no_claim_is_grounded_and_no_model_is_asked(
    runtime_name: str, evidence: Any
) -> None:
    model = ScriptedModel("never asked")
    for evaluator in (GroundingEvaluator(), GroundingEvaluator(model)):
        report = call_on_runtime(runtime_name, evaluator, "evaluate", "Rome is old.", evidence)
        assert report == GroundingReport(
            0.0, (), ("Rome is old.",), accepted=False, has_evidence=False
        )
        assert call_on_runtime(
            runtime_name, evaluator, "evaluate", "Hello!", evidence
        ) == GroundingReport(1.0, has_evidence=False)
    assert model.calls == []


def make_answer(grounded: list[str], ungrounded: list[str]) -> str:
    return json.dumps({"grounded": grounded, "ungrounded": ungrounded})


@pytest.mark.parametrize(
    ("threshold", "accepted"), [(1.0, False), (0.76, False), (0.75, True), (0.0, True)]
)
def test_a_judge_model_gives_the_claims_and_the_threshold_decides(
    runtime_name: str, threshold: float, accepted: bool
) -> None:
    model = ScriptedModel("hm", make_answer(["a", "b", "c"], ["d"]))
    evaluator = GroundingEvaluator(model, threshold=threshold)
    report = call_on_runtime(runtime_name, evaluator, "evaluate", "a b c d", ["evidence"])
    assert report == GroundingReport(0.75, ("a", "b", "c"), ("d",), accepted=accepted)
    assert "[1] evidence" in model.calls[0].messages[1].text
    assert len(model.calls) == 2  # the first answer was no JSON
    assert pickle.loads(pickle.dumps(report)) == report


def test_where_the_judge_model_is_of_no_use_the_rules_decide_and_the_report_says_so(
    runtime_name: str,
) -> None:
    model = ScriptedModel("I think so.", cycle=True)
    report = call_on_runtime(
        runtime_name, GroundingEvaluator(model), "evaluate", "It is sunny. It is Zoë.", [ROME]
    )
    assert (report.grounded, report.ungrounded) == (("It is sunny.",), ("It is Zoë.",))
    assert "not a valid GroundingVerdict" in report.error
    assert len(model.calls) == 3


def test_a_judge_model_that_lists_no_claim_of_an_answer_with_claims_is_of_no_use(
    runtime_name: str,
) -> None:
    evaluator = GroundingEvaluator(ScriptedModel(make_answer([], []), cycle=True))
    report = call_on_runtime(runtime_name, evaluator, "evaluate", "It is Zoë.", [ROME])
    assert (report.ungrounded, report.accepted) == (("It is Zoë.",), False)
    assert "listed none" in report.error
    report = call_on_runtime(runtime_name, evaluator, "evaluate", "Thank you!", [ROME])
    assert report == GroundingReport(1.0)


def test_evidence_may_be_an_iterator_and_large(runtime_name: str) -> None:
    model = ScriptedModel(make_answer(["It is sunny."], []))
    for evaluator in (GroundingEvaluator(), GroundingEvaluator(model)):
        evidence = iter(["It rains in Oslo. " * 6000, "sunny"])
        report = call_on_runtime(runtime_name, evaluator, "evaluate", "It is sunny.", evidence)
        assert report.accepted
    assert "[2] sunny" in model.calls[0].messages[1].text


@pytest.mark.parametrize("answer", [None, 21, b"sunny", ["sunny"]])
def test_an_answer_is_text(runtime_name: str, answer: Any) -> None:
    with pytest.raises(
        TypeError, match=f"the answer to check is text, not {type(answer).__name__}"
    ):
        call_on_runtime(runtime_name, GroundingEvaluator(), "evaluate", answer, [ROME])


def test_errors_of_the_judge_model_are_raised(runtime_name: str) -> None:
    model = ScriptedModel(RateLimitError("slow down", status_code=429))
    with pytest.raises(RateLimitError):
        call_on_runtime(runtime_name, GroundingEvaluator(model), "evaluate", "x", [ROME])


@given(st.text(max_size=200), st.text(min_size=1, max_size=200))
def test_the_rules_work_for_every_text(answer: str, evidence: str) -> None:
    report = GroundingEvaluator().evaluate_sync(answer, [evidence])
    assert 0 <= report.score <= 1
    total = len(report.grounded) + len(report.ungrounded)
    assert report.score == (len(report.grounded) / total if total else 1.0)
    assert report.accepted == (report.score == 1)


@given(st.text(max_size=200))
def test_what_is_repeated_from_the_evidence_is_grounded(text: str) -> None:
    report = GroundingEvaluator().evaluate_sync(text, [text])
    assert report.ungrounded == ()


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "evidence",
    [
        json.dumps({"report": "Visitors:\nParis leads.\tRome follows"}),
        r'{"report": "Visitors:\nP\u0061ris leads.\tRome follows"}',
        json.dumps(json.dumps({"report": "Visitors:\nParis leads.\tRome follows"})),
        ToolExecution("visitors", "c1", {}, '{"report": "Visitors:\\nParis leads.\\tRome"}'),
    ],
)
def test_escapes_of_json_are_no_letters_of_the_evidence(evidence: Any) -> None:
    report = GroundingEvaluator(min_overlap=1).evaluate_sync("Paris, Rome.", [evidence])
    assert report.ungrounded == ()


@given(json_values)
@example(["\x1f\xc6"])
def test_every_json_answer_that_is_the_evidence_is_grounded(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert GroundingEvaluator().evaluate_sync(text, [text]).ungrounded == ()


@pytest.mark.parametrize(
    ("keywords", "error", "pattern"),
    [
        ({"model": 3}, TypeError, "a judge model is a model or a registry string"),
        ({"threshold": 1.5}, ConfigurationError, "threshold must be a number from 0 to 1"),
        ({"min_overlap": "x"}, ConfigurationError, "min_overlap must be a number from 0 to 1"),
        ({"max_retries": -1}, ConfigurationError, "max_retries must be an integer from 0"),
        ({"instructions": ""}, ConfigurationError, "instructions must be a text"),
        ({"options": []}, TypeError, "options must be a mapping"),
    ],
)
def test_wrong_arguments_are_errors(keywords: Any, error: Any, pattern: str) -> None:
    with pytest.raises(error, match=pattern):
        GroundingEvaluator(**keywords)
