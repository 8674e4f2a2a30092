"""Anthropic's messages format, in both directions. Pure: JSON in, values out.

``request`` turns a conversation into the JSON body, ``answer`` reads a whole answer, ``stream``
reads one that comes in pieces. ``blocks`` is what those share: the blocks that an assistant's turn
is made of. Anthropic documents the format under "Messages" in its API reference.
"""

from locus.wire.anthropic_messages.request import AnthropicMessagesBuilder
from locus.wire.anthropic_messages.response import AnthropicMessagesParser
from locus.wire.anthropic_messages.stream import AnthropicMessagesDecoder

__all__ = ["AnthropicMessagesBuilder", "AnthropicMessagesDecoder", "AnthropicMessagesParser"]
