"""Cohere's two formats for ``/actions/chat``, by name.

The first (``apiFormat`` ``COHERE``; ``cohere_request``, ``cohere_turns``, ``cohere_tools``,
``cohere_answer``, ``cohere_stream``) is that of ``cohere.command-r*``: text only, tool calls
without ids. The second (``COHEREV2``; ``cohere_v2_request``, ``cohere_v2_answer``,
``cohere_v2_stream``) has images, thinking, and calls with ids. What both have in common is in
``cohere_shared`` and ``cohere_decoder``.
"""

from locus.wire.oci_chat.cohere_request import CohereChatBuilder
from locus.wire.oci_chat.cohere_response import CohereChatParser
from locus.wire.oci_chat.cohere_stream import CohereChatDecoder
from locus.wire.oci_chat.cohere_v2_request import CohereV2ChatBuilder
from locus.wire.oci_chat.cohere_v2_response import CohereV2ChatParser
from locus.wire.oci_chat.cohere_v2_stream import CohereV2ChatDecoder

__all__ = [
    "CohereChatBuilder",
    "CohereChatDecoder",
    "CohereChatParser",
    "CohereV2ChatBuilder",
    "CohereV2ChatDecoder",
    "CohereV2ChatParser",
]
