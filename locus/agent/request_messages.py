"""Builds the messages of a model request: the conversation, or only what is new to the server."""

from __future__ import annotations

from locus.agent.effects import CallFunction, EffectGenerator
from locus.agent.fit_result_to_model import describe_images
from locus.agent.run_context import RunContext
from locus.agent.run_conversation_manager import shorten_conversation_in_steps
from locus.agent.server_stored_conversation import find_unsent_messages
from locus.agent.shorten_after_context_error import shorten_to_budget
from locus.core.messages import Message
from locus.models.capabilities import get_capabilities


def build_request_messages_in_steps(run: RunContext) -> EffectGenerator[tuple[Message, ...]]:
    """Build the messages of the next request, with text for the images that the model refuses."""
    messages = yield from _select_messages_in_steps(run)
    return describe_images(messages, run.refused_images)


def _select_messages_in_steps(run: RunContext) -> EffectGenerator[tuple[Message, ...]]:
    """Select the messages of the next request, and note in the run if they are incremental.

    A server that stores the conversation is sent only what is new to it, as long as it can
    continue from what it has. Otherwise the messages are the system message and the whole
    conversation, as the conversation manager shortens it. A manager is not used where the server
    stores the conversation. If a request was too long all the same, the next ones have less.
    """
    state, model = run.state, run.model
    is_stored_by_server = get_capabilities(model).server_state
    unsent = None
    if is_stored_by_server and state.provider_state is not None:
        unsent = find_unsent_messages(state, model, run.system_message)
    run.is_incremental = unsent is not None
    if unsent is not None:
        return unsent
    manager = run.settings.conversation_manager
    if manager is not None and not is_stored_by_server:
        messages = yield from shorten_conversation_in_steps(run, manager)
        if run.token_budget is not None:
            messages = yield CallFunction(
                shorten_to_budget, (messages, run.token_budget), run.make_function_context()
            )
        return messages
    return state.messages if run.system_message is None else (run.system_message, *state.messages)
