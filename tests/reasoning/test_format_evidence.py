"""Evidence as text for a judge model."""

from __future__ import annotations

from typing import Any

import pytest

from locus.core.state import ToolExecution
from locus.reasoning.format_evidence import NO_EVIDENCE, format_evidence

GOOD = ToolExecution("weather", "call_1", {"city": "Rome"}, "sunny")
GOOD_TEXT = '[call_1] weather({"city":"Rome"}): sunny'
FAILED = ToolExecution("price", "call_2", {}, error="no piano")


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        ([GOOD, FAILED], f"{GOOD_TEXT}\n\n[call_2] price({{}}): failed: no piano"),
        (GOOD, GOOD_TEXT),
        (["a", {"b": 1}], '[1] a\n\n[2] {"b":1}'),
        ({"log": "disk full", 7: [1]}, "[log] disk full\n\n[7] [1]"),
        ((text for text in ["a"]), "[1] a"),
        ("as it is", "as it is"),
        (3, "[1] 3"),
        ([range(2)], "[1] range(0, 2)"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        ([b"sunny"], "[1] sunny"),
        *[(nothing, NO_EVIDENCE) for nothing in (None, "", " \n", b"", (), [], {}, iter(()))],
    ],
)  # fmt: skip
def test_every_item_has_a_label(evidence: Any, text: str) -> None:
    assert format_evidence(evidence) == text
