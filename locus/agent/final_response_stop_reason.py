"""Determines how a model's turn ended, and so why the run ends with it."""

from __future__ import annotations

from typing import Final

from locus.core.messages import Message
from locus.core.response import is_response_broken_off
from locus.core.state import AgentState

COMPLETE: Final = "complete"
"""The stop reason of a run in which the model gave its final answer."""


def was_refused(state: AgentState, message: Message) -> bool:
    """Return whether the last response, with this message, is a refusal or was held back."""
    return message.refusal is not None or state.finish_reason == "content_filter"


def find_run_stop_reason(state: AgentState, message: Message) -> str:
    """Return the stop reason of a run that ends with the last response, with this message.

    It is ``"complete"`` unless the model refused, was cut off or broken off, or its provider held
    the answer back. A stop reason that is missing or unknown counts as complete.
    """
    if message.refusal is not None or state.stop_reason == "refusal":
        return "refusal"
    if state.finish_reason in ("length", "content_filter"):
        return state.finish_reason
    if state.finish_reason == "other" and is_response_broken_off(state.stop_reason):
        return "other"
    return COMPLETE
