"""Assesses the last step of a run after a round of tool calls, and advises the model."""

from __future__ import annotations

from typing import Final

import attrs

from locus.agent.effects import EffectGenerator, EmitEvent
from locus.agent.perform_reasoning import perform_reasoning_in_steps
from locus.agent.run_context import RunContext
from locus.core.agent_added_message import make_agent_added_message
from locus.core.events import ReflectEvent
from locus.core.messages import Message, Role, ToolCall
from locus.core.reasoning_record import ReasoningRecord
from locus.core.state import AgentState, ToolExecution
from locus.memory.managers.message_groups import find_last_user_message, is_user_message
from locus.reasoning.loop_detection import make_round_digest
from locus.reasoning.reflector import AgentStep, Reflector, format_guidance

_MAX_DIGESTS: Final = 64
"""Of how many rounds the digests are kept. A cycle of half as many is found."""


def reflect_on_step_in_steps(run: RunContext) -> EffectGenerator[None]:
    """Assess the last round of tool calls, unless the reflector leaves this one out.

    The confidence and the advice to the model enter the state, which is saved before the event.
    """
    setting = run.settings.reflexion
    reflector = setting if isinstance(setting, Reflector) else Reflector()
    step = _make_step(run.state)
    reflection = yield from perform_reasoning_in_steps(run, reflector.reflect_in_steps(step))
    record = attrs.evolve(
        run.state.reasoning or ReasoningRecord(),
        reflected_iteration=run.state.iteration,
        round_count=step.number,
        round_digests=step.digests,
    )
    run.state = state = run.state.evolve(reasoning=record)
    if reflection is None:
        return
    state = state.evolve(confidence=reflection.confidence)
    guidance = format_guidance(reflection)
    if guidance is not None:
        state = state.with_messages(make_agent_added_message(guidance, "reflexion"))
    run.state = state
    yield from run.save_state_in_steps()
    yield EmitEvent(
        ReflectEvent(
            state.iteration,
            reflection.assessment,
            reflection.guidance,
            reflection.confidence,
            reflection.loop_detected,
        )
    )


def reflect_after_resume_in_steps(run: RunContext) -> EffectGenerator[None]:
    """Assess the last round of a resumed thread, if it was interrupted before that was done."""
    state = run.state
    last, record = state.last_message, state.reasoning
    if last is None or last.role is not Role.TOOL or state.pending_calls():
        return
    if record is None or record.reflected_iteration != state.iteration:
        yield from reflect_on_step_in_steps(run)


def _make_step(state: AgentState) -> AgentStep:
    """Make the view of the last step that a reflector assesses."""
    words = find_last_user_message(state.messages)
    rounds = _find_rounds(state.messages)
    record = state.reasoning
    if record is not None and record.round_count:
        number = record.round_count + 1
        digests = (*record.round_digests, *map(make_round_digest, rounds[-1:]))
    else:
        number = len(rounds)
        digests = tuple(map(make_round_digest, rounds))
    executions: list[ToolExecution] = []
    for execution in reversed(state.tool_executions):
        if execution.iteration != state.iteration:
            break
        executions.append(execution)
    return AgentStep(
        "" if words is None else words.text,
        tuple(reversed(executions)),
        rounds,
        state.confidence,
        number,
        digests[-_MAX_DIGESTS:],
    )


def _find_rounds(messages: tuple[Message, ...]) -> tuple[tuple[ToolCall, ...], ...]:
    """Find the tool calls of each response since the last words of the user."""
    rounds: list[tuple[ToolCall, ...]] = []
    for message in reversed(messages):
        if is_user_message(message):
            break
        if message.tool_calls:
            rounds.append(message.tool_calls)
    return tuple(reversed(rounds))
