"""Environment variables that configure providers and proxies, which most tests must not see."""

from __future__ import annotations

import os

import pytest

_PROVIDER_PREFIXES = ("ANTHROPIC_", "AWS_", "CLOUD_ML_", "OLLAMA_", "OPENAI_")


def is_provider_variable(name: str) -> bool:
    """Return whether an environment variable configures a provider or a proxy."""
    return name.startswith(_PROVIDER_PREFIXES) or name.lower().endswith("_proxy")


def remove_provider_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that configure providers and proxies, until the end of the test."""
    for name in filter(is_provider_variable, list(os.environ)):
        monkeypatch.delenv(name)
