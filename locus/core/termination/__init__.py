"""When a run of an agent ends before the model is done: conditions, and their algebra.

A condition is an immutable value that looks at a :class:`RunSnapshot` and gives the reason to
stop, or None to go on. It does nothing else: whoever drives the run counts and keeps the time, so
a condition can be asked twice, compared, pickled and shared. ``|`` stops where either says so,
``&`` where both do:

    MaxIterations(10) | (TokenLimit(50_000) & ToolCalled("search")) | TextMention("DONE")

The reason names the conditions that fired, as they were written: ``MaxIterations(10)``, or for
``&`` all of them: ``TokenLimit(50000) and ToolCalled('search')``.
"""

from locus.core.termination.combinators import AllOf, AnyOf, RunSnapshot, TerminationCondition
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
