"""OpenAI's responses format: builds requests, parses responses, decodes streams. No I/O.

``request`` builds the JSON body from a conversation, ``complete_response`` parses a complete
response, ``stream`` decodes a streamed one, and ``response_parser`` joins those two.
``output_items`` parses the items of a response, and stores those that a message cannot express, so
that ``input_items`` can send them back unchanged. OpenAI documents the format under "Responses" in
its API reference. All names follow the types of its SDK (``openai.types.responses``).
"""

from locus.wire.responses.parser_and_decoder import ResponsesParser
from locus.wire.responses.request import ResponsesBuilder
from locus.wire.responses.stream import ResponsesDecoder

__all__ = ["ResponsesBuilder", "ResponsesDecoder", "ResponsesParser"]
