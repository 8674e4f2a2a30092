"""Tests of the names of models without their snapshot, and of their families."""

from __future__ import annotations

import pytest

from locus.core.model_family import get_model_family, strip_model_snapshot


@pytest.mark.parametrize(
    ("model", "name", "family"),
    [
        ("claude-opus-4-1-20250805", "claude-opus-4-1", "claude"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1", "claude"),
        ("anthropic/claude-opus-4.7", "claude-opus-4.7", "claude"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4", "claude"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku", "claude"),
        ("gpt-5-2025-08-07", "gpt-5", "gpt"),
        ("openai.gpt-5", "gpt-5", "gpt"),
        ("google/gemini-3-pro-preview", "gemini-3-pro-preview", "gemini"),
        ("google.gemini-2.5-flash", "gemini-2.5-flash", "gemini"),
        ("DeepSeek-V4-Pro", "deepseek-v4-pro", "deepseek"),
        ("qwen3:8b", "qwen3:8b", "qwen"),
        ("o3", "o3", "o"),
        ("7", "7", "7"),
    ],
)
def test_the_name_and_the_family(model: str, name: str, family: str) -> None:
    assert (strip_model_snapshot(model), get_model_family(model)) == (name, family)
