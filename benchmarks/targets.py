"""The performance targets of Locus, computed from the results of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .rounds import Measurement, Results

LOCUS, FLOOR = "locus", "floor"
FORMATS = ("openai", "anthropic", "ollama")
"""The wire formats, each named after the SDK that it is compared with."""
MAIN_FORMAT = FORMATS[0]
"""The format of the crowd and the cold starts; all packages but two SDKs have it."""
IMPORT_BASELINE = "attrs, anyio"

RunResults = dict[tuple[str, str, str], Results]
"""The results of a run: by format, case, and by runtime, size of the crowd, or an empty string."""


@dataclass(frozen=True)
class Target:
    """One target: a measured value and the required one."""

    text: str
    measured: float
    required: float
    unit: str
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.measured >= self.required if self.at_least else self.measured <= self.required


def compute_targets(run: RunResults) -> Iterator[Target]:
    """The targets for which this run measured both subjects."""
    for wire in FORMATS:
        for case, label, floor_ratio, sdk_ratio in (
            ("chunk", "streamed chunk", 2.0, 20.0),
            ("whole", "whole answer", 2.0, 6.0),
        ):
            for runtime in ("blocking", "asyncio", "trio"):
                if (case, runtime) == ("whole", "blocking"):
                    floor_ratio, sdk_ratio = 3.0, 12.0
                elif case == "whole":
                    floor_ratio, sdk_ratio = 2.0, 6.0
                results = run.get((wire, case, runtime), {})
                text = f"{label}, {runtime}: CPU"
                if pair := _get_pair(results, LOCUS, FLOOR):
                    measured = pair[0].cpu / pair[1].cpu
                    yield Target(f"{wire}: {text} / floor's", measured, floor_ratio, "x")
                if pair := _get_pair(results, wire, LOCUS):
                    measured = pair[0].cpu / pair[1].cpu
                    yield Target(f"{wire}'s / {text}", measured, sdk_ratio, "x", at_least=True)
    if pair := _get_pair(run.get((MAIN_FORMAT, "import", ""), {}), LOCUS, IMPORT_BASELINE):
        extra = (pair[0].wall - pair[1].wall) * 1e3
        yield Target("import locus, over import attrs, anyio", extra, 30.0, "ms")
    if pair := _get_pair(run.get((MAIN_FORMAT, "cold", ""), {}), LOCUS, MAIN_FORMAT):
        yield Target("start to first answer / openai's", pair[0].wall / pair[1].wall, 0.15, "x")
    yield from _compute_lone_targets(run)

    if pair := _get_pair(run.get((MAIN_FORMAT, "crowd", "1000"), {}), MAIN_FORMAT, LOCUS):
        # By CPU time: on shared cores, wall-clock time depends on other programs.
        faster, memory = pair[0].cpu / pair[1].cpu, pair[1].peak / pair[0].peak
        yield Target("1000 streams: per CPU second / openai's", faster, 10.0, "x", at_least=True)
        yield Target("1000 streams: peak memory / openai's", memory, 0.5, "x")


_LONE_SDK_RATIOS = {"asyncio": 2.5, "trio": 4.0, "uvloop": 6.0}
"""How many times less CPU than the SDK a chunk that arrives alone takes, at least."""
_MIN_STREAMS_FOR_MEMORY = 300
"""With fewer streams, most of the memory that a process takes more is not theirs."""


def _compute_lone_targets(run: RunResults) -> Iterator[Target]:
    """The targets for many streams whose chunks arrive alone."""
    first: dict[str, float] = {}
    for (wire, case, setting), results in run.items():
        if case != "lone":
            continue
        runtime, n = setting.split()
        text = f"{n} streams, {runtime}: lone chunk"
        if runtime in ("asyncio", "trio") and (pair := _get_pair(results, LOCUS, FLOOR)):
            yield Target(f"{text}: CPU / floor's", pair[0].cpu / pair[1].cpu, 1.5, "x")
        pair = _get_pair(results, wire, LOCUS)
        if pair is None or runtime not in _LONE_SDK_RATIOS:
            continue
        sdk, locus = pair
        ratio = _LONE_SDK_RATIOS[runtime]
        yield Target(f"{wire}'s / {text}: CPU", sdk.cpu / locus.cpu, ratio, "x", at_least=True)
        if int(n) >= _MIN_STREAMS_FOR_MEMORY:
            yield Target(f"{text}: memory / {wire}'s", locus.peak / sdk.peak, 0.5, "x")
        if runtime not in first:
            first[runtime] = locus.cpu
        else:
            yield Target(f"{text}: CPU / with 10 streams", locus.cpu / first[runtime], 1.25, "x")


def _get_pair(results: Results, one: str, other: str) -> tuple[Measurement, Measurement] | None:
    first, second = results.get(one), results.get(other)
    if isinstance(first, Measurement) and isinstance(second, Measurement):
        return first, second
    return None
