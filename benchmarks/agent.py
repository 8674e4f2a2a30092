"""Measures an iteration of the agent's loop, and of the loops of other packages.

``python -m benchmarks.agent`` measures one call of a scripted model and one of a tool that does
nothing, in CPU time of the process; ``measure_agents`` does so as part of a larger run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType

from . import agents, table
from .environments import Environments, InstallError
from .live import count_calls, start_worker
from .rounds import MeasureFunction, Measurement, MeasurementFailed, Results, measure_interleaved
from .targets import LOCUS, Target

ROOT = Path(__file__).parent.parent
MIN_RATIO = 5.0
"""The least ratio of the CPU time of another package's loop to that of Locus's."""


def measure_agents(
    environments: Environments, rounds: int, slice_seconds: float
) -> dict[str, Results]:
    """Measure an iteration of every agent; return the results by runtime."""
    results_by_runtime: dict[str, Results] = {}
    for runtime in ("blocking", "asyncio", "trio"):
        measures: dict[str, MeasureFunction] = {}
        failures: Results = {}
        with ExitStack() as stack:
            for subject in agents.ALL:
                if runtime not in subject.RUNTIMES:
                    continue
                name = subject.NAME
                print(f"... agent: {name}, {runtime}", file=sys.stderr, flush=True)
                try:
                    python = _get_python(environments, subject, runtime)
                    path, variables = Path(subject.__file__), environments.get_variables(subject)
                    live = stack.enter_context(
                        start_worker(python, path, runtime, "agent", variables)
                    )
                    n = count_calls(slice_seconds, live, "whole", "agent", agents.ANSWER)
                except (InstallError, MeasurementFailed) as exc:
                    failures[name] = MeasurementFailed(str(exc))
                    continue
                measures[name] = partial(live.measure, "whole", "agent", n, agents.ANSWER)
            results_by_runtime[runtime] = (
                measure_interleaved(measures, rounds, units=agents.ITERATIONS) | failures
            )
    return results_by_runtime


def _get_python(environments: Environments, subject: ModuleType, runtime: str) -> Path:
    return environments.get_python(subject, runtime)


def compute_targets(results_by_runtime: dict[str, Results]) -> Iterator[Target]:
    """Yield the targets that compare other packages' loops with Locus's."""
    for runtime, results in results_by_runtime.items():
        locus_result = results.get(LOCUS)
        for name, result in results.items():
            if (
                name != LOCUS
                and isinstance(locus_result, Measurement)
                and isinstance(result, Measurement)
            ):
                text = f"agent, {runtime}: CPU of {name} / Locus's"
                yield Target(text, result.cpu / locus_result.cpu, MIN_RATIO, "x", at_least=True)


def format_tables(results_by_runtime: dict[str, Results]) -> Iterator[str]:
    """Yield the lines of the tables."""
    for runtime, results in results_by_runtime.items():
        title = f"an iteration of an agent, with one tool call, {runtime}"
        yield from table.format_table(title, "chunk", "locus-sdk", results)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; returns 1 if ``--check`` is set and a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--locus-path", type=Path, metavar="DIR", help="measure the tree there")
    parser.add_argument(
        "--environments", type=Path, metavar="DIR", default=Path(__file__).parent / ".envs"
    )
    args = parser.parse_args(argv)
    path = args.locus_path and args.locus_path.resolve()
    environments = Environments(args.environments.resolve(), ROOT, path)
    rounds, seconds = (5, 0.04) if args.quick else (15, 0.1)
    results_by_runtime = measure_agents(environments, rounds, seconds)
    print("\n".join(format_tables(results_by_runtime)))
    targets = list(compute_targets(results_by_runtime))
    print("\n".join(table.format_targets(targets)))
    return int(args.check and not all(target.is_met for target in targets))


if __name__ == "__main__":
    sys.exit(main())
