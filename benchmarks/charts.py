"""Draws charts as SVG, to be read without colour: lines differ in their dashes and marks.

Every line and bar has its name and its values beside it, so no legend has to be looked up, and the
numbers can be read by those who do not see the drawing: each chart has a title and a description.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

WIDTH = 720
_LINE_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 70, 150, 50, 50
_BAR_HEIGHT, _BAR_GAP, _BAR_LEFT = 22, 12, 170
_DASHES = ("none", "8 4", "2 3", "10 3 2 3", "4 2")
_INK = "#222"
_PAPER = "#fff"


class Line(NamedTuple):
    """A line of a chart: its name, and its points."""

    name: str
    points: Sequence[tuple[float, float]]


def draw_lines(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """Draw lines over a logarithmic axis; the values start at 0."""
    lines = [Line(line.name, sorted(line.points)) for line in lines if line.points]
    xs = sorted({x for line in lines for x, _ in line.points})
    top = max((y for line in lines for _, y in line.points), default=1) * 1.08
    step = _find_step(top)
    low, high = math.log(xs[0]), math.log(xs[-1])
    width = WIDTH - _LEFT - _RIGHT
    height = _LINE_HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log(x) - low) / (high - low) if high > low else 0.5
        return _LEFT + share * width, _TOP + height * (1 - y / top)

    parts = []
    for number in range(int(top / step) + 1):
        _, y = place(xs[0], number * step)
        parts.append(_draw_stroke((_LEFT, y), (_LEFT + width, y), 'stroke-opacity="0.15"'))
        parts.append(_draw_text(_LEFT - 8, y + 4, f"{number * step:g}", "end"))
    parts += [_draw_text(place(x, 0)[0], _TOP + height + 20, f"{x:g}", "middle") for x in xs]
    parts.append(_draw_text(_LEFT + width / 2, _LINE_HEIGHT - 10, x_label, "middle"))
    parts.append(_draw_text(_LEFT, _TOP - 12, y_label, "start"))
    ends = _spread_labels([place(*line.points[-1])[1] for line in lines])
    for number, (line, label_y) in enumerate(zip(lines, ends, strict=True)):
        places = [place(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = _DASHES[number % len(_DASHES)]
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_INK}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
        )
        parts += [_draw_mark(number, x, y) for x, y in places]
        label = f"{line.name} {_format_value(line.points[-1][1])}"
        parts.append(_draw_text(places[-1][0] + 12, label_y + 4, label, "start"))
    description = "; ".join(
        f"{line.name}: " + ", ".join(f"{y:.3g} at {x:g}" for x, y in line.points) for line in lines
    )
    return _wrap(title, description, _LINE_HEIGHT, parts)


def draw_bars(title: str, unit: str, bars: Sequence[tuple[str, float]]) -> str:
    """Draw horizontal bars, the shortest first, each with its name and value."""
    bars = sorted(bars, key=lambda bar: bar[1])
    longest = max((value for _, value in bars), default=1) or 1
    width = WIDTH - _BAR_LEFT - 110
    parts = []
    for number, (name, value) in enumerate(bars):
        y = _TOP + number * (_BAR_HEIGHT + _BAR_GAP)
        length = max(1.0, value / longest * width)
        fill = _INK if name.startswith("Locus") else "none"
        parts.append(_draw_text(_BAR_LEFT - 10, y + 15, name, "end"))
        parts.append(
            f'<rect x="{_BAR_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR_HEIGHT}" '
            f'fill="{fill}" stroke="{_INK}" stroke-width="1.5"/>'
        )
        parts.append(
            _draw_text(_BAR_LEFT + length + 8, y + 15, f"{_format_value(value)} {unit}", "start")
        )
    description = "; ".join(f"{name}: {_format_value(value)} {unit}" for name, value in bars)
    height = _TOP + len(bars) * (_BAR_HEIGHT + _BAR_GAP) + 10
    return _wrap(title, description, height, parts)


def _find_step(top: float) -> float:
    """Return a round distance for about five lines up to ``top``."""
    power = 10 ** math.floor(math.log10(top / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if top / (power * factor) <= 6)


def _spread_labels(heights: Sequence[float], distance: float = 16) -> list[float]:
    """Move labels apart that would lie on each other, keeping their order."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    moved = list(heights)
    for previous, number in pairwise(order):
        moved[number] = max(moved[number], moved[previous] + distance)
    return moved


def _format_value(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _draw_text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_INK}">{escape(text)}</text>'
    )


def _draw_stroke(start: tuple[float, float], end: tuple[float, float], more: str) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{_INK}" {more}/>'
    )


def _draw_mark(number: int, x: float, y: float) -> str:
    """Draw the mark of a line: circle, square, triangle or diamond, filled or not."""
    fill = _INK if number % 2 == 0 else _PAPER
    style = f'fill="{fill}" stroke="{_INK}" stroke-width="1.5"'
    match number % 4:
        case 0:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {style}/>'
        case 1:
            return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" {style}/>'
        case 2:
            corners: Iterable[tuple[float, float]] = ((0, -6), (6, 5), (-6, 5))
        case _:
            corners = ((0, -7), (7, 0), (0, 7), (-7, 0))
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" {style}/>'


def _wrap(title: str, description: str, height: int, parts: Iterable[str]) -> str:
    return "\n".join(_iter_document(title, description, height, parts)) + "\n"


def _iter_document(
    title: str, description: str, height: int, parts: Iterable[str]
) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="13" aria-labelledby="title description">'
    )
    yield f'<title id="title">{escape(title)}</title>'
    yield f'<desc id="description">{escape(description)}</desc>'
    yield f'<rect width="{WIDTH}" height="{height}" fill="{_PAPER}"/>'
    yield (
        f'<text x="{_LEFT - 50}" y="22" font-size="15" font-weight="bold" fill="{_INK}">'
        f"{escape(title)}</text>"
    )
    yield from parts
    yield "</svg>"
