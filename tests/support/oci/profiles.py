"""A home directory with OCI profiles of one's own, and an environment that says nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from locus.models.providers.oci._signing import _shared

_PREFIXES = ("OCI_", "OPENAI_", "KUBERNETES_")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of one's own, and an environment without OCI, keys and proxies."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    _shared.clear()
    return tmp_path


def write_profile(home: Path, name: str = "DEFAULT", **values: str) -> Path:
    """Add a profile to ``~/.oci/config``; the file."""
    file = home / ".oci" / "config"
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as config:
        config.write(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) + "\n")
    return file
