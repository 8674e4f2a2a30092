"""Assesses the last step of a run after a round of tool calls, and advises the model."""

from __future__ import annotations

import attrs

from locus.agent.effects import EffectGenerator, EmitEvent
from locus.agent.perform_reasoning import perform_reasoning_in_steps
from locus.agent.run_context import RunContext
from locus.core.agent_added_message import is_agent_added_message, make_agent_added_message
from locus.core.events import ReflectEvent
from locus.core.messages import Message, Role, ToolCall
from locus.core.reasoning_record import ReasoningRecord
from locus.core.state import AgentState, ToolExecution
from locus.reasoning.reflector import AgentStep, Reflector, format_guidance


def reflect_on_step_in_steps(run: RunContext) -> EffectGenerator[None]:
    """Assess the last round of tool calls, unless the reflector leaves this one out.

    The confidence and the advice to the model enter the state, which is saved before the event.
    """
    setting = run.settings.reflexion
    reflector = setting if isinstance(setting, Reflector) else Reflector()
    reflection = yield from perform_reasoning_in_steps(
        run, reflector.reflect_in_steps(_make_step(run.state))
    )
    if reflection is None:
        return
    state = run.state
    record = attrs.evolve(state.reasoning or ReasoningRecord(), reflected_iteration=state.iteration)
    state = state.evolve(confidence=reflection.confidence, reasoning=record)
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
    task, rounds = _find_task_and_rounds(state.messages)
    executions: list[ToolExecution] = []
    for execution in reversed(state.tool_executions):
        if execution.iteration != state.iteration:
            break
        executions.insert(0, execution)
    return AgentStep(task, tuple(executions), rounds, state.confidence)


def _find_task_and_rounds(
    messages: tuple[Message, ...],
) -> tuple[str, tuple[tuple[ToolCall, ...], ...]]:
    """Find the last words of the user, and the tool calls of each response after them."""
    rounds: list[tuple[ToolCall, ...]] = []
    task = ""
    for message in reversed(messages):
        if message.role is Role.USER and not is_agent_added_message(message):
            task = message.text
            break
        if message.tool_calls:
            rounds.append(message.tool_calls)
    return task, tuple(reversed(rounds))
