"""Collects the texts of the system message that comes first in each request of a run."""

from __future__ import annotations

from functools import partial
from typing import Any

from locus.agent.effects import CallFunction, EffectGenerator, UseStorage
from locus.agent.prompt_context import PromptContext, takes_prompt_context
from locus.agent.run_context import RunContext


def build_system_texts_in_steps(run: RunContext) -> EffectGenerator[tuple[str, ...]]:
    """Return the system prompt and the facts of the memory store, as far as there are any."""
    settings = run.settings
    prompt: Any = settings.system_prompt
    if callable(prompt):
        arguments: tuple[Any, ...] = ()
        if takes_prompt_context(prompt):
            arguments = (PromptContext(run.thread_id, run.metadata, run.state),)
        prompt = yield CallFunction(prompt, arguments, run.make_function_context())
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
    return tuple(texts)
