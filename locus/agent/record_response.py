"""Makes the agent's next state, with a model response or a retry for a typed answer in it."""

from __future__ import annotations

from locus.agent.run_context import RunContext
from locus.agent.server_stored_conversation import make_server_knowledge
from locus.core.messages import Message
from locus.core.response import ModelResponse, is_response_broken_off, is_turn_paused
from locus.core.state import AgentState, OutputRetries


def make_state_with_response(
    run: RunContext, response: ModelResponse, message: Message
) -> AgentState:
    """Return the state with a response in it.

    An empty response is not added to the conversation, because no provider accepts one. The state
    records that there was one, or a resumed run would call the model again. A paused turn is added
    even if it has only what its provider understands.

    :param message: the message of the response, as the state stores it.
    """
    is_empty = (
        not message.tool_calls
        and not message.has_content
        and not is_turn_paused(response.stop_reason)
    )
    state = run.state.with_usage(response.usage)
    if not is_empty:
        state = state.with_messages(message)
    count = len(state.messages)
    server_knowledge = None
    if response.provider_state is not None:
        server_knowledge = make_server_knowledge(run.model, run.system_message, count)
    cut_off_call_id = None
    is_cut_off = response.finish_reason == "length" or is_response_broken_off(response.stop_reason)
    if message.tool_calls and is_cut_off:
        cut_off_call_id = message.tool_calls[-1].id
    return state.evolve(
        iteration=state.iteration + 1,
        provider_state=response.provider_state,
        server_knowledge=server_knowledge,
        empty_response_after=count if is_empty else None,
        output_retries=OutputRetries(run.output_retry_count, count)
        if run.output_retry_count
        else None,
        cut_off_call_id=cut_off_call_id,
        hidden_tools=tuple(sorted(run.hidden_tools)),
        stop_reason=response.stop_reason,
        finish_reason=response.finish_reason,
    )


def make_state_with_output_retry(run: RunContext, message: Message) -> AgentState:
    """Return the state with a message that asks the model for its final answer again."""
    state = run.state.with_messages(message)
    return state.evolve(output_retries=OutputRetries(run.output_retry_count, len(state.messages)))
