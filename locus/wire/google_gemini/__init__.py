"""Google's Gemini API (``generateContent``): requests, responses, streams. No I/O.

``request`` builds the JSON body, ``contents`` the messages in it, ``complete_response`` parses a
complete response, ``stream`` decodes a streamed one, and ``response_parser`` joins those two. The
names are those of Google's reference (https://ai.google.dev/api/generate-content).
"""

from locus.wire.google_gemini.parser_and_decoder import GeminiParser
from locus.wire.google_gemini.request import GeminiBuilder
from locus.wire.google_gemini.stream import GeminiDecoder

__all__ = ["GeminiBuilder", "GeminiDecoder", "GeminiParser"]
