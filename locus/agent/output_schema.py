"""The answer as a value of a type: how it is asked for, read, and asked for again.

The strongest mechanism that goes with the run is used. A provider with a ``response_format`` of
its own holds the model to the schema in every answer. Anthropic and Ollama can do so as well, but
a model that is held to it cannot call tools meanwhile: where there are tools, it is first asked in
words, and held to the schema when it is asked again. All others are asked in words alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.core.errors import ConfigurationError, StructuredOutputError
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import Message
from locus.core.structured import StructuredOutput, build_response_format, parse_structured

_HOLDS_TO_IT: Final = frozenset({"anthropic", "ollama"})
"""Providers that can hold a model to a schema, though not in OpenAI's way."""

_INSTRUCTIONS: Final = (
    "When you give your final answer, give it as JSON that fits this JSON Schema, "
    "and nothing else:\n"
)
_AGAIN: Final = (
    "Your answer could not be used: {error}\n"
    "Give your final answer again, as JSON that fits the schema and nothing else."
)


@attrs.frozen(eq=False)
class Shape:
    """What the answer is to be.

    :param type: the caller's type.
    :param options: the keywords of a model call that hold the model to it.
    :param instructions: what the system prompt says about it; empty where nothing has to be said.
    :param always: whether every call has the keywords, or only those that ask again.
    """

    type: Any
    options: Mapping[str, Any] = EMPTY
    instructions: str = ""
    always: bool = False

    @classmethod
    def of(cls, type: Any, model: Any, *, tools: bool) -> Shape:
        """The shape for a model, in a run with or without tools."""
        native = getattr(model, "supports_structured_output", False)
        if native or getattr(model, "prefix", None) in _HOLDS_TO_IT:
            options = FrozenDict(response_format=_format(type))
            if native or not tools:
                return cls(type, options, always=True)
            return cls(type, options, _in_words(type))
        return cls(type, instructions=_in_words(type))

    def read(self, message: Message | None) -> StructuredOutput[Any]:
        """The value of an answer, or what is wrong with it."""
        if message is not None and not message.text and message.refusal is not None:
            return StructuredOutput(
                error=StructuredOutputError(f"the model refused: {message.refusal}")
            )
        return parse_structured("" if message is None else message.text, self.type)

    def missing(self, reason: str | None) -> StructuredOutputError:
        """The error of a run that ended while there were calls to answer."""
        return StructuredOutputError(
            f"there is no final answer: the run ended before it ({reason})"
        )

    def ask_again(self, error: Exception) -> Message:
        """What the model is told of an answer that cannot be read."""
        return Message.user(_AGAIN.format(error=error))


def _format(type: Any) -> Mapping[str, Any]:
    """The type as the strictest ``response_format`` that can say it."""
    try:
        return build_response_format(type)
    except ConfigurationError:  # an open object, say, of which providers' strict mode knows none
        return build_response_format(type, strict=False)


def _in_words(type: Any) -> str:
    schema = build_response_format(type, strict=False)["json_schema"]["schema"]
    return _INSTRUCTIONS + msgspec.json.encode(schema).decode()
