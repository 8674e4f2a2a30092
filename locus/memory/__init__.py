"""Memory: conversation managers, checkpointers and memory stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locus.lazy import make_lazy_getattr_and_dir

if TYPE_CHECKING:
    from locus.memory.checkpointers.base import BaseCheckpointer
    from locus.memory.checkpointers.file import FileCheckpointer
    from locus.memory.checkpointers.in_memory import MemoryCheckpointer
    from locus.memory.checkpointers.sqlite import SQLiteCheckpointer
    from locus.memory.errors import (
        CheckpointError,
        CheckpointVersionError,
        MemoryStoreError,
        ThreadBusyError,
    )
    from locus.memory.managers.base import ConversationManager
    from locus.memory.managers.sliding_window import SlidingWindowManager
    from locus.memory.managers.summarizing import SummarizingManager
    from locus.memory.managers.text_truncation import TruncatingManager
    from locus.memory.stores.base import MemoryStore
    from locus.memory.stores.in_memory import InMemoryStore
    from locus.memory.stores.sqlite import SQLiteStore

_LAZY_MODULES: Final = {
    "BaseCheckpointer": "locus.memory.checkpointers.base",
    "FileCheckpointer": "locus.memory.checkpointers.file",
    "MemoryCheckpointer": "locus.memory.checkpointers.in_memory",
    "SQLiteCheckpointer": "locus.memory.checkpointers.sqlite",
    **dict.fromkeys(
        ("CheckpointError", "CheckpointVersionError", "MemoryStoreError", "ThreadBusyError"),
        "locus.memory.errors",
    ),
    "ConversationManager": "locus.memory.managers.base",
    "SlidingWindowManager": "locus.memory.managers.sliding_window",
    "SummarizingManager": "locus.memory.managers.summarizing",
    "TruncatingManager": "locus.memory.managers.text_truncation",
    "InMemoryStore": "locus.memory.stores.in_memory",
    "MemoryStore": "locus.memory.stores.base",
    "SQLiteStore": "locus.memory.stores.sqlite",
}

__all__ = [
    "BaseCheckpointer",
    "CheckpointError",
    "CheckpointVersionError",
    "ConversationManager",
    "FileCheckpointer",
    "InMemoryStore",
    "MemoryCheckpointer",
    "MemoryStore",
    "MemoryStoreError",
    "SQLiteCheckpointer",
    "SQLiteStore",
    "SlidingWindowManager",
    "SummarizingManager",
    "ThreadBusyError",
    "TruncatingManager",
]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
