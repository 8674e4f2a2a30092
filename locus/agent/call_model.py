"""Calls a model from the loop and checks that it gave a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locus.agent.effects import CallModel, EffectGenerator
from locus.agent.run_context import RunContext
from locus.core.messages import Message, Role
from locus.core.response import ModelResponse


def call_model_in_steps(
    run: RunContext,
    model: Any,
    messages: tuple[Message, ...],
    tools: tuple[Mapping[str, Any], ...] | None,
    options: Mapping[str, Any],
    *,
    streamed: bool = True,
) -> EffectGenerator[ModelResponse]:
    """Call a model and return its response.

    :param streamed: whether the caller of the run may receive the response while it arrives.
    :raises TypeError: if the model returned anything else; the message names the model.
    """
    response = yield CallModel(
        model, messages, tools, options, streamed=streamed, context=run.copy_variables()
    )
    if not isinstance(response, ModelResponse):
        raise TypeError(
            f"the model {type(model).__name__} gave {type(response).__name__}, not a ModelResponse"
        )
    if response.message.role is not Role.ASSISTANT:
        raise TypeError(
            f"the model {type(model).__name__} gave a message of the {response.message.role}'s, "
            "not one of the assistant's"
        )
    return response
