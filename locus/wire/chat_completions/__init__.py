"""OpenAI's chat completions format, in both directions. Pure: JSON in, values out.

``request`` turns a conversation into the JSON body, ``answer`` reads a whole answer, ``stream``
reads one that comes in pieces. OpenAI documents the format under "Chat" in its API reference;
what other servers of the same format do differently is said where it is dealt with.
"""

from locus.wire.chat_completions.request import ChatCompletionsBuilder
from locus.wire.chat_completions.response import ChatCompletionsParser
from locus.wire.chat_completions.stream import ChatCompletionsDecoder

__all__ = ["ChatCompletionsBuilder", "ChatCompletionsDecoder", "ChatCompletionsParser"]
