"""The agent's loop: call the model, run the tools that it called, check whether to stop.

The loop is a generator of effects (``effects``), which ``blocking_driver`` and ``async_driver``
perform. So it is the same for every runtime.

The state is saved after each model response and after each tool call, before the caller receives
the event. A run that is interrupted anywhere can be resumed with everything that was done.

What assesses the work of the agent (``reflect_on_step``, ``review_answer``) is imported only if the
agent's settings ask for it.
"""

from __future__ import annotations

from typing import Final

from locus.agent.call_model import call_model_in_steps
from locus.agent.effects import CallFunction, EffectGenerator, EmitEvent, ReadClock
from locus.agent.final_response_stop_reason import find_run_stop_reason, was_refused
from locus.agent.normalize_response import normalize_response_message
from locus.agent.record_response import make_state_with_output_retry, make_state_with_response
from locus.agent.request_messages import build_request_messages_in_steps
from locus.agent.request_options import build_request_options, select_tool_schemas
from locus.agent.resume_point import (
    find_unfinished_response,
    read_output_retry_count,
    restore_cut_off_call_id,
)
from locus.agent.run_context import RunContext
from locus.agent.schema_fallback import fall_back_from_schema, remember_refused_schema
from locus.agent.tool_call_approval import APPROVAL_REQUIRED
from locus.agent.tool_round import run_tool_round_in_steps
from locus.core.agent_added_message import make_agent_added_message
from locus.core.build_tool_schemas import build_tool_schemas, get_tool_name
from locus.core.errors import APIStatusError, ContextWindowExceededError, StructuredOutputError
from locus.core.events import ThinkEvent
from locus.core.messages import Message
from locus.core.response import ModelResponse, is_turn_paused
from locus.core.termination import MaxIterations
from locus.hooks.events import AfterModelCallEvent, BeforeModelCallEvent

_LAST_ANSWER: Final = (
    "No more steps are possible. Give your final answer now, from what you have found out so far, "
    "without calling tools. Say what is missing."
)


def run_agent_loop_in_steps(run: RunContext) -> EffectGenerator[str]:
    """Call the model and the tools until there is a reason to stop, and return that reason."""
    settings = run.settings
    iteration_limit = MaxIterations(settings.max_iterations)
    message = None
    if run.is_resumed:
        run.state = restore_cut_off_call_id(run.state)
        run.output_retry_count = read_output_retry_count(run.state)
        run.hidden_tools = frozenset(run.state.hidden_tools)
        message = find_unfinished_response(run.state)
        if settings.reflexion is not None:
            from locus.agent.reflect_on_step import reflect_after_resume_in_steps

            yield from reflect_after_resume_in_steps(run)
    while True:
        if message is None:
            message = yield from _request_response_in_steps(run)
        run.response_message = message
        if message.tool_calls:
            yield from run_tool_round_in_steps(run)
            if run.pending_calls:
                run.note_missing_answer(APPROVAL_REQUIRED)
                return APPROVAL_REQUIRED
            if settings.reflexion is not None:
                from locus.agent.reflect_on_step import reflect_on_step_in_steps

                yield from reflect_on_step_in_steps(run)
        stop_reason: str | None = None
        if settings.termination is not None:
            now = yield ReadClock()
            check, snapshot = settings.termination.check, run.make_snapshot(now)
            if settings.termination.is_quick():
                stop_reason = check(snapshot)
            else:
                stop_reason = yield CallFunction(check, (snapshot,), run.make_function_context())
        limit_reason = stop_reason or iteration_limit.check(run.make_snapshot(run.started_at))
        goes_on = bool(message.tool_calls) or is_turn_paused(run.state.stop_reason)
        output_error = None
        if not goes_on:
            output_error = yield from run.parse_final_answer_in_steps(message)
        is_final = not goes_on and not _can_retry_final_answer(run, message, output_error)
        review_message = None
        if is_final:
            review_message = yield from _review_answer_in_steps(
                run, is_last=limit_reason is not None
            )
            is_final = review_message is None
        is_at_limit = stop_reason is None and not is_final
        if is_at_limit:
            stop_reason = limit_reason
        if stop_reason is not None or is_final:
            if goes_on and is_at_limit and stop_reason is not None and settings.final_answer:
                yield from _request_last_answer_in_steps(run)
                return stop_reason
            if goes_on:
                run.note_missing_answer(stop_reason)
            return stop_reason or find_run_stop_reason(run.state, message)
        if review_message is not None:
            run.output_retry_count = 0  # another answer has retries of its own
            run.state = run.state.with_messages(review_message)
            yield from run.save_state_in_steps()
        elif output_error is not None and run.output_schema is not None:
            run.output_retry_count += 1
            retry_message = run.output_schema.make_retry_message(
                output_error, is_cut_off=run.state.finish_reason == "length"
            )
            run.state = make_state_with_output_retry(run, retry_message)
            yield from run.save_state_in_steps()
        message = None


def _request_last_answer_in_steps(run: RunContext) -> EffectGenerator[None]:
    """Ask the model for an answer from what it has, without tools: the run may not go on.

    The answer is reviewed as any other, but is the last one, whatever the review finds.
    """
    run.is_last_answer = True
    run.state = run.state.with_messages(make_agent_added_message(_LAST_ANSWER, "final_answer"))
    yield from run.save_state_in_steps()
    run.response_message = yield from _request_response_in_steps(run)
    yield from run.parse_final_answer_in_steps(run.response_message)
    yield from _review_answer_in_steps(run, is_last=True)


def _review_answer_in_steps(run: RunContext, *, is_last: bool) -> EffectGenerator[Message | None]:
    """Check the final answer, if the agent has grounding or GSAR.

    :param is_last: whether the run ends with this answer, whatever the check finds.

    Returns the message that asks for another answer; None if this one stands.
    """
    if run.settings.grounding is None and run.settings.gsar is None:
        return None
    from locus.agent.review_answer import review_answer_in_steps

    return (yield from review_answer_in_steps(run, is_last=is_last))


def _can_retry_final_answer(
    run: RunContext, message: Message, error: StructuredOutputError | None
) -> bool:
    """Whether the model can be asked again for an answer of the right type.

    A model that refused is not asked again, because it would refuse again.
    """
    if error is None or was_refused(run.state, message):
        return False
    return run.output_retry_count < run.settings.output_schema_retries


def _request_response_in_steps(run: RunContext) -> EffectGenerator[Message]:
    """Call the model once, record its response in the state, and return its message."""
    response = yield from _call_model_with_fallbacks_in_steps(run)
    if run.output_schema is not None:
        response = run.output_schema.convert_answer_call(response, is_last=run.is_last_answer)
    message = normalize_response_message(
        response, _find_taken_call_ids(run, response), has_calls=not run.is_last_answer
    )
    run.state = make_state_with_response(run, response, message)
    yield from run.save_state_in_steps()
    yield EmitEvent(ThinkEvent(run.state.iteration, response.reasoning, message.tool_calls))
    return message


def _call_model_with_fallbacks_in_steps(run: RunContext) -> EffectGenerator[ModelResponse]:
    """Call the model, and once more if the first request cannot be answered as it is.

    If the conversation is too long for the model, there is less of it in the second request. If the
    server refuses the schema of the answer, the model is asked for it in words.
    """
    is_shortened = False
    refusals: list[APIStatusError] = []
    while True:
        try:
            response = yield from _call_model_with_hooks_in_steps(run)
        except ContextWindowExceededError:
            if is_shortened or not (yield from run.reduce_token_budget_in_steps()):
                raise
            is_shortened = True
        except APIStatusError as exc:
            if not fall_back_from_schema(run, exc):
                for refusal in refusals:
                    exc.add_note(f"with the schema of output_schema it was: {refusal}")
                raise
            refusals.append(exc)
        else:
            remember_refused_schema(run)
            return response


def _call_model_with_hooks_in_steps(run: RunContext) -> EffectGenerator[ModelResponse]:
    """Build a request, call the hooks and the model, and return the response."""
    messages = yield from build_request_messages_in_steps(run)
    tools, options = select_tool_schemas(run), build_request_options(run)
    event_fields = {
        "thread_id": run.thread_id,
        "metadata": run.metadata,
        "model": run.model,
        "iteration": run.state.iteration + 1,
        "streamed": run.streamed,
    }
    run.hidden_tools = frozenset()
    if run.has_hooks("on_before_model_call"):
        offered = run.bound_tools if tools is None else tools
        before = BeforeModelCallEvent(
            **event_fields,
            messages=messages,
            tools=offered,
            options=options,
            tools_are_explicit=tools is not None,
        )
        yield from run.call_hooks_in_steps("on_before_model_call", before)
        messages, options = before.messages, before.options
        if before.tools is not offered:
            tools = build_tool_schemas(before.tools)
            names = frozenset(tool.name for tool in run.runnable_tools)
            run.hidden_tools = names.difference(map(get_tool_name, tools))
    run.sent_messages, run.sent_options = messages, options
    run.sent_tools = run.bound_tools if tools is None else tools
    try:
        response = yield from call_model_in_steps(run, run.model, messages, tools, options)
    except APIStatusError as exc:
        run.note_refused_request(exc)
        raise
    run.is_prompt_refused = False
    if run.has_hooks("on_after_model_call"):
        after = AfterModelCallEvent(
            **event_fields,
            messages=messages,
            tools=run.sent_tools,
            options=options,
            tools_are_explicit=tools is not None,
            response=response,
        )
        yield from run.call_hooks_in_steps("on_after_model_call", after)
    return response


def _find_taken_call_ids(run: RunContext, response: ModelResponse) -> frozenset[str]:
    """Return the ids that the calls of a response must not have.

    Some providers count the calls of each response from 0. A call that a person may have to approve
    gets an id of its own in the conversation, or a repeated decision about an earlier one would
    count for it.
    """
    tools = (run.find_tool(call.name) for call in response.tool_calls)
    if not any(tool is not None and tool.requires_approval is not False for tool in tools):
        return frozenset()
    return frozenset(call.id for message in run.state.messages for call in message.tool_calls)
