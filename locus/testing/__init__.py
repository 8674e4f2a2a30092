"""For the tests of those who use Locus: models that answer from a script, and a server that fails.

``ScriptedModel`` and ``FunctionModel`` stand in for a model without any network.
``LoopbackServer`` stands in for a provider, down to the bytes and the ways they get lost.
``check_model_conformance`` says whether a model of one's own keeps the contract.
"""

from locus.testing.conformance import check_model_conformance
from locus.testing.loopback_server import FAULTS, Fault, LoopbackServer, Received, Reply
from locus.testing.scripted_models import (
    FunctionModel,
    RecordedCall,
    ScriptedModel,
    ScriptExhaustedError,
    cut_off,
    text,
    tool_call,
)

__all__ = [
    "FAULTS",
    "Fault",
    "FunctionModel",
    "LoopbackServer",
    "Received",
    "RecordedCall",
    "Reply",
    "ScriptExhaustedError",
    "ScriptedModel",
    "check_model_conformance",
    "cut_off",
    "text",
    "tool_call",
]
