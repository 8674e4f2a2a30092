"""Writes the page of the documentation about the benchmarks, with its charts, from a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .charts import Line, draw_bars, draw_lines
from .report import Report
from .rounds import Measurement, Results
from .targets import MAIN_FORMAT

_NAMES = {
    "floor": "the hand loop",
    "httpx": "bare httpx",
    "locus": "Locus",
    "openai": "openai SDK",
    "locus-sdk": "locus-sdk",
    "any-llm": "any-llm",
    "litellm": "litellm",
}
_CHART_RUNTIMES = ("asyncio", "trio")
_CHARTS = "benchmarks-{}.svg"
_INTRODUCTION = """\
# Benchmarks

<!-- `python -m benchmarks --docs docs` writes this page: change benchmarks/docs_page.py. -->

How fast Locus is, beside other packages and beside *the hand loop*: sockets, httptools and
msgspec in a hand-written loop for this one server, the least that Python code can do. All read
the same bytes from a server on the same machine, in environments of their own, in turns: A B C, B
C A, C A B. The best round counts, and only ratios within this page can be compared: the times
depend on the machine.
"""
_REPEATING = """\
## How to repeat it

```
git clone <the repository> locus && cd locus
tox run -e bench -- --docs docs
```

measures everything, prints the tables and the targets, and writes this page and its charts.
`--quick` takes a fraction of the time and is less exact, `--only lone,cold,size` measures a part,
`--json FILE` saves every round, and `--load FILE --docs docs` writes the page from such a file.
`python -m benchmarks --help` has the rest.
"""


def write_page(report: Report, folder: Path) -> None:
    """Write ``benchmarks.md`` and its charts to a folder."""
    for name, chart in _draw_charts(report):
        (folder / _CHARTS.format(name)).write_text(chart)
    (folder / "benchmarks.md").write_text("\n".join(_iter_blocks(report)))


def _draw_charts(report: Report) -> Iterator[tuple[str, str]]:
    for runtime in _CHART_RUNTIMES:
        if lines := _make_lines(report, runtime):
            title = f"CPU time of a chunk that arrives alone, {runtime}"
            yield (
                f"chunks-{runtime}",
                draw_lines(title, "streams at the same time", "µs", lines),
            )
    if bars := _make_bars(report.get_results(MAIN_FORMAT, "cold", "")):
        yield (
            "first-answer",
            draw_bars("From the start of the process to the first answer", "ms", bars),
        )
    if report.installations:
        sizes = [(_NAMES.get(n, n), i.megabytes) for n, i in report.installations.items()]
        yield "size", draw_bars("Installed, with all dependencies", "MB", sizes)


def _make_lines(report: Report, runtime: str) -> list[Line]:
    points: dict[str, list[tuple[float, float]]] = {}
    for n, results in _iter_lone_results(report, runtime):
        for name, result in results.items():
            if isinstance(result, Measurement):
                points.setdefault(name, []).append((n, result.cpu * 1e6))
    return [Line(_NAMES.get(name, name), places) for name, places in points.items()]


def _make_bars(results: Results) -> list[tuple[str, float]]:
    return [
        (_NAMES.get(name, name), result.wall * 1e3)
        for name, result in results.items()
        if isinstance(result, Measurement)
    ]


def _iter_lone_results(report: Report, runtime: str) -> Iterator[tuple[int, Results]]:
    for (_, case, setting), results in report.run.items():
        if case == "lone" and setting.split()[0] == runtime:
            yield int(setting.split()[1]), results


def _iter_blocks(report: Report) -> Iterator[str]:
    yield _INTRODUCTION
    yield (
        f"Measured on {report.date}, with Python {report.python} on {report.cores} cores "
        f"({report.machine}).\n"
    )
    if report.is_quick:
        yield "This was a quick run (`--quick`), of few and short rounds: the figures are rough.\n"
    yield from _iter_lone_blocks(report)
    yield from _iter_live_blocks(report)
    yield from _iter_start_blocks(report)
    yield _REPEATING
    if report.installations:
        yield "## Versions\n"
        for name, installation in report.installations.items():
            packages = ", ".join(
                f"{package.replace('_', '-')} {version}"
                for package, version in sorted(installation.versions.items())
            )
            yield f"- **{_NAMES.get(name, name)}**: {packages}"
        yield ""


def _iter_lone_blocks(report: Report) -> Iterator[str]:
    runtimes = dict.fromkeys(
        setting.split()[0] for (_, case, setting) in report.run if case == "lone"
    )
    if not runtimes:
        return
    yield "## A chunk that arrives alone\n"
    yield (
        "As in life: each chunk of each stream is a read of its own. CPU time of the client's "
        "process for a chunk, in µs, and memory for a stream, in kB.\n"
    )
    for runtime in _CHART_RUNTIMES:
        if runtime in runtimes:
            yield f"![CPU time of a chunk, {runtime}]({_CHARTS.format(f'chunks-{runtime}')})\n"
    for runtime in runtimes:
        measured = list(_iter_lone_results(report, runtime))
        names = list(dict.fromkeys(name for _, results in measured for name in results))
        kind = "threads" if runtime == "blocking" else "streams"
        head = [f"{runtime}", *(f"{n:,} {kind}" for n, _ in measured)]
        rows = [
            [
                _NAMES.get(name, name),
                *(_format_lone(results.get(name), n) for n, results in measured),
            ]
            for name in names
        ]
        yield _format_table(head, rows)


def _format_lone(result: object, n: int) -> str:
    if not isinstance(result, Measurement):
        return "-"
    return f"{result.cpu * 1e6:.0f} µs, {result.peak * 1024 / n:.0f} kB"


def _iter_live_blocks(report: Report) -> Iterator[str]:
    for case, title, scale, unit in (
        ("whole", "A whole answer", 1e6, "µs"),
        ("chunk", "A chunk, 32 in a read", 1e6, "µs"),
    ):
        columns = {
            runtime: report.get_results(MAIN_FORMAT, case, runtime)
            for runtime in ("blocking", "asyncio", "trio")
        }
        if not any(columns.values()):
            continue
        yield f"## {title}\n"
        yield f"CPU time in {unit}, in the format of chat completions.\n"
        names = list(dict.fromkeys(name for results in columns.values() for name in results))
        rows = [
            [
                _NAMES.get(name, name),
                *(_format_cpu(results.get(name), scale) for results in columns.values()),
            ]
            for name in names
        ]
        yield _format_table(["", *columns], rows)


def _format_cpu(result: object, scale: float) -> str:
    if not isinstance(result, Measurement):
        return "-"
    value = result.cpu * scale
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _iter_start_blocks(report: Report) -> Iterator[str]:
    if report.get_results(MAIN_FORMAT, "cold", ""):
        yield "## The first answer\n"
        yield (
            "From the start of a new process until it has printed one answer, imports included: "
            "what a command-line tool or a serverless function pays each time.\n"
        )
        yield f"![Time to the first answer]({_CHARTS.format('first-answer')})\n"
    if report.installations:
        yield "## What is installed\n"
        yield "The package with all its dependencies, without byte code.\n"
        yield f"![Size installed]({_CHARTS.format('size')})\n"
        rows = [
            [_NAMES.get(name, name), f"{len(each.versions)}", f"{each.megabytes:.1f}"]
            for name, each in report.installations.items()
        ]
        yield _format_table(["", "packages", "MB"], rows)


def _format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
