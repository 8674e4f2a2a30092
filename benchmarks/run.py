"""The run: makes the environments, measures by turns, prints the tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from . import agent, canned, cold, subjects, table
from .canned import anthropic, ollama, openai
from .environments import Environments, InstallError
from .live import Worker, calls_in, crowd, loopback_server, worker
from .rounds import Failure, Measure, Measurement, Results, by_turns
from .subjects import locus_oci
from .targets import FIRST, FORMATS, IMPORT_BASELINE, OURS, Run, Target, targets

ROOT = Path(__file__).parent.parent
CASES = ("whole", "stream", "crowd", "cold", "signing", "agent")
RUNTIMES = ("blocking", "asyncio", "trio")
WIRES: dict[str, ModuleType] = dict(zip(FORMATS, (openai, anthropic, ollama), strict=True))


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of each kind, seconds a slice, streams in the crowd."""

    rounds: int
    slice_seconds: float
    rounds_alone: int
    rounds_cold: int
    rounds_crowd: int
    crowd: int
    signatures: int = 200


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
    framing: str
    expected: str | int
    chunks: int = 0
    """How many there are with text; 0 where the answer is one piece."""

    def units(self, wire: str) -> int:
        """By how many the times are divided: a chunk is what the caller sees, with text or not."""
        return self.chunks + WIRES[wire].EXTRA_CHUNKS if self.chunks else 1


LIVE_CASES = (
    Case("whole", "whole answer", "whole", "packed", canned.WHOLE_TEXT),
    Case(
        "chunk",
        f"streamed chunk, {canned.PACKED} a write",
        "stream",
        "packed",
        canned.stream_length(canned.CHUNKS),
        canned.CHUNKS,
    ),
    Case(
        "alone",
        "streamed chunk, each arriving alone",
        "stream",
        "alone",
        canned.stream_length(canned.CHUNKS_ALONE),
        canned.CHUNKS_ALONE,
    ),
)

SIGNING_TITLES = {
    "signed-cold": "process start to first answer, by Locus: unsigned and signed",
    "signed-import": "import, for OCI",
    "sign": "one signature, 1 kB body",
}
"""The tables about OCI, by case."""


class Runner:
    """One run over the subjects that could be installed."""

    def __init__(
        self, environments: Environments, names: Sequence[str], server: str, effort: Effort
    ) -> None:
        self._server = server
        self._effort = effort
        self._environments = environments
        self._missing: Results = {}
        self._subjects = [subject for subject in subjects.ALL if subject.NAME in names]
        for subject in self._subjects:
            if subject.NAME in self._missing:
                continue
            _progress(f"environments of {subject.NAME}")
            try:
                for runtime in subject.RUNTIMES:
                    environments.python(subject, runtime)
            except InstallError as error:
                self._missing[subject.NAME] = Failure(f"not installed: {error}")

    def live(self, wire: str, runtime: str, cases: Sequence[Case]) -> Run:
        """What the live workers of one format and runtime take for each case."""
        run: Run = {}
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for subject in self._speaking(wire, runtime):
                live = self._worker(subject, runtime, wire)
                workers[subject.NAME] = stack.enter_context(live)
            for case in cases:
                _progress(f"{wire}: {case.title}, {runtime}")
                results = self._case(wire, case, workers)
                run[wire, case.name, runtime] = results | self._missing_from(wire, runtime)
        return run

    def _case(self, wire: str, case: Case, workers: dict[str, Worker]) -> Results:
        url = self._url(wire, case.framing)
        measures: dict[str, Measure] = {}
        failures: Results = {}
        for name, live in workers.items():
            try:
                n = calls_in(self._effort.slice_seconds, live, case.call, url, case.expected)
            except Failure as failure:
                failures[name] = failure
            else:
                measures[name] = partial(live.measure, case.call, url, n, case.expected)
        rounds = self._effort.rounds_alone if case.framing == "alone" else self._effort.rounds
        return by_turns(measures, rounds, units=case.units(wire)) | failures

    def _speaking(self, wire: str, runtime: str | None = None) -> Iterator[ModuleType]:
        """The installed subjects of a format, under that runtime or whichever."""
        return (
            subject for subject in self._asked(wire, runtime) if subject.NAME not in self._missing
        )

    def _missing_from(self, wire: str, runtime: str | None = None) -> Results:
        names = {subject.NAME for subject in self._asked(wire, runtime)}
        return {name: why for name, why in self._missing.items() if name in names}

    def _asked(self, wire: str, runtime: str | None) -> Iterator[ModuleType]:
        for subject in self._subjects:
            if wire in subject.FORMATS and runtime in (None, *subject.RUNTIMES):
                yield subject

    def _url(self, wire: str, framing: str) -> str:
        return f"{self._server}/{framing}{WIRES[wire].ROOT}"

    def _worker(
        self, subject: ModuleType, runtime: str, wire: str
    ) -> AbstractContextManager[Worker]:
        python = self._environments.python(subject, runtime)
        variables = self._environments.variables(subject)
        assert subject.__file__ is not None
        return worker(python, Path(subject.__file__), runtime, wire, variables)

    def crowd(self) -> Run:
        """What one of many streams takes that one process reads at the same time."""
        n = self._effort.crowd
        _progress(f"{n} streams at once")
        url = self._url(FIRST, f"crowd-{n}")
        measures = {
            subject.NAME: partial(crowd, partial(self._worker, subject, "asyncio", FIRST), url, n)
            for subject in self._speaking(FIRST)
        }
        results = by_turns(measures, self._effort.rounds_crowd, warm_up=False)
        return {(FIRST, "crowd", str(n)): results | self._missing_from(FIRST)}

    def cold(self) -> Run:
        """What a new process takes to its first answer, and what the imports alone take."""
        _progress("cold start")
        url = self._url(FIRST, "packed")
        answers: dict[str, Measure] = {}
        imports: dict[str, Measure] = {}
        for subject in self._speaking(FIRST):
            name = subject.NAME
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
        rounds, missing = self._effort.rounds_cold, self._missing_from(FIRST)
        return {
            (FIRST, "cold", ""): by_turns(answers, rounds) | missing,
            (FIRST, "import", ""): by_turns(imports, rounds) | missing,
        }

    def signing(self) -> Run:
        """What OCI's signatures cost: the import of Oracle's package, and each of them."""
        if locus_oci not in self._subjects:
            return {}
        _progress("signing")
        if why := self._missing.get(locus_oci.NAME):
            return {(FIRST, case, ""): {locus_oci.NAME: why} for case in SIGNING_TITLES}
        python = self._environments.python(locus_oci, "blocking")
        variables = self._environments.variables(locus_oci)
        url, rounds = self._url(FIRST, "packed"), self._effort.rounds_cold
        with tempfile.TemporaryDirectory() as folder:

            def filled(program: str) -> str:
                program = program.replace("{url}", url).replace("{config_file}", f"{folder}/config")
                return program.replace("{n}", str(self._effort.signatures))

            cold.timed(python, filled(locus_oci.PROFILE), variables)

            answers: dict[str, Measure] = {
                name: partial(
                    cold.first_answer, python, filled(program), variables, canned.WHOLE_TEXT
                )
                for name, program in locus_oci.COLD.items()
            }
            imports: dict[str, Measure] = {
                name: partial(cold.import_cost, python, statement, variables)
                for name, statement in locus_oci.IMPORTS.items()
            }
            signatures: dict[str, Measure] = {
                name: partial(cold.timed, python, filled(program), variables)
                for name, program in locus_oci.SIGN.items()
            }
            measured = (by_turns(each, rounds) for each in (answers, imports, signatures))
            return {
                (FIRST, case, ""): results
                for case, results in zip(SIGNING_TITLES, measured, strict=True)
            }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; 1 if ``--check`` was asked for and a target was missed."""
    options = _options(arguments)
    environments = Environments(options.environments, ROOT, options.locus_path)
    run: Run = {}
    with loopback_server(sys.executable) as server:
        runner = Runner(environments, options.subjects, server, QUICK if options.quick else FULL)
        cases = [case for case in LIVE_CASES if case.call in options.only]
        for wire in options.formats if cases else ():
            for runtime in RUNTIMES:
                run |= runner.live(wire, runtime, cases)
        if "crowd" in options.only and FIRST in options.formats:
            run |= runner.crowd()
        if "cold" in options.only and FIRST in options.formats:
            run |= runner.cold()
        if "signing" in options.only and FIRST in options.formats:
            run |= runner.signing()
    if "agent" in options.only:
        effort = QUICK if options.quick else FULL
        found = agent.measure(environments, effort.rounds, effort.slice_seconds)
        run |= {(FIRST, "agent", runtime): results for runtime, results in found.items()}
    print("\n".join(_report(run)))
    if options.json:
        options.json.write_text(json.dumps(_plain(run), indent=1))
    return int(options.check and not all(target.met for target in _targets(run)))


def _report(run: Run) -> Iterator[str]:
    yield f"Python {platform.python_version()}, {os.cpu_count()} cores, server on 127.0.0.1"
    yield ""
    for wire in FORMATS:
        for case in LIVE_CASES:
            for runtime in RUNTIMES:
                if results := run.get((wire, case.name, runtime)):
                    title = f"{wire}: {case.title}, {runtime}"
                    yield from table.block(title, case.name, wire, results)
    for (_, case_name, n), results in run.items():
        if case_name == "crowd":
            title = f"one of {n} streams at once, {canned.CHUNKS_ALONE} chunks each, asyncio"
            yield from table.block(title, "crowd", FIRST, results)
    if results := run.get((FIRST, "cold", "")):
        yield from table.block("process start to first answer", "cold", FIRST, results)
    if results := run.get((FIRST, "import", "")):
        yield from table.block("import", "import", FIRST, results)
    for case, title in SIGNING_TITLES.items():
        if results := run.get((FIRST, case, "")):
            yield from table.block(title, case, "oci" if case == "sign" else "openai", results)
    yield from agent.report(_agents(run))
    yield from table.verdicts(_targets(run))


def _agents(run: Run) -> dict[str, Results]:
    return {runtime: results for (_, case, runtime), results in run.items() if case == "agent"}


def _targets(run: Run) -> Iterator[Target]:
    yield from targets(run)
    yield from agent.targets(_agents(run))


def _plain(run: Run) -> list[dict[str, Any]]:
    return [
        {"format": wire, "case": case, "runtime": runtime, "subject": name}
        | (asdict(result) if isinstance(result, Measurement) else {"failure": str(result)})
        for (wire, case, runtime), results in run.items()
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
        type=one_of(subjects.NAMES),
        default=list(subjects.NAMES),
        metavar="NAME,...",
        help=f"of {', '.join(subjects.NAMES)}",
    )
    parser.add_argument(
        "--formats",
        type=one_of(FORMATS),
        default=list(FORMATS),
        metavar="FORMAT,...",
        help=f"of {', '.join(FORMATS)}; the last three cases are of {FIRST}'s alone",
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
