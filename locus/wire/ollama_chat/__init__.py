"""Ollama's chat API (``POST /api/chat``): request bodies, responses and streams. No I/O.

``request`` builds the JSON body from a conversation. ``complete_response`` parses a complete
response, ``stream`` decodes a streamed one (newline-delimited JSON), and ``response_parser`` offers
both as a ``ResponseParser``. Ollama documents the format under "Generate a chat completion" in its
API reference (``docs/api.md``). What that leaves open is taken from the server's own types
(``api/types.go``).
"""

from locus.wire.ollama_chat.parser_and_decoder import OllamaChatParser
from locus.wire.ollama_chat.request import OllamaChatBuilder
from locus.wire.ollama_chat.stream import OllamaChatDecoder

__all__ = ["OllamaChatBuilder", "OllamaChatDecoder", "OllamaChatParser"]
