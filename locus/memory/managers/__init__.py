"""Conversation managers: what keeps a conversation within the bounds of a model."""

from __future__ import annotations

from locus.memory.managers.base import ConversationManager, Reduction, Summarize
from locus.memory.managers.rounds import is_summary
from locus.memory.managers.sliding import SlidingWindowManager
from locus.memory.managers.summarizing import SummarizingManager
from locus.memory.managers.tokens import estimate_tokens
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
