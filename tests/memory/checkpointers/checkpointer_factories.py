"""Factories of all checkpointers, for tests that run with each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from locus.memory import (
    BaseCheckpointer,
    FileCheckpointer,
    MemoryCheckpointer,
    SQLiteCheckpointer,
)

Factory = Callable[[Path], BaseCheckpointer]

FACTORIES: dict[str, Factory] = {
    "memory": lambda path: MemoryCheckpointer(),
    "file": lambda path: FileCheckpointer(path / "saved"),
    "sqlite": lambda path: SQLiteCheckpointer(path / "saved.db"),
}
DURABLE_BACKENDS = ["file", "sqlite"]
