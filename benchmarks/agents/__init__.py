"""The subjects of the agent benchmark: the same run, written for each package as its users would.

A module has ``NAME``, ``REQUIREMENTS`` and ``RUNTIMES`` like those in ``subjects``, and
``blocking(url, wire)`` and ``nonblocking(url, wire)``, which return two callables: a run of
``ITERATIONS`` calls of the model, all but the last of which ask for a tool, and None. The model is
the package's own double, which answers at once, so all that is measured is the agent. ``url`` and
``wire`` mean nothing here.
"""

from __future__ import annotations

from types import ModuleType

from . import locus_, locus_sdk, pydantic_ai_

ITERATIONS = 20
ANSWER = "That is all."
ALL: tuple[ModuleType, ...] = (locus_, locus_sdk, pydantic_ai_)
