"""A temporary home directory with OCI profiles, and an environment without OCI variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from locus.models.providers.oci._signer_cache import _cached_signers

_PREFIXES = ("OCI_", "OPENAI_", "KUBERNETES_")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make a temporary home directory; remove OCI variables, API keys and proxies."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    _cached_signers.clear()
    return tmp_path


def write_profile(home: Path, name: str = "DEFAULT", **values: str) -> Path:
    """Add a profile to ``~/.oci/config``; return the file's path."""
    file = home / ".oci" / "config"
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as config:
        lines = "".join(f"{key} = {value}\n" for key, value in values.items())
        config.write(f"[{name}]\n{lines}\n")
    return file
