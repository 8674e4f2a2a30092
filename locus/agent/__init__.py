"""Agents: call a model, run the tools that it calls, and repeat until it gives its final answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locus.lazy import make_lazy_getattr_and_dir

if TYPE_CHECKING:
    from locus.agent.agent import Agent
    from locus.agent.async_driver import AsyncRun
    from locus.agent.blocking_driver import BlockingRun
    from locus.agent.prompt_context import PromptContext
    from locus.agent.result import AgentResult
    from locus.core.state import AgentState

_LAZY_MODULES: Final = {
    "Agent": "locus.agent.agent",
    "AgentResult": "locus.agent.result",
    "AgentState": "locus.core.state",
    "AsyncRun": "locus.agent.async_driver",
    "BlockingRun": "locus.agent.blocking_driver",
    "PromptContext": "locus.agent.prompt_context",
}

__all__ = ["Agent", "AgentResult", "AgentState", "AsyncRun", "BlockingRun", "PromptContext"]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
