"""Conversation managers: they shorten a conversation that is too long for a model."""

from __future__ import annotations

from locus.memory.managers.base import ConversationManager, ShorteningGenerator, SummaryRequest
from locus.memory.managers.message_groups import is_summary
from locus.memory.managers.sliding_window import SlidingWindowManager
from locus.memory.managers.summarizing import SummarizingManager
from locus.memory.managers.text_truncation import TruncatingManager
from locus.memory.managers.token_estimate import estimate_tokens

__all__ = [
    "ConversationManager",
    "ShorteningGenerator",
    "SlidingWindowManager",
    "SummarizingManager",
    "SummaryRequest",
    "TruncatingManager",
    "estimate_tokens",
    "is_summary",
]
