"""The run: makes the environments, measures by turns, prints the tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import canned, cold, subjects, table
from .environments import Environments, InstallError
from .live import Worker, calls_in, crowd, loopback_server, worker
from .rounds import Failure, Measure, Measurement, Results, by_turns
from .targets import IMPORT_BASELINE, OURS, Run, targets

ROOT = Path(__file__).parent.parent
CASES = ("whole", "stream", "crowd", "cold")
RUNTIMES = ("blocking", "asyncio", "trio")
# A chunk is what the caller sees: the ones with text, the role, the finish and the usage.
_EXTRA_CHUNKS = 3


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of each kind, seconds a slice, streams in the crowd."""

    rounds: int
    slice_seconds: float
    rounds_alone: int
    rounds_cold: int
    rounds_crowd: int
    crowd: int


FULL = Effort(
    rounds=15, slice_seconds=0.1, rounds_alone=5, rounds_cold=5, rounds_crowd=2, crowd=1000
)
QUICK = Effort(
    rounds=5, slice_seconds=0.04, rounds_alone=2, rounds_cold=2, rounds_crowd=1, crowd=200
)


@dataclass(frozen=True)
class Case:
    """One thing a live worker is asked to do over and over."""

    name: str
    title: str
    call: str
    path: str
    expected: str | int
    units: int


LIVE_CASES = (
    Case("whole", "whole answer", "whole", "/packed/v1", canned.WHOLE_TEXT, 1),
    Case(
        "chunk",
        f"streamed chunk, {canned.PACKED} a write",
        "stream",
        "/packed/v1",
        canned.stream_length(canned.CHUNKS),
        canned.CHUNKS + _EXTRA_CHUNKS,
    ),
    Case(
        "alone",
        "streamed chunk, each arriving alone",
        "stream",
        "/alone/v1",
        canned.stream_length(canned.CHUNKS_ALONE),
        canned.CHUNKS_ALONE + _EXTRA_CHUNKS,
    ),
)


class Runner:
    """One run over the subjects that could be installed."""

    def __init__(
        self, environments: Environments, names: Sequence[str], server: str, effort: Effort
    ) -> None:
        self._server = server
        self._effort = effort
        self._environments = environments
        self._missing: Results = {}
        self._names: list[str] = []
        for name in names:
            subject = subjects.ALL[name]
            _progress(f"environments of {name}")
            try:
                for runtime in subject.RUNTIMES:
                    environments.python(subject, runtime)
            except InstallError as error:
                self._missing[name] = Failure(f"not installed: {error}")
            else:
                self._names.append(name)

    def live(self, runtime: str, cases: Sequence[Case]) -> Run:
        """What the live workers of one runtime take for each case."""
        run: Run = {}
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for name in self._names:
                if runtime in subjects.ALL[name].RUNTIMES:
                    workers[name] = stack.enter_context(self._worker(name, runtime))
            for case in cases:
                _progress(f"{case.title}, {runtime}")
                results = self._case(case, workers)
                run[case.name, runtime] = results | self._missing_from(runtime)
        return run

    def _case(self, case: Case, workers: dict[str, Worker]) -> Results:
        url = self._server + case.path
        measures: dict[str, Measure] = {}
        failures: Results = {}
        for name, live in workers.items():
            try:
                n = calls_in(self._effort.slice_seconds, live, case.call, url, case.expected)
            except Failure as failure:
                failures[name] = failure
            else:
                measures[name] = partial(live.measure, case.call, url, n, case.expected)
        alone = case.path == "/alone/v1"
        rounds = self._effort.rounds_alone if alone else self._effort.rounds
        return by_turns(measures, rounds, units=case.units) | failures

    def _missing_from(self, runtime: str) -> Results:
        return {
            name: failure
            for name, failure in self._missing.items()
            if runtime in subjects.ALL[name].RUNTIMES
        }

    def _worker(self, name: str, runtime: str) -> AbstractContextManager[Worker]:
        subject = subjects.ALL[name]
        python = self._environments.python(subject, runtime)
        assert subject.__file__ is not None
        return worker(
            python, Path(subject.__file__), runtime, self._environments.variables(subject)
        )

    def crowd(self) -> Run:
        """What one of many streams takes that one process reads at the same time."""
        n = self._effort.crowd
        _progress(f"{n} streams at once")
        measures = {
            name: partial(
                crowd, partial(self._worker, name, "asyncio"), f"{self._server}/crowd-{n}/v1", n
            )
            for name in self._names
        }
        results = by_turns(measures, self._effort.rounds_crowd, warm_up=False)
        return {("crowd", str(n)): results | self._missing}

    def cold(self) -> Run:
        """What a new process takes to its first answer, and what the imports alone take."""
        _progress("cold start")
        url = self._server + "/packed/v1"
        answers: dict[str, Measure] = {}
        imports: dict[str, Measure] = {}
        for name in self._names:
            subject = subjects.ALL[name]
            python = self._environments.python(subject, subject.RUNTIMES[0])
            variables = self._environments.variables(subject)
            program = subject.COLD.replace("{url}", url)
            answers[name] = partial(
                cold.first_answer, python, program, variables, canned.WHOLE_TEXT
            )
            imports[name] = partial(cold.import_cost, python, subject.IMPORT, variables)
            if name == OURS:
                statement = f"import {IMPORT_BASELINE}"
                imports[IMPORT_BASELINE] = partial(cold.import_cost, python, statement, variables)
        return {
            ("cold", ""): by_turns(answers, self._effort.rounds_cold) | self._missing,
            ("import", ""): by_turns(imports, self._effort.rounds_cold) | self._missing,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; 1 if ``--check`` was asked for and a target was missed."""
    options = _options(arguments)
    environments = Environments(options.environments, ROOT, options.locus_path)
    run: Run = {}
    with loopback_server(sys.executable) as server:
        runner = Runner(environments, options.subjects, server, QUICK if options.quick else FULL)
        cases = [case for case in LIVE_CASES if case.call in options.only]
        for runtime in RUNTIMES if cases else ():
            run |= runner.live(runtime, cases)
        if "crowd" in options.only:
            run |= runner.crowd()
        if "cold" in options.only:
            run |= runner.cold()
    print("\n".join(_report(run)))
    if options.json:
        options.json.write_text(json.dumps(_plain(run), indent=1))
    return int(options.check and not all(target.met for target in targets(run)))


def _report(run: Run) -> Iterator[str]:
    yield f"Python {platform.python_version()}, {os.cpu_count()} cores, server on 127.0.0.1"
    yield ""
    for case in LIVE_CASES:
        for runtime in RUNTIMES:
            if results := run.get((case.name, runtime)):
                yield from table.block(f"{case.title}, {runtime}", case.name, results)
    for (case_name, n), results in run.items():
        if case_name == "crowd":
            title = f"one of {n} streams at once, {canned.CHUNKS_ALONE} chunks each, asyncio"
            yield from table.block(title, "crowd", results)
    if results := run.get(("cold", "")):
        yield from table.block("process start to first answer", "cold", results)
    if results := run.get(("import", "")):
        yield from table.block("import", "import", results)
    yield from table.verdicts(targets(run))


def _plain(run: Run) -> list[dict[str, Any]]:
    return [
        {"case": case, "runtime": runtime, "subject": name}
        | (asdict(result) if isinstance(result, Measurement) else {"failure": str(result)})
        for (case, runtime), results in run.items()
        for name, result in results.items()
    ]


def _progress(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def one_of(allowed: Collection[str]) -> Callable[[str], list[str]]:
        def names(text: str) -> list[str]:
            chosen = text.split(",")
            if unknown := set(chosen) - set(allowed):
                raise argparse.ArgumentTypeError(
                    f"{', '.join(sorted(unknown))}: choose from {', '.join(allowed)}"
                )
            return chosen

        return names

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument(
        "--only",
        type=one_of(CASES),
        default=list(CASES),
        metavar="CASE,...",
        help=f"of {', '.join(CASES)}",
    )
    parser.add_argument(
        "--subjects",
        type=one_of(subjects.ALL),
        default=list(subjects.ALL),
        metavar="NAME,...",
        help=f"of {', '.join(subjects.ALL)}",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save every round's times")
    parser.add_argument(
        "--locus-path",
        type=lambda text: Path(text).resolve(),
        metavar="DIR",
        help="measure the working tree there, not an installed copy of the project",
    )
    parser.add_argument(
        "--environments",
        type=lambda text: Path(text).resolve(),
        default=Path(__file__).parent / ".envs",
        metavar="DIR",
        help="where the subjects' environments are kept (default: %(default)s)",
    )
    return parser.parse_args(arguments)
