"""The base contract: what every model is, and the seams where a provider's differences go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from locus.core.conversation import Messages
from locus.core.decoder_protocol import Decoder
from locus.core.errors import ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.core.response import Candidate, ModelResponse
from locus.core.tool_schemas import Tool

__all__ = [
    "Candidate",
    "Messages",
    "ModelConfig",
    "ModelProtocol",
    "ModelResponse",
    "RequestBuilder",
    "ResponseParser",
    "Tool",
]


@runtime_checkable
class ModelProtocol(Protocol):
    """The least that a model is. Locus's agent asks for no more."""

    async def complete(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One whole answer."""
        ...

    def stream(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> AsyncIterator[ModelChunkEvent]:
        """One answer as it arrives."""
        ...


class RequestBuilder(Protocol):
    """Turns a conversation into a provider's JSON. A pure function of its arguments."""

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body. ``options`` are the fields of
        :class:`locus.core.call_options.CallOptions`."""
        ...


class ResponseParser(Protocol):
    """Turns a provider's JSON into an answer. A pure function of its arguments."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a whole body holds."""
        ...

    def decoder(self) -> Decoder:
        """A reader for one streamed answer."""
        ...


def _strings(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _positive(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and value > 0):
        raise ConfigurationError(f"{attribute.name} must be more than 0, or None; not {value!r}")


def _count(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{attribute.name} must be a whole number from 0; not {value!r}")


def _named(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{attribute.name} must be a name; not {value!r}")


@attrs.frozen
class ModelConfig:
    """What every model can be told. None for a sampling field leaves it out of requests.

    :param model: the provider's name for the model.
    :param max_tokens: the longest answer, in tokens.
    :param temperature: 0 (the likeliest words) and up.
    :param top_p: the share of probability to sample from, above 0 to 1.
    :param stop_sequences: strings that end the answer.
    :param timeout: the longest silence of the server, in seconds; None waits for ever.
    :param max_retries: further tries after a failure that may pass; 0 is one try.
    """

    model: str = attrs.field(validator=_named)
    max_tokens: int | None = attrs.field(default=4096, validator=_positive)
    temperature: float | None = 0.7
    top_p: float | None = 0.9
    stop_sequences: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    timeout: float | None = attrs.field(default=600.0, validator=_positive)
    max_retries: int = attrs.field(default=2, validator=_count)
