"""Formats the results as text tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .rounds import Measurement, Results
from .targets import FLOOR, Target

_UNITS = {
    "chunk": (1e6, "µs"),
    "alone": (1e6, "µs"),
    "lone": (1e6, "µs"),
    "sign": (1e6, "µs"),
}
_MEMORY_CASES = ("crowd", "lone")


def format_table(title: str, case: str, sdk_name: str, results: Results) -> Iterator[str]:
    """The lines of a table: one row for each subject, with times and ratios to floor and SDK."""
    scale, unit = _UNITS.get(case, (1e3, "ms"))
    floor, sdk = results.get(FLOOR), results.get(sdk_name)
    yield f"{title}, {unit}"
    memory = f"{'peak MB' if case == 'crowd' else 'MB':>10}" if case in _MEMORY_CASES else ""
    ratios = f"{'x floor':>10}{f'{sdk_name} / it':>16}"
    yield f"  {'':14}{'CPU':>9}{'wall':>10}{ratios}{'spread':>9}{memory}"
    for name, result in results.items():
        if not isinstance(result, Measurement):
            yield f"  {name:14}  {result}"
            continue
        floor_ratio = f"{result.cpu / floor.cpu:.2f}" if isinstance(floor, Measurement) else ""
        sdk_ratio = f"{sdk.cpu / result.cpu:.2f}" if isinstance(sdk, Measurement) else ""
        memory = f"{result.peak:10.1f}" if case in _MEMORY_CASES else ""
        yield (
            f"  {name:14}{result.cpu * scale:9.2f}{result.wall * scale:10.2f}"
            f"{floor_ratio:>10}{sdk_ratio:>16}{f'+{result.spread:.0%}':>9}{memory}"
        )
    yield ""


def format_targets(targets: Iterable[Target]) -> Iterator[str]:
    """The targets: for each the measured value, the required value, and whether it is met."""
    yield "Targets"
    for target in targets:
        sign = ">=" if target.at_least else "<="
        required = f"{sign} {target.required:g} {target.unit}"
        yield (
            f"  {target.text:53}{target.measured:8.2f} {target.unit:3}{required:>10}"
            f"   {'met' if target.is_met else 'NOT MET'}"
        )
