"""Anthropic's Messages API (``POST /v1/messages``): request bodies, responses and streams. No I/O.

``request`` builds the JSON body from a conversation, with ``messages`` for the messages in it.
``complete_response`` parses a complete response, ``stream`` decodes a streamed one, and
``response_parser``
offers both as a ``ResponseParser``. ``convert_assistant_blocks``, which all of them use, converts
between
Locus's messages and Anthropic's content blocks. Anthropic documents the format under "Messages" in
its API reference.
"""

from locus.wire.anthropic_messages.parser_and_decoder import AnthropicMessagesParser
from locus.wire.anthropic_messages.request import AnthropicMessagesBuilder
from locus.wire.anthropic_messages.stream import AnthropicMessagesDecoder

__all__ = ["AnthropicMessagesBuilder", "AnthropicMessagesDecoder", "AnthropicMessagesParser"]
