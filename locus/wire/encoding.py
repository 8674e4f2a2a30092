"""What several formats write alike: thinking, and arguments that have to be an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, ThinkingPart, ToolCall


def open_thinking(message: Message) -> str | None:
    """What the model thought. Sealed thinking is another provider's, and for its eyes only."""
    if not isinstance(message.content, tuple):
        return None
    thoughts = [
        part.text
        for part in message.content
        if isinstance(part, ThinkingPart) and part.signature is None and part.redacted is None
    ]
    return "".join(thoughts) or None


def arguments_object(where: str, call: ToolCall, plain: Callable[[Any], Any]) -> Any:
    """The arguments of a call where only an object fits.

    Malformed ones are put into one: the model sees what it wrote, next to the error that it got.

    :param where: the call's place in the conversation, for errors.
    :param plain: makes of a value what ``msgspec`` can write, or raises ``ValueError`` or
        ``TypeError``.
    :raises ConfigurationError: they are no JSON.
    """
    arguments = call.arguments
    if call.malformed_arguments is not None:
        arguments = {"malformed_arguments": call.malformed_arguments}
    try:
        return msgspec.to_builtins(arguments, enc_hook=plain)
    except (TypeError, ValueError, RecursionError) as why:
        raise ConfigurationError(f"{where}: the arguments are no JSON: {why}") from why
