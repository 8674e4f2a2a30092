"""The protocols of a model, of what builds its requests, and of what parses its responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages
from locus.core.decoder_protocol import Decoder
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse


@runtime_checkable
class ModelProtocol(Protocol):
    """The smallest model: two methods, which are all that Locus's agent needs."""

    async def complete(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """Return one complete response."""
        ...

    def stream(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **kwargs: Any
    ) -> AsyncIterator[ModelChunkEvent]:
        """Stream the events of one response, as they arrive."""
        ...


class RequestBuilder(Protocol):
    """Turns a conversation into a provider's JSON. A pure function of its arguments."""

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body of a request.

        :param options: the fields of :class:`locus.core.call_options.CallOptions`.
        """
        ...


class ResponseParser(Protocol):
    """Turns a provider's JSON into a response. A pure function of its arguments."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """Parse the body of a response that is not streamed."""
        ...

    def make_decoder(self) -> Decoder:
        """Make the decoder for one streamed response."""
        ...
