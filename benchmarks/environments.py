"""Creates a virtual environment for each subject, with what a user of that package would have.

They are separate because httpx, for example, imports trio if it is installed, and click, pygments
and rich if all three are, which takes 0.05 and 0.2 s; and another package is also named ``locus``.
An environment is created at first use and reused; the project itself is reinstalled in each run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_IGNORED_FILES = shutil.ignore_patterns(
    ".*", "__pycache__", "benchmarks", "build", "dist", "docs", "tests", "*.egg-info"
)


_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})


@dataclass(frozen=True)
class Installation:
    """What is installed for a subject: the size in MB, and the packages with their versions."""

    megabytes: float
    versions: dict[str, str]


class InstallError(Exception):
    """An environment could not be created; the message is the installer's last line."""


class Environments:
    """Creates and reuses the environments under ``folder``."""

    def __init__(self, folder: Path, root: Path, locus_path: Path | None = None) -> None:
        self._folder = folder
        self._root = root
        self._locus_path = locus_path
        self._uv = shutil.which("uv")
        self._interpreters: dict[Path, Path] = {}

    def get_python(self, subject: ModuleType, runtime: str) -> Path:
        """Return the interpreter for subject and runtime; install the environment if needed."""
        installs_project, others = self._split_requirements(subject.REQUIREMENTS)
        home = self._folder / subject.NAME
        if runtime in ("trio", "uvloop"):
            others.append(runtime)
            home = home.with_name(f"{home.name}-{runtime}")
        if home in self._interpreters:
            return self._interpreters[home]
        python = home / "bin" / "python"
        marker = home / "installed.json"
        contents = json.dumps({"python": sys.version, "requirements": others})
        if not marker.exists() or marker.read_text() != contents:
            shutil.rmtree(home, ignore_errors=True)
            self._make_environment(home)
            self._install_packages(python, *others)
            marker.write_text(contents)
        if installs_project:
            with tempfile.TemporaryDirectory() as copy:
                sources = shutil.copytree(self._root, Path(copy, "root"), ignore=_IGNORED_FILES)
                self._install_packages(python, "--force-reinstall", "--no-deps", str(sources))
        self._interpreters[home] = python
        return python

    def measure_installation(self, subject: ModuleType) -> Installation:
        """Return what an environment of the subject holds, byte code and installers left out."""
        python = self.get_python(subject, subject.RUNTIMES[0])
        (folder,) = python.parent.parent.glob("lib/python*/site-packages")
        files = [file for file in folder.rglob("*") if file.is_file()]
        if "{root}" in subject.REQUIREMENTS and self._locus_path is not None:
            files += (self._locus_path / "locus").rglob("*.py")
        size = sum(
            file.stat().st_size
            for file in files
            if file.suffix != ".pyc" and not _INSTALLERS & set(file.parts)
        )
        versions = dict(
            path.name.removesuffix(".dist-info").rsplit("-", 1)
            for path in folder.glob("*.dist-info")
        )
        kept = {name: version for name, version in versions.items() if name not in _INSTALLERS}
        return Installation(size / 1e6, kept)

    def get_variables(self, subject: ModuleType) -> dict[str, str]:
        """Return the environment variables for the subject, without the user's settings."""
        variables = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ
        }
        # Otherwise litellm fetches these two from the network at import.
        variables["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        variables["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"
        if "{root}" in subject.REQUIREMENTS and self._locus_path is not None:
            variables["PYTHONPATH"] = str(self._locus_path)
        return variables

    def _split_requirements(self, requirements: tuple[str, ...]) -> tuple[bool, list[str]]:
        """Return whether to install the project itself, and all other requirements."""
        if "{root}" not in requirements:
            return False, list(requirements)
        project = tomllib.loads((self._root / "pyproject.toml").read_text())["project"]
        others = [item for item in requirements if item != "{root}"]
        return self._locus_path is None, [*project["dependencies"], *others]

    def _make_environment(self, home: Path) -> None:
        if self._uv:
            _run_command(
                self._uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(home)
            )
        else:
            _run_command(sys.executable, "-m", "venv", str(home))

    def _install_packages(self, python: Path, *arguments: str) -> None:
        if self._uv:
            _run_command(self._uv, "pip", "install", "--quiet", "--python", str(python), *arguments)
        else:
            _run_command(str(python), "-m", "pip", "install", "--quiet", *arguments)


def _run_command(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise InstallError(lines[-1].strip()[:100])
