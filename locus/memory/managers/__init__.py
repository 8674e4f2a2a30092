"""Conversation managers: what keeps a conversation within the bounds of a model."""

from __future__ import annotations

from locus.memory.managers.base import ConversationManager, Reduction, Summarize
from locus.memory.managers.sliding_window import SlidingWindowManager
from locus.memory.managers.summarizing import SummarizingManager
from locus.memory.managers.token_estimate import estimate_tokens
from locus.memory.managers.tool_rounds import is_summary
from locus.memory.managers.truncating import TruncatingManager

__all__ = [
    "ConversationManager",
    "Reduction",
    "SlidingWindowManager",
    "Summarize",
    "SummarizingManager",
    "TruncatingManager",
    "estimate_tokens",
    "is_summary",
]
