"""An environment for each subject, with what a user of that package alone would have.

They differ on purpose: httpx, for one, imports trio where it finds it, and click, pygments and rich
where it finds all three, at a cost of 0.05 and 0.2 s; and another package is called ``locus`` too.
An environment is made at first use and kept; the project itself is installed anew in each run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from types import ModuleType

_NOT_SOURCES = shutil.ignore_patterns(
    ".*", "__pycache__", "benchmarks", "build", "dist", "docs", "tests", "*.egg-info"
)


class InstallError(Exception):
    """An environment could not be made; the message is the installer's last line."""


class Environments:
    """Makes and finds the environments under ``folder``."""

    def __init__(self, folder: Path, root: Path, locus_path: Path | None = None) -> None:
        self._folder = folder
        self._root = root
        self._locus_path = locus_path
        self._uv = shutil.which("uv")
        self._ready: dict[Path, Path] = {}

    def python(self, subject: ModuleType, runtime: str) -> Path:
        """The interpreter for the subject under the runtime, installed if need be."""
        own, others = self._split(subject.REQUIREMENTS)
        home = self._folder / subject.NAME
        if runtime == "trio":
            others.append("trio")
            home = home.with_name(f"{home.name}-trio")
        if home in self._ready:
            return self._ready[home]
        python = home / "bin" / "python"
        marker = home / "installed.json"
        wanted = json.dumps({"python": sys.version, "requirements": others})
        if not marker.exists() or marker.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            self._make(home)
            self._install(python, *others)
            marker.write_text(wanted)
        if own:
            with tempfile.TemporaryDirectory() as copy:
                sources = shutil.copytree(self._root, Path(copy, "root"), ignore=_NOT_SOURCES)
                self._install(python, "--force-reinstall", "--no-deps", str(sources))
        self._ready[home] = python
        return python

    def variables(self, subject: ModuleType) -> dict[str, str]:
        """The environment variables of the subject's processes: nothing that changes its course."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # litellm would fetch these two from the network when it is imported.
        kept["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        kept["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"
        if "{root}" in subject.REQUIREMENTS and self._locus_path is not None:
            kept["PYTHONPATH"] = str(self._locus_path)
        return kept

    def _split(self, requirements: tuple[str, ...]) -> tuple[bool, list[str]]:
        """Whether to install the project itself, and the other requirements, its own included."""
        if "{root}" not in requirements:
            return False, list(requirements)
        project = tomllib.loads((self._root / "pyproject.toml").read_text())["project"]
        others = [item for item in requirements if item != "{root}"]
        return self._locus_path is None, [*project["dependencies"], *others]

    def _make(self, home: Path) -> None:
        if self._uv:
            _run(self._uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(home))
        else:
            _run(sys.executable, "-m", "venv", str(home))

    def _install(self, python: Path, *what: str) -> None:
        if self._uv:
            _run(self._uv, "pip", "install", "--quiet", "--python", str(python), *what)
        else:
            _run(str(python), "-m", "pip", "install", "--quiet", *what)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise InstallError(lines[-1].strip()[:100])
