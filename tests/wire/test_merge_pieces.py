"""Tests of how the pieces of a provider's own objects in a stream are joined."""

from __future__ import annotations

from typing import Any

import pytest

from locus.wire.merge_pieces import ListMerger

TEXT = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}


@pytest.mark.parametrize(
    ("chunks", "merged"),
    [
        (  # one thought in pieces, its signature last: it signs the whole text
            [[{**TEXT, "text": "Let"}], [{**TEXT, "text": " me."}], [{**TEXT, "signature": "S"}]],
            [{**TEXT, "text": "Let me.", "signature": "S"}],
        ),
        (  # an encrypted object with the index of a summary is one of its own
            [
                [{"type": "reasoning.summary", "summary": "a", "index": 0}],
                [{"type": "reasoning.encrypted", "data": "E", "index": 0}],
            ],
            [
                {"type": "reasoning.summary", "summary": "a", "index": 0},
                {"type": "reasoning.encrypted", "data": "E", "index": 0},
            ],
        ),
        (  # interleaved
            [[{**TEXT, "text": "a"}], [{**TEXT, "text": "x", "index": 1}], [{**TEXT, "text": "b"}]],
            [{**TEXT, "text": "ab"}, {**TEXT, "text": "x", "index": 1}],
        ),
        (  # without indexes: until the signature
            [
                [{"type": "thinking", "thinking": "a", "signature": None}],
                [{"type": "thinking", "thinking": "b", "signature": "S"}],
                [{"type": "thinking", "thinking": "c"}],
            ],
            [
                {"type": "thinking", "thinking": "ab", "signature": "S"},
                {"type": "thinking", "thinking": "c"},
            ],
        ),
        (  # objects with different ids are different
            [[{"type": "x", "id": "1", "text": "a"}], [{"type": "x", "id": "2", "text": "b"}]],
            [{"type": "x", "id": "1", "text": "a"}, {"type": "x", "id": "2", "text": "b"}],
        ),
        ([["x"], [5], [None]], ["x", 5, None]),
    ],
)
def test_pieces_are_joined(chunks: list[list[Any]], merged: list[Any]) -> None:
    merger = ListMerger()
    for chunk in chunks:
        merger.add(chunk)
    assert merger.build() == merged
