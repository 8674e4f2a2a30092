"""OpenAI's responses format, in both directions. Pure: JSON in, values out.

``request`` turns a conversation into the JSON body, ``answer`` reads a whole answer, ``stream``
reads one that comes in pieces. ``items`` is what those share: the items that an answer is made of,
and how a turn that a message cannot repeat goes back as it came. OpenAI documents the format under
"Responses" in its API reference; the types of its SDK (``openai.types.responses``) are the
authority on names.
"""

from locus.wire.responses.request import ResponsesBuilder
from locus.wire.responses.response import ResponsesParser
from locus.wire.responses.stream import ResponsesDecoder

__all__ = ["ResponsesBuilder", "ResponsesDecoder", "ResponsesParser"]
