"""Judges of GSAR whose verdicts are given in advance."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel


class ScriptedJudge:
    """A judge that returns verdicts in order, the last one again and again; records its calls."""

    def __init__(self, *verdicts: Any) -> None:
        self.verdicts = list(verdicts)
        self.calls: list[tuple[Any, Any]] = []

    def judge(self, report: Any, evidence: Any) -> Any:
        self.calls.append((report, evidence))
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict


class AsyncScriptedJudge(ScriptedJudge):
    """The same, async."""

    async def judge(self, report: Any, evidence: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return super().judge(report, evidence)
