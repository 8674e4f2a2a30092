"""Measuring by turns: A B C, B C A, C A B, so that a slow moment of the machine meets everyone.

Cores shared with other work give noisy times. Noise only ever adds, so the figure is the best
round's, and how far the median round lies above it is kept as the spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Failure(Exception):
    """A subject did not do what was asked; the message says why, for the table."""


class Sample(NamedTuple):
    """What one round took: CPU and wall seconds, and the most memory the process had, in MB."""

    cpu: float
    wall: float
    peak: float = 0.0


@dataclass
class Measurement:
    """The samples of some work, each divided by the ``units`` of it that there were."""

    units: int = 1
    samples: list[Sample] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        return min(sample.cpu for sample in self.samples) / self.units

    @property
    def wall(self) -> float:
        return min(sample.wall for sample in self.samples) / self.units

    @property
    def peak(self) -> float:
        return min(sample.peak for sample in self.samples)

    @property
    def spread(self) -> float:
        """How far the median round lies above the best one in CPU time, as a fraction."""
        median = statistics.median(sample.cpu for sample in self.samples)
        return median / self.units / self.cpu - 1


Measure = Callable[[], Sample]
Results = dict[str, Measurement | Failure]


def by_turns(
    measures: Mapping[str, Measure], rounds: int, *, units: int = 1, warm_up: bool = True
) -> Results:
    """Call each of ``measures`` once a round.

    With ``warm_up`` there is a round before the others, which is dropped. A measure that raises
    ``Failure`` is left out from then on.
    """
    results: Results = {name: Measurement(units) for name in measures}
    order = list(measures)
    for number in range(1 - warm_up, rounds + 1):
        for name in order:
            result = results[name]
            if isinstance(result, Failure):
                continue
            try:
                sample = measures[name]()
            except Failure as failure:
                results[name] = failure
                continue
            if number:
                result.samples.append(sample)
        order = order[1:] + order[:1]
    return results
