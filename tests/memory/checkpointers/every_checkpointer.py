"""Every checkpointer, to try the same on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from locus.memory import (
    BaseCheckpointer,
    FileCheckpointer,
    MemoryCheckpointer,
    SQLiteCheckpointer,
)

Make = Callable[[Path], BaseCheckpointer]

MAKERS: dict[str, Make] = {
    "memory": lambda path: MemoryCheckpointer(),
    "file": lambda path: FileCheckpointer(path / "saved"),
    "sqlite": lambda path: SQLiteCheckpointer(path / "saved.db"),
}
DURABLE = ["file", "sqlite"]
