"""Estimates the number of tokens of a message, without a tokenizer."""

from __future__ import annotations

from locus.core.messages import ImagePart, Message

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 1_000


def estimate_tokens(message: Message) -> int:
    """Estimate the tokens of a message: 1 for four characters, 4 for the message, 1,000 an image.

    It counts text, thinking, and tool calls with their arguments. The estimate is about right for
    English prose; code and numbers have up to twice as many tokens, Chinese, Japanese and Korean up
    to four times as many. For exact numbers, pass a manager a ``counter`` that uses the model's
    tokenizer.
    """
    tokens = TOKENS_PER_MESSAGE
    characters = 0
    if isinstance(message.all_content, str):
        characters = len(message.all_content)
    elif message.all_content is not None:
        for part in message.all_content:
            if isinstance(part, ImagePart):
                tokens += TOKENS_PER_IMAGE
            else:
                characters += len(part.text)
    for call in message.tool_calls:
        # The repr is about as long as the JSON, and never raises an error.
        characters += len(call.name) + len(call.malformed_arguments or repr(call.arguments))
    return tokens - -characters // CHARACTERS_PER_TOKEN
