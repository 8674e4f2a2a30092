"""Checks the final answer of a run against the results of tools: by grounding, then by GSAR.

What a check has found is saved with the state. So a resumed thread continues to count where it was
interrupted, and a thread that had ended is not checked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from locus.agent.collect_evidence import collect_evidence
from locus.agent.effects import EffectGenerator, EmitEvent
from locus.agent.perform_reasoning import perform_reasoning_in_steps
from locus.agent.run_context import RunContext
from locus.core.agent_added_message import make_agent_added_message
from locus.core.errors import StructuredOutputError
from locus.core.events import GroundingEvent
from locus.core.messages import Message
from locus.core.reasoning_record import ReasoningRecord
from locus.memory.managers.message_groups import find_last_user_message
from locus.reasoning.claim_partition import Claim
from locus.reasoning.grounding_evaluator import GroundingEvaluator, GroundingReport
from locus.reasoning.gsar_evaluator import GSAREvaluator, GSARLook, GSARResult
from locus.reasoning.gsar_judge import StructuredOutputGSARJudge
from locus.reasoning.json_records import (
    decode_grounding_report,
    decode_gsar_looks,
    encode_grounding_report,
    encode_gsar_looks,
)
from locus.reasoning.score_partition import Decision
from locus.reasoning.shorten_text import shorten_text

_HEAD: Final = "[Note of the agent's own review, not of the user]\n"
_MAX_LISTED_CLAIMS: Final = 20


def review_answer_in_steps(run: RunContext, *, is_last: bool) -> EffectGenerator[Message | None]:
    """Check the final answer, and note the results in the run.

    :param is_last: whether no other answer can follow: then each check is made, whatever the one
        before it has found.

    Returns the message that asks the model for another answer; None if this answer stands, because
    it is accepted or nothing more can be done. An answer without text is not checked.
    """
    answer = run.response_message
    if answer is None or not answer.text:
        return None
    if run.settings.grounding is not None:
        feedback = yield from _check_grounding_in_steps(run, answer.text)
        if feedback is not None and not is_last:
            return feedback
    if run.settings.gsar is not None:
        return (yield from _check_gsar_in_steps(run, answer.text))
    return None


# Grounding.


def _check_grounding_in_steps(run: RunContext, answer: str) -> EffectGenerator[Message | None]:
    """Check the claims of an answer; return the message that asks for another one, or None."""
    setting = run.settings.grounding
    evaluator = setting if isinstance(setting, GroundingEvaluator) else GroundingEvaluator()
    record, iteration = run.state.reasoning or ReasoningRecord(), run.state.iteration
    earlier = None if record.grounding is None else decode_grounding_report(record.grounding)
    if earlier is not None and record.grounding_iteration == iteration:
        report = earlier  # it was checked before the thread was interrupted
    else:
        report = yield from perform_reasoning_in_steps(
            run,
            evaluator.evaluate_in_steps(
                answer, collect_evidence(run.state), _find_question(run.state.messages)
            ),
        )
        if earlier is not None:
            was_sent_back = _can_retry_grounding(evaluator, earlier)
            report = attrs.evolve(report, retries=earlier.retries + was_sent_back)
        yield from _save_record_in_steps(
            run, grounding=encode_grounding_report(report), grounding_iteration=iteration
        )
        yield EmitEvent(
            GroundingEvent(report.score, report.grounded, report.ungrounded, report.accepted)
        )
    run.grounding_report = report
    return _make_grounding_message(report) if _can_retry_grounding(evaluator, report) else None


def _can_retry_grounding(evaluator: GroundingEvaluator, report: GroundingReport) -> bool:
    """Whether the model is asked for another answer.

    Not without any evidence: nothing that it says could be grounded then.
    """
    return not report.accepted and report.has_evidence and report.retries < evaluator.max_retries


def _make_grounding_message(report: GroundingReport) -> Message:
    """Make the message that asks for an answer without the ungrounded claims."""
    return make_agent_added_message(
        f"{_HEAD}These statements of your answer are not supported by the results of your tools:\n"
        f"{_format_list(report.ungrounded)}\n"
        "Answer again: correct or leave out what the results do not support, or call tools that "
        "can show it.",
        "grounding",
    )


def _find_question(messages: Sequence[Message]) -> str:
    """Find the last words of the user; empty if there are none."""
    message = find_last_user_message(messages)
    return "" if message is None else message.text


# GSAR.


def _check_gsar_in_steps(run: RunContext, answer: str) -> EffectGenerator[Message | None]:
    """Judge an answer; return the message that asks for another one, or None.

    An evaluator with functions of its own uses these, and its report replaces the answer.
    """
    setting = run.settings.gsar
    evaluator = (
        setting
        if isinstance(setting, GSAREvaluator)
        else GSAREvaluator(StructuredOutputGSARJudge(run.model))
    )
    has_own_functions = evaluator.regenerate is not None or evaluator.replan is not None
    record, iteration = run.state.reasoning or ReasoningRecord(), run.state.iteration
    looks: tuple[GSARLook, ...] = ()
    error = None
    if record.gsar is not None:
        looks, error = decode_gsar_looks(record.gsar)
    if record.gsar is not None and record.gsar_iteration == iteration:
        result = evaluator.make_result(answer, looks, error=error)
    else:
        if has_own_functions:
            result = yield from perform_reasoning_in_steps(
                run, evaluator.evaluate_in_steps(answer, collect_evidence(run.state))
            )
            new_looks = result.trajectory
            yield from _replace_answer_in_steps(run, result.report)
        else:
            result = yield from _look_at_answer_in_steps(run, evaluator, answer, looks)
            new_looks = result.trajectory[len(looks) :]
        yield from _save_record_in_steps(
            run, gsar=encode_gsar_looks(result.trajectory, result.error), gsar_iteration=iteration
        )
        for look in new_looks:
            yield EmitEvent(_make_look_event(look))
        if result.error is not None:
            yield EmitEvent(GroundingEvent(result.score, accepted=False))
    run.gsar = result
    if has_own_functions or result.error is not None:
        return None
    looks = result.trajectory
    return _make_gsar_message(looks[-1]) if evaluator.can_improve(looks) else None


def _look_at_answer_in_steps(
    run: RunContext, evaluator: GSAREvaluator, answer: str, looks: Sequence[GSARLook]
) -> EffectGenerator[GSARResult]:
    """Have an answer judged once, and return the result so far.

    :param looks: the looks at the answers before this one.
    """
    try:
        look = yield from perform_reasoning_in_steps(
            run, evaluator.look_in_steps(answer, collect_evidence(run.state), len(looks) + 1)
        )
    except StructuredOutputError as exc:
        return evaluator.make_result(answer, looks, error=str(exc))
    return evaluator.make_result(answer, (*looks, look))


def _replace_answer_in_steps(run: RunContext, report: Any) -> EffectGenerator[None]:
    """Replace the answer by the report that the evaluator's functions have made of it.

    :raises TypeError: if the report is not text.
    """
    assert run.response_message is not None
    if report == run.response_message.text:
        return
    if not isinstance(report, str) or not report:
        raise TypeError(
            "in an agent a report is text that is not empty; "
            f"regenerate or replan returned {report!r:.80}"
        )
    run.response_message = message = Message.assistant(report)
    run.state = run.state.evolve(  # no server has this message
        messages=(*run.state.messages[:-1], message), provider_state=None, server_knowledge=None
    )
    yield from run.parse_final_answer_in_steps(message)


def _make_look_event(look: GSARLook) -> GroundingEvent:
    """Make the event of one look of the judge."""
    verdict = look.verdict
    return GroundingEvent(
        look.score,
        _get_texts(verdict.grounded_claims + verdict.complementary_claims),
        _get_texts(verdict.ungrounded_claims + verdict.contradicted_claims),
        look.decision is Decision.PROCEED,
    )


def _make_gsar_message(look: GSARLook) -> Message:
    """Make the message that asks for another answer, as the decision of the last look says."""
    parts = [f"{_HEAD}Your answer was compared with the evidence, and is not accepted yet."]
    verdict = look.verdict
    if verdict.ungrounded_claims:
        claims = _format_list(_get_texts(verdict.ungrounded_claims))
        parts.append(f"No evidence supports these statements:\n{claims}")
    if verdict.contradicted_claims:
        claims = _format_list(_get_texts(verdict.contradicted_claims))
        parts.append(f"The evidence contradicts these statements:\n{claims}")
    if verdict.explanation:
        parts.append(f"Reasons: {shorten_text(verdict.explanation)}")
    if look.decision is Decision.REGENERATE:
        parts.append(
            "Write the answer anew from the evidence that you have: correct or leave out what it "
            "does not support."
        )
    else:
        parts.append(
            "Find the evidence that is missing, with your tools if you have any, and then answer "
            "again. Say what you could not find out."
        )
    return make_agent_added_message("\n".join(parts), "gsar")


# Both.


def _save_record_in_steps(run: RunContext, **changes: Any) -> EffectGenerator[None]:
    """Put what a check has found into the state, and save it."""
    record = attrs.evolve(run.state.reasoning or ReasoningRecord(), **changes)
    run.state = run.state.evolve(reasoning=record)
    yield from run.save_state_in_steps()


def _get_texts(claims: Iterable[Claim]) -> tuple[str, ...]:
    """Return the texts of claims."""
    return tuple(claim.text for claim in claims)


def _format_list(texts: Sequence[str]) -> str:
    """Format texts as lines of a list, not all if there are very many."""
    lines = [f"- {shorten_text(text)}" for text in texts[:_MAX_LISTED_CLAIMS]]
    omitted = len(texts) - _MAX_LISTED_CLAIMS
    return "\n".join(lines + ([f"- and {omitted} more"] if omitted > 0 else []))
