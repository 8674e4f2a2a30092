"""The subjects of the agent benchmark: the same run, written as a user of each package would.

A module has ``NAME``, ``REQUIREMENTS`` and ``RUNTIMES`` like those in ``subjects``, and
``make_blocking_calls(url, wire)`` and ``make_async_calls(url, wire)``, which return two values: a
function that makes a run of ``ITERATIONS`` model calls, all but the last of which ask for a tool,
and None. The model is the package's own test double, which replies at once, so only the agent is
measured. ``url`` and ``wire`` are not used here.
"""

from __future__ import annotations

from types import ModuleType

from . import locus_, locus_sdk, pydantic_ai_

ITERATIONS = 20
ANSWER = "That is all."
ALL: tuple[ModuleType, ...] = (locus_, locus_sdk, pydantic_ai_)
