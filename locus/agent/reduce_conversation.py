"""Runs an agent's conversation manager, and the model calls that it needs for a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locus.agent.effects import EffectGenerator
from locus.agent.model_call import call_model
from locus.agent.run_context import RunContext
from locus.core.frozendict import EMPTY
from locus.core.messages import Message

if TYPE_CHECKING:
    from locus.memory.managers.base import ConversationManager


def reduce_conversation(
    run: RunContext, manager: ConversationManager
) -> EffectGenerator[tuple[Message, ...]]:
    """Return the system message and the conversation, as the manager reduces them.

    If the manager replaces the history, the reduced conversation becomes that of the state.
    """
    system = () if run.system_message is None else (run.system_message,)
    messages = (*system, *run.state.messages)
    reduction = manager.reduce(messages)  # a generator of the model requests that it needs
    try:
        request = next(reduction)
        while True:
            model = run.model if request.model is None else request.model
            response = yield from call_model(model, request.messages, (), EMPTY, streamed=False)
            run.state = run.state.with_usage(response.usage)
            request = reduction.send(response.content)
    except StopIteration as stop:
        reduced: tuple[Message, ...] = stop.value
    if manager.replaces_history and reduced != messages:
        # No server has these messages, and the records refer to positions among the old ones.
        run.state = run.state.evolve(
            messages=reduced[len(system) :],
            provider_state=None,
            server_knowledge=None,
            empty_response_after=None,
            output_retries=None,
        )
    return reduced
