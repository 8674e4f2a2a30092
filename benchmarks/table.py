"""The results as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .rounds import Measurement, Results
from .targets import FLOOR, Target

_UNITS = {"chunk": (1e6, "µs"), "alone": (1e6, "µs"), "sign": (1e6, "µs")}


def block(title: str, case: str, sdk_name: str, results: Results) -> Iterator[str]:
    """One table: a row a subject, with times and ratios to the floor and the SDK."""
    scale, unit = _UNITS.get(case, (1e3, "ms"))
    floor, sdk = results.get(FLOOR), results.get(sdk_name)
    yield f"{title}, {unit}"
    memory = f"{'peak MB':>10}" if case == "crowd" else ""
    ratios = f"{'x floor':>10}{f'{sdk_name} / it':>16}"
    yield f"  {'':14}{'CPU':>9}{'wall':>10}{ratios}{'spread':>9}{memory}"
    for name, result in results.items():
        if not isinstance(result, Measurement):
            yield f"  {name:14}  {result}"
            continue
        over = f"{result.cpu / floor.cpu:.2f}" if isinstance(floor, Measurement) else ""
        under = f"{sdk.cpu / result.cpu:.2f}" if isinstance(sdk, Measurement) else ""
        memory = f"{result.peak:10.0f}" if case == "crowd" else ""
        yield (
            f"  {name:14}{result.cpu * scale:9.2f}{result.wall * scale:10.2f}"
            f"{over:>10}{under:>16}{f'+{result.spread:.0%}':>9}{memory}"
        )
    yield ""


def verdicts(targets: Iterable[Target]) -> Iterator[str]:
    """The targets, each with what was measured, what was asked for, and whether it is met."""
    yield "Targets"
    for target in targets:
        sign = ">=" if target.at_least else "<="
        asked = f"{sign} {target.asked:g} {target.unit}"
        yield (
            f"  {target.text:53}{target.measured:8.2f} {target.unit:3}{asked:>10}"
            f"   {'met' if target.met else 'NOT MET'}"
        )
