"""Runs the benchmarks: creates the environments, measures interleaved, prints the tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from . import agent, canned, cold, subjects, table
from .canned import anthropic, ollama, openai
from .docs_page import write_page
from .environments import Environments, Installation, InstallError
from .live import (
    Worker,
    count_calls,
    measure_crowd,
    measure_lone_chunks,
    start_server,
    start_worker,
)
from .report import Report
from .rounds import MeasureFunction, MeasurementFailed, Results, measure_interleaved
from .subjects import locus_oci
from .targets import (
    FORMATS,
    IMPORT_BASELINE,
    LOCUS,
    MAIN_FORMAT,
    RunResults,
    Target,
    compute_targets,
)

ROOT = Path(__file__).parent.parent
CASES = ("whole", "stream", "crowd", "lone", "cold", "size", "signing", "agent")
RUNTIMES = ("blocking", "asyncio", "trio")
LONE_RUNTIMES = ("asyncio", "trio", "uvloop", "blocking")
LONE_SUBJECTS = ("floor", "httpx", "locus", "openai")
"""The others read so slowly that several chunks would arrive at once."""
FORMAT_MODULES: dict[str, ModuleType] = dict(zip(FORMATS, (openai, anthropic, ollama), strict=True))


@dataclass(frozen=True)
class MeasurementPlan:
    """How much to measure: rounds of each kind, seconds in each slice, streams at once.

    ``lone`` and ``lone_threads`` are numbers of streams whose chunks arrive alone: in tasks, and
    blocking in threads.
    """

    rounds: int
    slice_seconds: float
    rounds_alone: int
    rounds_cold: int
    rounds_crowd: int
    crowd: int
    lone: tuple[int, ...]
    lone_threads: int
    rounds_lone: int
    signatures: int = 200


FULL_PLAN = MeasurementPlan(
    rounds=15,
    slice_seconds=0.1,
    rounds_alone=5,
    rounds_cold=5,
    rounds_crowd=2,
    crowd=1000,
    lone=(10, 300, 1000),
    lone_threads=200,
    rounds_lone=2,
)
QUICK_PLAN = MeasurementPlan(
    rounds=5,
    slice_seconds=0.04,
    rounds_alone=2,
    rounds_cold=2,
    rounds_crowd=1,
    crowd=200,
    lone=(10, 100),
    lone_threads=50,
    rounds_lone=1,
)


@dataclass(frozen=True)
class Case:
    """One kind of call that a worker repeats."""

    name: str
    title: str
    call: str
    framing: str
    expected: str | int
    chunks: int = 0
    """How many chunks have text; 0 for a response that is not streamed."""

    def count_units(self, wire: str) -> int:
        """Return the divisor of the times: the number of chunks that the caller sees."""
        return self.chunks + FORMAT_MODULES[wire].EXTRA_CHUNKS if self.chunks else 1


LIVE_CASES = (
    Case("whole", "whole answer", "whole", "packed", canned.WHOLE_TEXT),
    Case(
        "chunk",
        f"streamed chunk, {canned.PACKED} a write",
        "stream",
        "packed",
        canned.count_characters(canned.CHUNKS),
        canned.CHUNKS,
    ),
    Case(
        "alone",
        "streamed chunk, each arriving alone",
        "stream",
        "alone",
        canned.count_characters(canned.CHUNKS_ALONE),
        canned.CHUNKS_ALONE,
    ),
)

SIGNING_TITLES = {
    "signed-cold": "process start to first answer, by Locus: unsigned and signed",
    "signed-import": "import, for OCI",
    "sign": "one signature, 1 kB body",
}
"""The titles of the tables about OCI, by case."""


class Runner:
    """Measures all subjects that could be installed."""

    def __init__(
        self,
        environments: Environments,
        subject_names: Sequence[str],
        server: str,
        plan: MeasurementPlan,
    ) -> None:
        self._server = server
        self._plan = plan
        self._environments = environments
        self._install_failures: Results = {}
        self._subjects = [subject for subject in subjects.ALL if subject.NAME in subject_names]
        for subject in self._subjects:
            if subject.NAME in self._install_failures:
                continue
            _print_progress(f"environments of {subject.NAME}")
            try:
                for runtime in subject.RUNTIMES:
                    environments.get_python(subject, runtime)
            except InstallError as exc:
                self._install_failures[subject.NAME] = MeasurementFailed(f"not installed: {exc}")

    def measure_live(self, wire: str, runtime: str, cases: Sequence[Case]) -> RunResults:
        """Measure each case in one format and runtime."""
        run: RunResults = {}
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for subject in self._get_installed_subjects(wire, runtime):
                live = self._start_worker(subject, runtime, wire)
                workers[subject.NAME] = stack.enter_context(live)
            for case in cases:
                _print_progress(f"{wire}: {case.title}, {runtime}")
                results = self._measure_case(wire, case, workers)
                run[wire, case.name, runtime] = results | self._get_install_failures(wire, runtime)
        return run

    def _measure_case(self, wire: str, case: Case, workers: dict[str, Worker]) -> Results:
        url = self._build_url(wire, case.framing)
        measures: dict[str, MeasureFunction] = {}
        failures: Results = {}
        for name, live in workers.items():
            try:
                n = count_calls(self._plan.slice_seconds, live, case.call, url, case.expected)
            except MeasurementFailed as exc:
                failures[name] = exc
            else:
                measures[name] = partial(live.measure, case.call, url, n, case.expected)
        rounds = self._plan.rounds_alone if case.framing == "alone" else self._plan.rounds
        return measure_interleaved(measures, rounds, units=case.count_units(wire)) | failures

    def _get_installed_subjects(
        self, wire: str, runtime: str | None = None
    ) -> Iterator[ModuleType]:
        """Return the installed subjects of a format, for one runtime or for all."""
        return (
            subject
            for subject in self._get_subjects(wire, runtime)
            if subject.NAME not in self._install_failures
        )

    def _get_install_failures(self, wire: str, runtime: str | None = None) -> Results:
        names = {subject.NAME for subject in self._get_subjects(wire, runtime)}
        return {name: failure for name, failure in self._install_failures.items() if name in names}

    def _get_subjects(self, wire: str, runtime: str | None) -> Iterator[ModuleType]:
        for subject in self._subjects:
            if wire in subject.FORMATS and runtime in (None, *subject.RUNTIMES):
                yield subject

    def _build_url(self, wire: str, framing: str) -> str:
        return f"{self._server}/{framing}{FORMAT_MODULES[wire].ROOT}"

    def _start_worker(
        self, subject: ModuleType, runtime: str, wire: str
    ) -> AbstractContextManager[Worker]:
        python = self._environments.get_python(subject, runtime)
        variables = self._environments.get_variables(subject)
        assert subject.__file__ is not None
        return start_worker(python, Path(subject.__file__), runtime, wire, variables)

    def measure_crowd(self) -> RunResults:
        """Measure many streams that one process reads at the same time."""
        n = self._plan.crowd
        _print_progress(f"{n} streams at once")
        url = self._build_url(MAIN_FORMAT, f"crowd-{n}")
        measures = {
            subject.NAME: partial(
                measure_crowd, partial(self._start_worker, subject, "asyncio", MAIN_FORMAT), url, n
            )
            for subject in self._get_installed_subjects(MAIN_FORMAT)
        }
        results = measure_interleaved(measures, self._plan.rounds_crowd, warm_up=False)
        return {(MAIN_FORMAT, "crowd", str(n)): results | self._get_install_failures(MAIN_FORMAT)}

    def measure_lone_chunks(self) -> RunResults:
        """Measure the chunks of many streams at once, each arriving alone, on each runtime."""
        run: RunResults = {}
        for runtime in LONE_RUNTIMES:
            is_blocking = runtime == "blocking"
            for n in (self._plan.lone_threads,) if is_blocking else self._plan.lone:
                _print_progress(f"{n} streams at once, each chunk alone, {runtime}")
                few, many = (
                    self._build_url(MAIN_FORMAT, f"lone-{n}-{count}")
                    for count in canned.get_lone_chunks(n)
                )
                needed = "asyncio" if runtime == "uvloop" else runtime
                measures = {
                    subject.NAME: partial(
                        measure_lone_chunks,
                        partial(self._start_worker, subject, runtime, MAIN_FORMAT),
                        (few, many),
                        n,
                    )
                    for subject in self._get_installed_subjects(MAIN_FORMAT, needed)
                    if subject.NAME in LONE_SUBJECTS
                }
                results = measure_interleaved(measures, self._plan.rounds_lone, warm_up=False)
                run[MAIN_FORMAT, "lone", f"{runtime} {n}"] = results
        return run

    def measure_installations(self) -> dict[str, Installation]:
        """Measure what is installed for each subject."""
        return {
            subject.NAME: self._environments.measure_installation(subject)
            for subject in self._get_installed_subjects(MAIN_FORMAT)
        }

    def measure_cold_start(self) -> RunResults:
        """Measure new processes until their first response, and their imports alone."""
        _print_progress("cold start")
        url = self._build_url(MAIN_FORMAT, "packed")
        first_responses: dict[str, MeasureFunction] = {}
        imports: dict[str, MeasureFunction] = {}
        for subject in self._get_installed_subjects(MAIN_FORMAT):
            name = subject.NAME
            python = self._environments.get_python(subject, subject.RUNTIMES[0])
            variables = self._environments.get_variables(subject)
            program = subject.COLD.replace("{url}", url)
            first_responses[name] = partial(
                cold.measure_first_response, python, program, variables, canned.WHOLE_TEXT
            )
            imports[name] = partial(cold.measure_import, python, subject.IMPORT, variables)
            if name == LOCUS:
                statement = f"import {IMPORT_BASELINE}"
                imports[IMPORT_BASELINE] = partial(
                    cold.measure_import, python, statement, variables
                )
        rounds, missing = self._plan.rounds_cold, self._get_install_failures(MAIN_FORMAT)
        return {
            (MAIN_FORMAT, "cold", ""): measure_interleaved(first_responses, rounds) | missing,
            (MAIN_FORMAT, "import", ""): measure_interleaved(imports, rounds) | missing,
        }

    def measure_signing(self) -> RunResults:
        """Measure OCI's signatures: the import of Oracle's package, and each signature."""
        if locus_oci not in self._subjects:
            return {}
        _print_progress("signing")
        if failure := self._install_failures.get(locus_oci.NAME):
            return {(MAIN_FORMAT, case, ""): {locus_oci.NAME: failure} for case in SIGNING_TITLES}
        python = self._environments.get_python(locus_oci, "blocking")
        variables = self._environments.get_variables(locus_oci)
        url, rounds = self._build_url(MAIN_FORMAT, "packed"), self._plan.rounds_cold
        with tempfile.TemporaryDirectory() as folder:

            def fill_template(program: str) -> str:
                program = program.replace("{url}", url).replace("{config_file}", f"{folder}/config")
                return program.replace("{n}", str(self._plan.signatures))

            cold.measure_program(python, fill_template(locus_oci.PROFILE), variables)

            first_responses: dict[str, MeasureFunction] = {
                name: partial(
                    cold.measure_first_response,
                    python,
                    fill_template(program),
                    variables,
                    canned.WHOLE_TEXT,
                )
                for name, program in locus_oci.COLD.items()
            }
            imports: dict[str, MeasureFunction] = {
                name: partial(cold.measure_import, python, statement, variables)
                for name, statement in locus_oci.IMPORTS.items()
            }
            signatures: dict[str, MeasureFunction] = {
                name: partial(cold.measure_program, python, fill_template(program), variables)
                for name, program in locus_oci.SIGN.items()
            }
            measured = (
                measure_interleaved(each, rounds) for each in (first_responses, imports, signatures)
            )
            return {
                (MAIN_FORMAT, case, ""): results
                for case, results in zip(SIGNING_TITLES, measured, strict=True)
            }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; returns 1 if ``--check`` is set and a target was missed."""
    args = _parse_arguments(argv)
    report = _measure(args) if args.load is None else Report.load(args.load)
    if args.json:
        report.save(args.json)
    if args.docs:
        write_page(report, args.docs)
    print("\n".join(_format_report(report)))
    return int(args.check and not all(target.is_met for target in _compute_targets(report.run)))


def _measure(args: argparse.Namespace) -> Report:
    """Measure what the arguments ask for."""
    environments = Environments(args.environments, ROOT, args.locus_path)
    plan = QUICK_PLAN if args.quick else FULL_PLAN
    report = Report(is_quick=args.quick)
    run = report.run
    with start_server(sys.executable) as server:
        runner = Runner(environments, args.subjects, server, plan)
        cases = [case for case in LIVE_CASES if case.call in args.only]
        for wire in args.formats if cases else ():
            for runtime in RUNTIMES:
                run |= runner.measure_live(wire, runtime, cases)
        if MAIN_FORMAT in args.formats:
            for case, measure in (
                ("crowd", runner.measure_crowd),
                ("lone", runner.measure_lone_chunks),
                ("cold", runner.measure_cold_start),
                ("signing", runner.measure_signing),
            ):
                if case in args.only:
                    run |= measure()
        if "size" in args.only:
            report.installations = runner.measure_installations()
    if "agent" in args.only:
        agent_results = agent.measure_agents(environments, plan.rounds, plan.slice_seconds)
        run |= {
            (MAIN_FORMAT, "agent", runtime): results for runtime, results in agent_results.items()
        }
    return report


def _format_report(report: Report) -> Iterator[str]:
    run = report.run
    yield f"Python {report.python}, {report.cores} cores, server on 127.0.0.1"
    yield ""
    for wire in FORMATS:
        for case in LIVE_CASES:
            for runtime in RUNTIMES:
                if results := run.get((wire, case.name, runtime)):
                    title = f"{wire}: {case.title}, {runtime}"
                    yield from table.format_table(title, case.name, wire, results)
    for (_, case_name, n), results in run.items():
        if case_name == "crowd":
            title = f"one of {n} streams at once, {canned.CHUNKS_ALONE} chunks each, asyncio"
            yield from table.format_table(title, "crowd", MAIN_FORMAT, results)
    for (_, case_name, setting), results in run.items():
        if case_name == "lone":
            runtime, n = setting.split()
            title = f"a chunk of one of {n} streams at once, each arriving alone, {runtime}"
            yield from table.format_table(title, "lone", MAIN_FORMAT, results)
    if results := run.get((MAIN_FORMAT, "cold", "")):
        yield from table.format_table("process start to first answer", "cold", MAIN_FORMAT, results)
    if results := run.get((MAIN_FORMAT, "import", "")):
        yield from table.format_table("import", "import", MAIN_FORMAT, results)
    for case, title in SIGNING_TITLES.items():
        if results := run.get((MAIN_FORMAT, case, "")):
            yield from table.format_table(
                title, case, "oci" if case == "sign" else "openai", results
            )
    yield from agent.format_tables(_select_agent_results(run))
    yield from table.format_targets(_compute_targets(run))


def _select_agent_results(run: RunResults) -> dict[str, Results]:
    return {runtime: results for (_, case, runtime), results in run.items() if case == "agent"}


def _compute_targets(run: RunResults) -> Iterator[Target]:
    yield from compute_targets(run)
    yield from agent.compute_targets(_select_agent_results(run))


def _print_progress(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    def make_list_parser(allowed: Collection[str]) -> Callable[[str], list[str]]:
        """Make a parser of a list, separated by commas, of allowed names."""

        def parse_list(text: str) -> list[str]:
            chosen = text.split(",")
            if unknown := set(chosen) - set(allowed):
                raise argparse.ArgumentTypeError(
                    f"{', '.join(sorted(unknown))}: choose from {', '.join(allowed)}"
                )
            return chosen

        return parse_list

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument(
        "--only",
        type=make_list_parser(CASES),
        default=list(CASES),
        metavar="CASE,...",
        help=f"of {', '.join(CASES)}",
    )
    parser.add_argument(
        "--subjects",
        type=make_list_parser(subjects.NAMES),
        default=list(subjects.NAMES),
        metavar="NAME,...",
        help=f"of {', '.join(subjects.NAMES)}",
    )
    parser.add_argument(
        "--formats",
        type=make_list_parser(FORMATS),
        default=list(FORMATS),
        metavar="FORMAT,...",
        help=f"of {', '.join(FORMATS)}; the last six cases are of {MAIN_FORMAT}'s alone",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save every round's times")
    parser.add_argument(
        "--load", type=Path, metavar="FILE", help="measure nothing; read what --json has saved"
    )
    parser.add_argument(
        "--docs", type=Path, metavar="DIR", help="also write benchmarks.md and its charts there"
    )
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
        help="the folder of the subjects' environments (default: %(default)s)",
    )
    return parser.parse_args(arguments)
