"""Reasoning about an agent's work: reflexion, grounding, and GSAR. Each operates on any model.

Nothing here is imported by an agent that does not ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locus.lazy import make_lazy_getattr_and_dir

if TYPE_CHECKING:
    from locus.reasoning.claim_partition import Claim, EvidenceType, Partition
    from locus.reasoning.grounding_evaluator import GroundingEvaluator, GroundingReport
    from locus.reasoning.gsar_evaluator import GSAREvaluator, GSARLook, GSARResult
    from locus.reasoning.gsar_judge import GSARJudge, StructuredOutputGSARJudge
    from locus.reasoning.judge_output import JudgeOutput
    from locus.reasoning.reflector import AgentStep, Reflection, Reflector
    from locus.reasoning.score_partition import (
        Decision,
        GSARThresholds,
        decide,
        gsar_score,
    )

_LAZY_MODULES: Final = {
    **dict.fromkeys(("Claim", "EvidenceType", "Partition"), "locus.reasoning.claim_partition"),
    **dict.fromkeys(
        ("GroundingEvaluator", "GroundingReport"), "locus.reasoning.grounding_evaluator"
    ),
    **dict.fromkeys(("GSAREvaluator", "GSARLook", "GSARResult"), "locus.reasoning.gsar_evaluator"),
    **dict.fromkeys(("GSARJudge", "StructuredOutputGSARJudge"), "locus.reasoning.gsar_judge"),
    **dict.fromkeys(
        ("Decision", "GSARThresholds", "decide", "gsar_score"),
        "locus.reasoning.score_partition",
    ),
    "JudgeOutput": "locus.reasoning.judge_output",
    **dict.fromkeys(("AgentStep", "Reflection", "Reflector"), "locus.reasoning.reflector"),
}

__all__ = [
    "AgentStep",
    "Claim",
    "Decision",
    "EvidenceType",
    "GSAREvaluator",
    "GSARJudge",
    "GSARLook",
    "GSARResult",
    "GSARThresholds",
    "GroundingEvaluator",
    "GroundingReport",
    "JudgeOutput",
    "Partition",
    "Reflection",
    "Reflector",
    "StructuredOutputGSARJudge",
    "decide",
    "gsar_score",
]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
