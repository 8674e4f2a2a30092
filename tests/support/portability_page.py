"""Reads the table in ``docs/portability.md``."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "portability.md"


def read_table() -> dict[str, dict[str, str]]:
    """Return the cells of the page's table, by row and column."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header, _, *body = rows
    return {title: dict(zip(header[1:], cells, strict=True)) for title, *cells in body}
