"""A run as JSON: what was measured, with what, and where."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .environments import Installation
from .rounds import Measurement, MeasurementFailed, Results, Sample
from .targets import RunResults


@dataclass
class Report:
    """The results of a run, and the circumstances that they depend on.

    :ivar run: the results.
    :ivar installations: what the environment of each subject holds.
    :ivar is_quick: whether there were few and short rounds.
    """

    run: RunResults = field(default_factory=dict)
    installations: dict[str, Installation] = field(default_factory=dict)
    is_quick: bool = False
    python: str = field(default_factory=platform.python_version)
    machine: str = field(default_factory=platform.machine)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))

    def get_results(self, *key: str) -> Results:
        """Return the results of a format, a case and a runtime; empty if it was not measured."""
        wire, case, runtime = key
        return self.run.get((wire, case, runtime), {})

    def save(self, path: Path) -> None:
        """Write the report to a file."""
        rows = [
            {"format": wire, "case": case, "runtime": runtime, "subject": name}
            | (asdict(result) if isinstance(result, Measurement) else {"failure": str(result)})
            for (wire, case, runtime), results in self.run.items()
            for name, result in results.items()
        ]
        members = asdict(self) | {"run": rows}
        path.write_text(json.dumps(members, indent=1))

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a report that :meth:`save` has written."""
        members: dict[str, Any] = json.loads(path.read_text())
        run: RunResults = {}
        for row in members.pop("run"):
            results = run.setdefault((row["format"], row["case"], row["runtime"]), {})
            if "failure" in row:
                results[row["subject"]] = MeasurementFailed(row["failure"])
            else:
                samples = [Sample(*sample) for sample in row["samples"]]
                results[row["subject"]] = Measurement(row["units"], samples)
        installations = {
            name: Installation(**values) for name, values in members.pop("installations").items()
        }
        return cls(run=run, installations=installations, **members)
