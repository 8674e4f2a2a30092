"""Builds the system message that comes first in each request of a run."""

from __future__ import annotations

from functools import partial
from typing import Any

from locus.agent.effects import CallFunction, EffectGenerator, UseStorage
from locus.agent.prompt_context import PromptContext
from locus.agent.run_context import RunContext
from locus.core.messages import Message


def build_system_message_with_memory_in_steps(run: RunContext) -> EffectGenerator[Message | None]:
    """Join the system prompt, the facts of the memory store and the output instructions.

    Returns None if there is none of them. The message is no part of the state.
    """
    settings = run.settings
    prompt: Any = settings.system_prompt
    if callable(prompt):
        context = PromptContext(run.thread_id, run.metadata, run.state)
        prompt = yield CallFunction(prompt, (context,), run.make_function_context())
        if prompt is not None and not isinstance(prompt, str):
            raise TypeError(
                f"system_prompt returned {type(prompt).__name__}; a system prompt is text or None"
            )
    texts = [prompt] if prompt else []
    if settings.memory is not None:
        facts = yield UseStorage(
            partial(settings.memory.render, settings.memory_namespace), run.copy_variables()
        )
        if not isinstance(facts, str):
            raise TypeError(
                f"{type(settings.memory).__name__}.render returned {type(facts).__name__}, not text"
            )
        if facts:
            texts.append(facts)
    if run.output_schema is not None and run.output_schema.instructions:
        texts.append(run.output_schema.instructions)
    return Message.system("\n\n".join(texts)) if texts else None
