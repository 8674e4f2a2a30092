"""Calls the blocking or the async form of a method, as a runtime does."""

from __future__ import annotations

from typing import Any

from tests.support.runtimes import run_async


def call_on_runtime(runtime_name: str, owner: Any, method: str, *args: Any) -> Any:
    """Call ``owner.method_sync`` in blocking code, or await ``owner.method``."""
    if runtime_name == "blocking":
        return getattr(owner, f"{method}_sync")(*args)
    return run_async(runtime_name, getattr(owner, method), *args)
