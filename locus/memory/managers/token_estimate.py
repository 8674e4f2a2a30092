"""How long a message is for a model, roughly, where nobody counts better."""

from __future__ import annotations

from locus.core.messages import ImagePart, Message

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 1_000


def estimate_tokens(message: Message) -> int:
    """An estimate: a token for every four characters, 4 for the message, 1,000 for an image.

    It counts text, thinking, and tool calls with their arguments. English prose comes out about
    right; code and figures take up to twice as many tokens, Chinese, Japanese and Korean up to
    four times. Where that matters, give a manager a ``counter`` that asks the model's tokenizer.
    """
    tokens = TOKENS_PER_MESSAGE
    characters = 0
    if isinstance(message.content, str):
        characters = len(message.content)
    elif message.content is not None:
        for part in message.content:
            if isinstance(part, ImagePart):
                tokens += TOKENS_PER_IMAGE
            else:
                characters += len(part.text)
    for call in message.tool_calls:
        # As Python writes them: about as long as the JSON, and never an error.
        characters += len(call.name) + len(call.malformed_arguments or repr(call.arguments))
    return tokens - -characters // CHARACTERS_PER_TOKEN
