"""Memory stores: persistent facts, by namespace and key."""

from __future__ import annotations

from locus.memory.stores.base import MemoryItem, MemoryStore, Namespace
from locus.memory.stores.in_memory import InMemoryStore
from locus.memory.stores.sqlite import SQLiteStore

__all__ = ["InMemoryStore", "MemoryItem", "MemoryStore", "Namespace", "SQLiteStore"]
