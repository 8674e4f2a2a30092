"""Termination conditions: when an agent's run stops before the model is done.

A condition is an immutable value that examines a :class:`RunSnapshot` and returns the reason to
stop, or None to continue. It has no state: the agent counts and measures the time, so a condition
can be checked twice, compared, pickled and shared. ``|`` stops when either condition is met, ``&``
when both are:

    MaxIterations(10) | (TokenLimit(50_000) & ToolCalled("search")) | TextMention("DONE")

The reason is the repr of the condition that was met: ``MaxIterations(10)``, or for ``&`` the reprs
of all: ``TokenLimit(50000) and ToolCalled('search')``.
"""

from locus.core.termination.base import AllOf, AnyOf, TerminationCondition
from locus.core.termination.conditions import (
    ConfidenceMet,
    CustomCondition,
    MaxIterations,
    NoToolCalls,
    TextMention,
    TimeLimit,
    TokenLimit,
    ToolCalled,
)
from locus.core.termination.run_snapshot import RunSnapshot

__all__ = [
    "AllOf",
    "AnyOf",
    "ConfidenceMet",
    "CustomCondition",
    "MaxIterations",
    "NoToolCalls",
    "RunSnapshot",
    "TerminationCondition",
    "TextMention",
    "TimeLimit",
    "TokenLimit",
    "ToolCalled",
]
