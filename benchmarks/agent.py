"""What an iteration of an agent's loop costs, beside the loops of the peers.

``python -m benchmarks.agent`` measures one call of a scripted model and one of a tool that does
nothing, in the CPU time of the whole process; ``measure`` is that for a larger run.
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
from .live import calls_in, worker
from .rounds import Failure, Measure, Measurement, Results, by_turns
from .targets import OURS, Target

ROOT = Path(__file__).parent.parent
ASKED = 5.0
"""How many times the CPU time of Locus's loop each of the peers' has to take, at least."""


def measure(environments: Environments, rounds: int, slice_seconds: float) -> dict[str, Results]:
    """The results for an iteration, by runtime."""
    found: dict[str, Results] = {}
    for runtime in ("blocking", "asyncio", "trio"):
        measures: dict[str, Measure] = {}
        failures: Results = {}
        with ExitStack() as stack:
            for subject in agents.ALL:
                if runtime not in subject.RUNTIMES:
                    continue
                name = subject.NAME
                print(f"... agent: {name}, {runtime}", file=sys.stderr, flush=True)
                try:
                    python = _python(environments, subject, runtime)
                    path, variables = Path(subject.__file__), environments.variables(subject)
                    live = stack.enter_context(worker(python, path, runtime, "agent", variables))
                    n = calls_in(slice_seconds, live, "whole", "agent", agents.ANSWER)
                except (InstallError, Failure) as failure:
                    failures[name] = Failure(str(failure))
                    continue
                measures[name] = partial(live.measure, "whole", "agent", n, agents.ANSWER)
            found[runtime] = by_turns(measures, rounds, units=agents.ITERATIONS) | failures
    return found


def _python(environments: Environments, subject: ModuleType, runtime: str) -> Path:
    return environments.python(subject, runtime)


def targets(found: dict[str, Results]) -> Iterator[Target]:
    """Each peer's loop against ours."""
    for runtime, results in found.items():
        ours = results.get(OURS)
        for name, result in results.items():
            if name != OURS and isinstance(ours, Measurement) and isinstance(result, Measurement):
                text = f"agent, {runtime}: CPU of {name} / Locus's"
                yield Target(text, result.cpu / ours.cpu, ASKED, "x", at_least=True)


def report(found: dict[str, Results]) -> Iterator[str]:
    """The tables."""
    for runtime, results in found.items():
        title = f"an iteration of an agent, with one tool call, {runtime}"
        yield from table.block(title, "chunk", "locus-sdk", results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; 1 if ``--check`` was asked for and a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--locus-path", type=Path, metavar="DIR", help="measure the tree there")
    parser.add_argument(
        "--environments", type=Path, metavar="DIR", default=Path(__file__).parent / ".envs"
    )
    options = parser.parse_args(arguments)
    path = options.locus_path and options.locus_path.resolve()
    environments = Environments(options.environments.resolve(), ROOT, path)
    rounds, seconds = (5, 0.04) if options.quick else (15, 0.1)
    found = measure(environments, rounds, seconds)
    print("\n".join(report(found)))
    verdicts = list(targets(found))
    print("\n".join(table.verdicts(verdicts)))
    return int(options.check and not all(target.met for target in verdicts))


if __name__ == "__main__":
    sys.exit(main())
