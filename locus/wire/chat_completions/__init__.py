"""OpenAI's chat completions format: builds requests, parses responses, decodes streams. No I/O.

``request`` builds the JSON body from a conversation, ``complete_response`` parses a complete
response, ``stream`` decodes a streamed one, and ``response_parser`` joins those two. OpenAI
documents the format under "Chat" in its API reference. Where other servers of this format behave
differently, a comment beside the code that handles it says so.
"""

from locus.wire.chat_completions.parser_and_decoder import ChatCompletionsParser
from locus.wire.chat_completions.request import ChatCompletionsBuilder
from locus.wire.chat_completions.stream import ChatCompletionsDecoder

__all__ = ["ChatCompletionsBuilder", "ChatCompletionsDecoder", "ChatCompletionsParser"]
