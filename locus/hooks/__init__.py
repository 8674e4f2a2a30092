"""Hooks: objects of the user's that an agent tells what it is about to do, and what it has done."""

from __future__ import annotations

from locus.hooks.events import (
    AfterInvocationEvent,
    AfterModelCallEvent,
    AfterToolCallEvent,
    BeforeInvocationEvent,
    BeforeModelCallEvent,
    BeforeToolCallEvent,
)
from locus.hooks.registry import HookPriority, HookProvider

__all__ = [
    "AfterInvocationEvent",
    "AfterModelCallEvent",
    "AfterToolCallEvent",
    "BeforeInvocationEvent",
    "BeforeModelCallEvent",
    "BeforeToolCallEvent",
    "HookPriority",
    "HookProvider",
]
