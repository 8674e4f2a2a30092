"""The public names for writing a model of one's own: the protocols, ``ModelConfig``, and others.

The classes are defined in ``protocols`` and ``config`` beside this module, and in ``locus.core``.
"""

from __future__ import annotations

from locus.core.conversation import Messages
from locus.core.response import Candidate, ModelResponse
from locus.core.tool_schemas import ToolLike
from locus.models.config import ModelConfig
from locus.models.protocols import ModelProtocol, RequestBuilder, ResponseParser

__all__ = [
    "Candidate",
    "Messages",
    "ModelConfig",
    "ModelProtocol",
    "ModelResponse",
    "RequestBuilder",
    "ResponseParser",
    "ToolLike",
]
