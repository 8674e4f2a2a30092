"""Ollama's chat format, in both directions. Pure: JSON in, values out.

``request`` turns a conversation into the JSON body, ``answer`` reads a whole answer, ``stream``
reads one that comes in pieces, a line of JSON each. Ollama documents the format under "Generate a
chat completion" in its API reference (``docs/api.md``); what that leaves open is taken from the
server's own types (``api/types.go``).
"""

from locus.wire.ollama_chat.request import OllamaChatBuilder
from locus.wire.ollama_chat.response import OllamaChatParser
from locus.wire.ollama_chat.stream import OllamaChatDecoder

__all__ = ["OllamaChatBuilder", "OllamaChatDecoder", "OllamaChatParser"]
