"""Tools for testing code that uses Locus: scripted models, a loopback server, conformance checks.

``ScriptedModel`` and ``FunctionModel`` replace a model; they use no network. ``LoopbackServer``
replaces a provider; it sends any bytes and simulates every fault of a connection.
``check_model_conformance`` checks that a model class of your own follows the model contract.
"""

from locus.testing.conformance import check_model_conformance
from locus.testing.scripted import (
    FunctionModel,
    RecordedCall,
    ScriptedModel,
    ScriptExhaustedError,
    interrupted_text,
    text,
    tool_call,
)
from locus.testing.server import FAULTS, Fault, LoopbackServer, Received, Reply

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
    "interrupted_text",
    "text",
    "tool_call",
]
