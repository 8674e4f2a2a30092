"""``GSAREvaluator``: judges a report, and has it improved until its score is good enough.

Source: https://arxiv.org/abs/2604.23366. It ends for every judge: each of the two ways to improve a
report is used at most ``k_max`` times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import attrs

from locus.core.errors import ConfigurationError, StructuredOutputError
from locus.reasoning.field_checks import make_minimum_validator
from locus.reasoning.gsar_judge import GSARJudge, asks_model_in_steps
from locus.reasoning.judge_output import JudgeOutput
from locus.reasoning.reasoning_requests import (
    FunctionRequest,
    ReasoningGenerator,
    perform_requests,
    perform_requests_sync,
)
from locus.reasoning.score_partition import (
    DEFAULT_RHO,
    DEFAULT_THRESHOLDS,
    EMPTY_SCORE,
    Decision,
    GSARThresholds,
    Weights,
    check_rho,
    decide,
    gsar_score,
    merge_weights,
)


class GSARLook(NamedTuple):
    """One look of the judge at a report.

    :param iteration: the number of the look, counted from 1.
    :param score: the score of the claims, from 0 to 1.
    :param decision: what follows from the score.
    :param verdict: the judge's partition of the claims.
    """

    iteration: int
    score: float
    decision: Decision
    verdict: JudgeOutput


def _to_look_tuple(value: Iterable[GSARLook]) -> tuple[GSARLook, ...]:
    return tuple(value)


@attrs.frozen
class GSARResult:
    """The result of an evaluation.

    :ivar report: the last report.
    :ivar score: its score, from 0 to 1; 0.5, that of no claims, if it could not be judged.
    :ivar decision: what follows from the score.
    :ivar replans: how many times more evidence was looked for.
    :ivar degraded: whether the last report was not accepted: its score is too low, and nothing more
        could be done, or it could not be judged.
    :ivar trajectory: every look of the judge, in order.
    :ivar error: the error of a judge model whose answers did not fit the schema, or None.
    """

    report: Any
    score: float
    decision: Decision
    replans: int = 0
    degraded: bool = False
    trajectory: tuple[GSARLook, ...] = attrs.field(default=(), converter=_to_look_tuple)
    error: str | None = None


def _validate_judge(_: Any, __: Any, value: Any) -> None:
    if isinstance(value, type):
        raise ConfigurationError(f"judge is the class {value.__name__}: give an object of it")
    if not callable(getattr(value, "judge", None)):
        raise ConfigurationError(
            f"judge is an object with a method judge(report, evidence), not {type(value).__name__}"
        )


def _validate_optional_callable(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not callable(value):
        raise ConfigurationError(f"{field.name} is a function or None, not {type(value).__name__}")


@attrs.frozen
class GSAREvaluator:
    """Judges a report, and has it improved until it is accepted or nothing more can be done.

    In an agent without ``regenerate`` and ``replan``, the agent's own model improves its answer.

    :param judge: see :class:`GSARJudge`; a :class:`StructuredOutputGSARJudge` asks a model.
    :param regenerate: called as ``regenerate(report, verdict)``, blocking or async, and returns
        another report from the same evidence.
    :param replan: called as ``replan(report, evidence, verdict)``, blocking or async, and returns
        another report and its evidence.
    :param thresholds: the scores from which a report is accepted or written anew.
    :param weights: see :func:`gsar_score`.
    :param rho: see :func:`gsar_score`.
    :param k_max: how many times ``replan`` may be called, and how many times ``regenerate``.
    :raises ConfigurationError: if an argument is out of range.
    """

    judge: GSARJudge = attrs.field(validator=_validate_judge, hash=False)
    regenerate: Callable[..., Any] | None = attrs.field(
        default=None, validator=_validate_optional_callable
    )
    replan: Callable[..., Any] | None = attrs.field(
        default=None, validator=_validate_optional_callable
    )
    thresholds: GSARThresholds = attrs.field(default=DEFAULT_THRESHOLDS, kw_only=True)
    weights: Weights = attrs.field(default=None, converter=merge_weights, kw_only=True)
    rho: float = attrs.field(default=DEFAULT_RHO, converter=check_rho, kw_only=True)
    k_max: int = attrs.field(default=2, validator=make_minimum_validator(0), kw_only=True)

    @thresholds.validator
    def _validate_thresholds(self, _: Any, value: Any) -> None:
        if not isinstance(value, GSARThresholds):
            raise TypeError(f"thresholds are GSARThresholds, not {type(value).__name__}")

    def evaluate_sync(self, report: Any, evidence: Any) -> GSARResult:
        """Evaluate a report, blocking.

        :param evidence: passed to the judge as it is, such as a sequence of texts.
        :raises TypeError: if the judge, ``regenerate`` or ``replan`` returned a wrong type.
        :raises Exception: if one of them raised it.
        """
        return perform_requests_sync(self.evaluate_in_steps(report, evidence))

    async def evaluate(self, report: Any, evidence: Any) -> GSARResult:
        """Do the same as :meth:`evaluate_sync`, under asyncio or trio.

        Blocking functions run in a thread.
        """
        return await perform_requests(self.evaluate_in_steps(report, evidence))

    def evaluate_in_steps(self, report: Any, evidence: Any) -> ReasoningGenerator[GSARResult]:
        """Evaluate a report in a generator that yields requests to models and functions."""
        looks: list[GSARLook] = []
        while True:
            try:
                look = yield from self.look_in_steps(report, evidence, len(looks) + 1)
            except StructuredOutputError as exc:
                return self.make_result(report, looks, error=str(exc))
            looks.append(look)
            if not self.can_improve(looks):
                break
            if look.decision is Decision.REGENERATE and self.regenerate is not None:
                new_report = yield FunctionRequest(self.regenerate, (report, look.verdict))
                report = _check_report(new_report, "regenerate")
            elif look.decision is Decision.REPLAN and self.replan is not None:
                pair = yield FunctionRequest(self.replan, (report, evidence, look.verdict))
                report, evidence = _check_report_and_evidence(pair)
            else:
                break
        return self.make_result(report, looks)

    def look_in_steps(
        self, report: Any, evidence: Any, iteration: int
    ) -> ReasoningGenerator[GSARLook]:
        """Have the report judged once.

        :param iteration: the number of this look, counted from 1.
        :raises TypeError: if the judge returned no :class:`JudgeOutput`.
        """
        judge: Any = self.judge
        if asks_model_in_steps(judge):
            verdict = yield from judge.judge_in_steps(report, evidence)
        else:
            verdict = yield FunctionRequest(judge.judge, (report, evidence))
        if not isinstance(verdict, JudgeOutput):
            raise TypeError(
                f"the judge {type(judge).__name__} returned {type(verdict).__name__}, "
                "not a JudgeOutput"
            )
        score = gsar_score(verdict.partition, weights=self.weights, rho=self.rho)
        return GSARLook(iteration, score, decide(score, self.thresholds), verdict)

    def can_improve(self, looks: Sequence[GSARLook]) -> bool:
        """Whether the report of the last look may be improved: it is not accepted, and what its
        decision asks for was done less than ``k_max`` times.
        """
        decision = looks[-1].decision
        done = sum(look.decision is decision for look in looks[:-1])
        return decision is not Decision.PROCEED and done < self.k_max

    def make_result(
        self, report: Any, looks: Sequence[GSARLook], *, error: str | None = None
    ) -> GSARResult:
        """Make the result of an evaluation that ends with this report.

        :param looks: the looks at this report and those before it.
        :param error: the reason for which the report could not be judged, or None.
        """
        replans = sum(look.decision is Decision.REPLAN for look in looks)
        if error is not None:
            return GSARResult(report, EMPTY_SCORE, Decision.REPLAN, replans, True, looks, error)
        last = looks[-1]
        if last.decision is Decision.REPLAN:
            replans -= 1  # what the last look asks for was not done
        degraded = last.decision is not Decision.PROCEED
        return GSARResult(report, last.score, last.decision, replans, degraded, looks)


def _check_report(report: Any, source: str) -> Any:
    """Check that a function returned a report.

    :param source: the name of the function, for the error message.
    """
    if report is None:
        raise TypeError(f"{source} returned None instead of a report")
    return report


def _check_report_and_evidence(pair: Any) -> tuple[Any, Any]:
    """Check that ``replan`` returned a report and evidence."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(
            f"replan must return a report and its evidence, a tuple of two; not {pair!r:.80}"
        )
    report, evidence = pair
    return _check_report(report, "replan"), evidence
