"""The page about the benchmarks and its charts, written from made-up results."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.docs_page import write_page
from benchmarks.environments import Installation
from benchmarks.report import Report
from benchmarks.rounds import Measurement, MeasurementFailed, Sample
from benchmarks.targets import RunResults

SVG = "{http://www.w3.org/2000/svg}"


def make_report() -> Report:
    run: RunResults = {}
    for runtime in ("asyncio", "trio", "uvloop"):
        for n in (10, 300, 1000):
            run["openai", "lone", f"{runtime} {n}"] = {
                name: Measurement(1, [Sample(cpu * n**0.1, 1, n / 100)])
                for name, cpu in (("floor", 1e-4), ("locus", 1.01e-4), ("openai", 3e-4))
            }
    run["openai", "lone", "blocking 200"] = {"locus": MeasurementFailed("not today")}
    run["openai", "cold", ""] = {
        "locus": Measurement(1, [Sample(0.05, 0.06)]),
        "openai": Measurement(1, [Sample(0.5, 0.61)]),
    }
    run["openai", "whole", "blocking"] = {"locus": Measurement(1, [Sample(6e-5, 1)])}
    installations = {"locus": Installation(6.5, {"attrs": "25.1", "httptools": "0.7"})}
    return Report(run, installations, date="2026-12-01")


def test_a_report_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    report = make_report()
    report.save(tmp_path / "report.json")
    loaded = Report.load(tmp_path / "report.json")
    assert repr(loaded) == repr(report)


def test_the_page_has_every_figure_and_shows_every_chart(tmp_path: Path) -> None:
    write_page(make_report(), tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    charts = re.findall(r"!\[.+\]\((.+)\)", page)
    assert sorted(charts) == sorted(path.name for path in tmp_path.glob("*.svg"))
    assert len(charts) == 4
    assert "| Locus | 127 µs, 10 kB | 179 µs, 10 kB | 202 µs, 10 kB |" in page
    assert "| Locus | 60 | - | - |" in page
    assert "httptools 0.7" in page
    assert max(map(len, page.splitlines())) < 300


def test_charts_can_be_read_without_colour(tmp_path: Path) -> None:
    write_page(make_report(), tmp_path)
    for path in tmp_path.glob("*.svg"):
        chart = ElementTree.fromstring(path.read_text())
        texts = [element.text or "" for element in chart.iter(f"{SVG}text")]
        assert any("Locus" in text for text in texts)
        assert chart.findtext(f"{SVG}desc")
        lines = [line.get("stroke-dasharray") for line in chart.iter(f"{SVG}polyline")]
        assert len(lines) == len(set(lines)) in (0, 3)
        colours = {
            colour
            for element in chart.iter()
            for colour in (element.get("fill"), element.get("stroke"))
        }
        assert colours <= {None, "none", "#222", "#fff"}
        labels = sorted(
            float(element.get("y") or 0)
            for element in chart.iter(f"{SVG}text")
            if (element.text or "").startswith(("Locus", "the hand loop", "openai SDK"))
        )
        assert all(after - before >= 15 for before, after in pairwise(labels))
