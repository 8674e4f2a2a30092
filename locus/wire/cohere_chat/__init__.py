"""Cohere's chat API, version 2 (``POST /v2/chat``): requests, responses, streams. No I/O.

``request`` builds the JSON body, ``complete_response`` parses a complete response, ``stream``
decodes a streamed one, and ``response_parser`` joins those two. Oracle's service offers the same
format in another spelling (``locus.wire.oci_chat``, ``cohere_v2``): ``messages``,
``tools_and_messages`` and ``response_accumulator`` have what is the same in both. The names are
those of Cohere's API reference (docs.cohere.com/reference/chat) and of its SDK.
"""

from locus.wire.cohere_chat.parser_and_decoder import CohereChatParser
from locus.wire.cohere_chat.request import CohereChatBuilder
from locus.wire.cohere_chat.stream import CohereChatDecoder

__all__ = ["CohereChatBuilder", "CohereChatDecoder", "CohereChatParser"]
