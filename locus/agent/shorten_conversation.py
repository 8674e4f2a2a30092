"""Runs an agent's conversation manager, and the model calls that it needs for a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locus.agent.check_model_response import call_model_in_steps
from locus.agent.effects import EffectGenerator
from locus.agent.run_context import RunContext
from locus.core.frozendict import EMPTY
from locus.core.messages import Message

if TYPE_CHECKING:
    from locus.memory.managers.base import ConversationManager


def shorten_conversation_in_steps(
    run: RunContext, manager: ConversationManager
) -> EffectGenerator[tuple[Message, ...]]:
    """Return the system message and the conversation, as the manager shortens them.

    If the manager replaces the history, the shortened conversation becomes that of the state.
    """
    system = () if run.system_message is None else (run.system_message,)
    messages = (*system, *run.state.messages)
    generator = manager.reduce(messages)  # it yields the model requests that it needs
    try:
        request = next(generator)
        while True:
            model = run.model if request.model is None else request.model
            response = yield from call_model_in_steps(
                model, request.messages, (), EMPTY, streamed=False
            )
            run.state = run.state.with_usage(response.usage)
            request = generator.send(response.content)
    except StopIteration as stop:
        shortened: tuple[Message, ...] = stop.value
    if manager.rewrites and shortened != messages:
        # No server has these messages, and the records refer to positions among the old ones.
        run.state = run.state.evolve(
            messages=shortened[len(system) :],
            provider_state=None,
            server_knowledge=None,
            empty_response_after=None,
            output_retries=None,
        )
    return shortened
