"""The GSAR evaluator: it ends for every judge, on every runtime, and its result is honest."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError, StructuredOutputError
from locus.reasoning import (
    Claim,
    Decision,
    EvidenceType,
    GSAREvaluator,
    GSARJudge,
    GSARThresholds,
    JudgeOutput,
    Partition,
    StructuredOutputGSARJudge,
    gsar_score,
)
from locus.testing import ScriptedModel
from tests.reasoning.runtime_calls import call_on_runtime
from tests.support.runtimes import run_async
from tests.support.scripted_judges import AsyncScriptedJudge, ScriptedJudge

GOOD, BAD = Claim("good", EvidenceType.TOOL_MATCH), Claim("bad", EvidenceType.TOOL_MATCH)
PROCEED = JudgeOutput((GOOD,))
REGENERATE = JudgeOutput((GOOD,) * 7, (BAD,) * 3)
REPLAN = JudgeOutput((GOOD,), (BAD,))
VERDICTS = {"proceed": PROCEED, "regenerate": REGENERATE, "replan": REPLAN}


def regenerate(report: str, verdict: JudgeOutput) -> str:
    assert isinstance(verdict, JudgeOutput)
    return f"{report} anew"


def replan(report: str, evidence: Any, verdict: JudgeOutput) -> tuple[str, Any]:
    assert isinstance(verdict, JudgeOutput)
    return f"{report} more", [*evidence, "more"]


async def regenerate_async(report: str, verdict: JudgeOutput) -> str:
    await anyio.lowlevel.checkpoint()
    return regenerate(report, verdict)


async def replan_async(report: str, evidence: Any, verdict: JudgeOutput) -> tuple[str, Any]:
    await anyio.lowlevel.checkpoint()
    return replan(report, evidence, verdict)


COLOURS: dict[str, tuple[Any, Any, Any]] = {
    "blocking": (ScriptedJudge, regenerate, replan),
    "async": (AsyncScriptedJudge, regenerate_async, replan_async),
    "mixed": (AsyncScriptedJudge, regenerate, replan_async),
    "hidden": (ScriptedJudge, lambda *args: regenerate_async(*args), replan),
}


@pytest.mark.parametrize("colour", COLOURS)
def test_functions_of_either_colour_improve_a_report_on_every_runtime(
    runtime_name: str, colour: str
) -> None:
    judge_class, regenerate_function, replan_function = COLOURS[colour]
    judge = judge_class(REPLAN, REGENERATE, PROCEED)
    evaluator = GSAREvaluator(judge, regenerate_function, replan_function)
    result = call_on_runtime(runtime_name, evaluator, "evaluate", "report", ["e"])
    assert result.report == "report more anew"
    assert (result.score, result.decision) == (1.0, "proceed")
    assert (result.replans, result.degraded, result.error) == (1, False, None)
    assert [tuple(look) for look in result.trajectory] == [
        (1, 0.5, "replan", REPLAN),
        (2, 0.7, "regenerate", REGENERATE),
        (3, 1.0, "proceed", PROCEED),
    ]
    assert judge.calls == [
        ("report", ["e"]),
        ("report more", ["e", "more"]),
        ("report more anew", ["e", "more"]),
    ]
    assert pickle.loads(pickle.dumps(result)) == result


@given(
    st.lists(st.sampled_from(sorted(VERDICTS)), min_size=1, max_size=8),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_an_evaluation_ends_for_every_judge(
    decisions: list[str], k_max: int, has_regenerate: bool, has_replan: bool
) -> None:
    judge = ScriptedJudge(*(VERDICTS[decision] for decision in decisions))
    evaluator = GSAREvaluator(
        judge,
        regenerate if has_regenerate else None,
        replan if has_replan else None,
        k_max=k_max,
    )
    result = evaluator.evaluate_sync("report", [])
    taken = [str(look.decision) for look in result.trajectory]
    assert taken == (decisions + decisions[-1:] * 8)[: len(taken)]
    assert len(taken) == len(judge.calls) <= 1 + 2 * k_max
    improved, last = taken[:-1], taken[-1]
    assert "proceed" not in improved
    assert result.replans == improved.count("replan") == result.report.count("more") <= k_max
    assert improved.count("regenerate") == result.report.count("anew") <= k_max
    assert (result.decision, result.score) == (last, result.trajectory[-1].score)
    assert result.degraded == (last != "proceed")
    if last == "regenerate":
        assert not has_regenerate or improved.count(last) == k_max
    elif last == "replan":
        assert not has_replan or improved.count(last) == k_max
    assert [look.iteration for look in result.trajectory] == list(range(1, len(taken) + 1))


def test_a_judge_that_never_agrees_has_two_replans() -> None:
    result = GSAREvaluator(ScriptedJudge(REPLAN), replan=replan).evaluate_sync("report", [])
    assert (result.replans, result.degraded, len(result.trajectory)) == (2, True, 3)
    assert result.report == "report more more"


def test_the_claims_decide_and_not_what_the_judge_says_of_its_own_score() -> None:
    lie = JudgeOutput(ungrounded_claims=(BAD,), grounding_score=1.0, is_grounded=True)
    result = GSAREvaluator(ScriptedJudge(lie)).evaluate_sync("report", [])
    assert (result.score, result.decision, result.degraded) == (0.0, "replan", True)
    assert result.trajectory[0].verdict is lie


@pytest.mark.parametrize("judge_class", [ScriptedJudge, AsyncScriptedJudge])
@pytest.mark.parametrize("answer", [None, {"grounded_claims": []}, "grounded", 1.0, Partition()])
def test_a_judge_that_returns_no_verdict_is_an_error_that_names_it(
    runtime_name: str, judge_class: Any, answer: Any
) -> None:
    pattern = (
        f"the judge {judge_class.__name__} returned {type(answer).__name__}, not a JudgeOutput"
    )
    with pytest.raises(TypeError, match=pattern):
        call_on_runtime(runtime_name, GSAREvaluator(judge_class(answer)), "evaluate", "report", [])


@pytest.mark.parametrize("judge_class", [ScriptedJudge, AsyncScriptedJudge])
@pytest.mark.parametrize("error", [LookupError("gone"), StopIteration(), KeyboardInterrupt()])
def test_what_a_judge_raises_is_raised(
    runtime_name: str, judge_class: Any, error: BaseException
) -> None:
    if runtime_name == "asyncio" and isinstance(error, KeyboardInterrupt):
        pytest.skip("it would end the event loop of the test")
    evaluator = GSAREvaluator(judge_class(error))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - compared below
        call_on_runtime(runtime_name, evaluator, "evaluate", "report", [])
    if isinstance(error, StopIteration):  # Python allows it in no generator and no coroutine
        assert isinstance(caught.value, (RuntimeError, StopIteration, TypeError))
    else:
        assert isinstance(caught.value, type(error))


def test_what_the_other_functions_raise_is_raised(runtime_name: str) -> None:
    def fail(*args: Any) -> Any:
        raise StructuredOutputError("not the judge's")

    for evaluator in (
        GSAREvaluator(ScriptedJudge(REPLAN), replan=fail),
        GSAREvaluator(ScriptedJudge(REGENERATE), regenerate=fail),
    ):
        with pytest.raises(StructuredOutputError, match="not the judge's"):
            call_on_runtime(runtime_name, evaluator, "evaluate", "report", [])


@pytest.mark.parametrize("verdicts", [(), (REPLAN,), (REPLAN, REGENERATE)])
def test_a_report_that_cannot_be_judged_gives_a_result_that_says_so(
    runtime_name: str, verdicts: tuple[Any, ...]
) -> None:
    judge = ScriptedJudge(*verdicts, StructuredOutputError("no JSON"))
    evaluator = GSAREvaluator(judge, regenerate, replan, thresholds=GSARThresholds(0.5, 0.5))
    if verdicts:
        evaluator = GSAREvaluator(judge, regenerate, replan)
    result = call_on_runtime(runtime_name, evaluator, "evaluate", "report", [])
    assert (result.score, result.decision, result.degraded) == (0.5, "replan", True)
    assert result.error == "no JSON"
    assert [look.verdict for look in result.trajectory] == list(verdicts)
    assert result.replans == verdicts.count(REPLAN)


@pytest.mark.parametrize(
    ("functions", "pattern"),
    [
        ({"regenerate": lambda *_: None}, "regenerate returned None instead of a report"),
        ({"replan": lambda *_: "report"}, "replan must return a report and its evidence"),
        ({"replan": lambda *_: None}, "replan must return .*; not None"),
        ({"replan": lambda *_: (None, [])}, "replan returned None instead of a report"),
        ({"replan": lambda *_: ("report", [], 1)}, "a tuple of two"),
    ],
)
def test_functions_that_forget_to_return_are_errors(
    functions: dict[str, Callable[..., Any]], pattern: str
) -> None:
    judge = ScriptedJudge(REGENERATE if "regenerate" in functions else REPLAN)
    with pytest.raises(TypeError, match=pattern):
        GSAREvaluator(judge, **functions).evaluate_sync("report", [])


@given(st.floats(0, 1), st.floats(0, 1))
def test_weights_and_rho_are_used(weight: float, rho: float) -> None:
    verdict = JudgeOutput((GOOD,), (), (Claim("x", EvidenceType.DOMAIN),))
    evaluator = GSAREvaluator(ScriptedJudge(verdict), weights={"domain": weight}, rho=rho)
    result = evaluator.evaluate_sync("report", [])
    assert result.score == gsar_score(verdict.partition, weights={"domain": weight}, rho=rho)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_evaluation_ends(backend: str) -> None:
    ended = threading.Event()

    class EndlessJudge:
        async def judge(self, report: Any, evidence: Any) -> Any:
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()

    async def main() -> str:
        with anyio.move_on_after(0.01):
            await GSAREvaluator(EndlessJudge()).evaluate("report", [])
        return "cancelled"

    assert run_async(backend, main) == "cancelled"
    assert ended.is_set()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_blocking_judge_does_not_block_the_event_loop_nor_its_cancellation(backend: str) -> None:
    release = threading.Event()

    class BlockingJudge:
        def judge(self, report: Any, evidence: Any) -> Any:
            release.wait()
            return PROCEED

    async def main() -> str:
        with anyio.move_on_after(0.01):
            await GSAREvaluator(BlockingJudge()).evaluate("report", [])
        release.set()
        return "cancelled"

    assert run_async(backend, main) == "cancelled"


def test_blocking_evaluation_of_async_functions_works_inside_an_event_loop() -> None:
    evaluator = GSAREvaluator(AsyncScriptedJudge(REPLAN, PROCEED), replan=replan_async)

    async def main() -> Any:
        return evaluator.evaluate_sync("report", [])

    assert run_async("asyncio", main).decision is Decision.PROCEED
    assert run_async("trio", main).decision is Decision.PROCEED


def test_a_subclass_of_the_model_judge_and_a_mock_are_asked_by_their_own_method(
    runtime_name: str,
) -> None:
    class LenientJudge(StructuredOutputGSARJudge):
        async def judge(self, report: Any, evidence: Any) -> JudgeOutput:
            verdict = await super().judge(report, evidence)
            return JudgeOutput(verdict.ungrounded_claims)

    answer = '{"ungrounded_claims": [{"text": "x", "type": "domain"}]}'
    mock = MagicMock()
    mock.judge.return_value = PROCEED
    for judge in (LenientJudge(ScriptedModel(answer)), mock):
        result = call_on_runtime(runtime_name, GSAREvaluator(judge), "evaluate", "report", [])
        assert result.score == 1.0
    mock.judge.assert_called_once_with("report", [])


def test_a_judge_is_any_object_with_the_method() -> None:
    assert isinstance(ScriptedJudge(PROCEED), GSARJudge)
    assert isinstance(AsyncScriptedJudge(PROCEED), GSARJudge)
    assert not isinstance(PROCEED, GSARJudge)


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "pattern"),
    [
        ((None,), {}, ConfigurationError, r"a method judge\(report, evidence\), not NoneType"),
        ((ScriptedJudge,), {}, ConfigurationError, "the class ScriptedJudge: give an object of it"),
        ((ScriptedJudge(PROCEED), 1), {}, ConfigurationError, "regenerate is a function or None"),
        ((ScriptedJudge(PROCEED), None, 1), {}, ConfigurationError, "replan is a function or None"),
        ((ScriptedJudge(PROCEED),), {"k_max": -1}, ConfigurationError, "k_max must be"),
        (
            (ScriptedJudge(PROCEED),),
            {"k_max": True},
            ConfigurationError,
            "k_max must be an integer",
        ),
        ((ScriptedJudge(PROCEED),), {"rho": 2}, ConfigurationError, "rho must be a number"),
        ((ScriptedJudge(PROCEED),), {"weights": {"x": 1}}, ConfigurationError, "a key of weights"),
        ((ScriptedJudge(PROCEED),), {"thresholds": (1, 0)}, TypeError, "thresholds are GSARThr"),
    ],
)
def test_wrong_arguments_are_errors(
    arguments: Any, keywords: Any, error: Any, pattern: str
) -> None:
    with pytest.raises(error, match=pattern):
        GSAREvaluator(*arguments, **keywords)
