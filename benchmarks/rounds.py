"""Interleaves measurements: A B C, B C A, C A B, so that a slow moment affects all subjects.

Times are noisy on cores that do other work too. Noise only makes them longer, so the best round is
the result, and its distance to the median round is stored as the spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class MeasurementFailed(Exception):
    """A subject failed or gave a wrong result; the message is shown in the table."""


class Sample(NamedTuple):
    """One round: CPU and wall-clock seconds, and the peak memory of the process in MB."""

    cpu: float
    wall: float
    peak: float = 0.0


@dataclass
class Measurement:
    """The samples of a subject; each is divided by ``units``, such as the number of chunks."""

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
        """How much more CPU time the median round took than the best one, as a fraction."""
        median = statistics.median(sample.cpu for sample in self.samples)
        return median / self.units / self.cpu - 1


MeasureFunction = Callable[[], Sample]
Results = dict[str, Measurement | MeasurementFailed]


def measure_interleaved(
    measures: Mapping[str, MeasureFunction], rounds: int, *, units: int = 1, warm_up: bool = True
) -> Results:
    """Call each function of ``measures`` once in each round.

    With ``warm_up`` there is a first round that is discarded. A function that raises
    ``MeasurementFailed`` is not called again.
    """
    results: Results = {name: Measurement(units) for name in measures}
    order = list(measures)
    for number in range(1 - warm_up, rounds + 1):
        for name in order:
            result = results[name]
            if isinstance(result, MeasurementFailed):
                continue
            try:
                sample = measures[name]()
            except MeasurementFailed as exc:
                results[name] = exc
                continue
            if number:
                result.samples.append(sample)
        order = order[1:] + order[:1]
    return results
