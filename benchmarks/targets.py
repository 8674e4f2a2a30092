"""What Locus has to reach, as questions to the results of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .rounds import Measurement, Results

OURS, FLOOR = "locus", "floor"
FORMATS = ("openai", "anthropic", "ollama")
"""The wire formats, each named like the SDK it is compared with."""
FIRST = FORMATS[0]
"""The format of the crowd and the cold starts, and the one that every peer speaks."""
IMPORT_BASELINE = "attrs, anyio"

Run = dict[tuple[str, str, str], Results]
"""The results of a run: by format, case, and by runtime, size of the crowd, or an empty string."""


@dataclass(frozen=True)
class Target:
    """One target: what was measured against what was asked for."""

    text: str
    measured: float
    asked: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.measured >= self.asked if self.at_least else self.measured <= self.asked


def targets(run: Run) -> Iterator[Target]:
    """The targets that this run measured both sides of."""
    for wire in FORMATS:
        for case, what, of_floor, of_sdk in (
            ("chunk", "streamed chunk", 2.0, 20.0),
            ("whole", "whole answer", 1.25, 3.0),
        ):
            for runtime in ("blocking", "asyncio", "trio"):
                results = run.get((wire, case, runtime), {})
                text = f"{what}, {runtime}: CPU"
                if pair := _pair(results, OURS, FLOOR):
                    measured = pair[0].cpu / pair[1].cpu
                    yield Target(f"{wire}: {text} / floor's", measured, of_floor, "x")
                if pair := _pair(results, wire, OURS):
                    measured = pair[0].cpu / pair[1].cpu
                    yield Target(f"{wire}'s / {text}", measured, of_sdk, "x", at_least=True)
    if pair := _pair(run.get((FIRST, "import", ""), {}), OURS, IMPORT_BASELINE):
        extra = (pair[0].wall - pair[1].wall) * 1e3
        yield Target("import locus, over import attrs, anyio", extra, 30.0, "ms")
    if pair := _pair(run.get((FIRST, "cold", ""), {}), OURS, FIRST):
        yield Target("start to first answer / openai's", pair[0].wall / pair[1].wall, 0.2, "x")

    if pair := _pair(run.get((FIRST, "crowd", "1000"), {}), FIRST, OURS):
        # By CPU time: wall time on shared cores says more about the neighbours. The table has both.
        faster, memory = pair[0].cpu / pair[1].cpu, pair[1].peak / pair[0].peak
        yield Target("1000 streams: per CPU second / openai's", faster, 10.0, "x", at_least=True)
        yield Target("1000 streams: peak memory / openai's", memory, 0.5, "x")


def _pair(results: Results, one: str, other: str) -> tuple[Measurement, Measurement] | None:
    first, second = results.get(one), results.get(other)
    if isinstance(first, Measurement) and isinstance(second, Measurement):
        return first, second
    return None
