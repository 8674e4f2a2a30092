"""Hooks: objects of the user's whose methods an agent calls before and after each step of a run."""

from __future__ import annotations

from locus.hooks.events import (
    AfterInvocationEvent,
    AfterModelCallEvent,
    AfterToolCallEvent,
    BeforeInvocationEvent,
    BeforeModelCallEvent,
    BeforeToolCallEvent,
)
from locus.hooks.provider import HookPriority, HookProvider

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
