"""The protocols of a model, of what builds its requests, and of what parses its responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, Unpack, runtime_checkable

from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages
from locus.core.decoder_protocol import Decoder
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.core.typed_call_keywords import CallKeywords


@runtime_checkable
class ModelProtocol(Protocol):
    """The smallest model: two methods, which are all that Locus's agent needs."""

    async def complete(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> ModelResponse:
        """Return one complete response."""
        ...

    def stream(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> AsyncIterator[ModelChunkEvent]:
        """Stream the events of one response, as they arrive."""
        ...


class RequestBuilder(Protocol):
    """Turns a conversation into a provider's JSON. A pure function of its arguments.

    A builder may have an attribute ``option_rules``, the
    :class:`~locus.core.option_rules.OptionRules` of its format: the model then refuses the options
    that it cannot send. A builder without it gets all options. It may have an attribute
    ``accepted_parts``, the :class:`~locus.core.accepted_parts.AcceptedParts` of its format, which
    it passes to :func:`~locus.core.conversation.validate_messages`; without it, that accepts text
    only. With an attribute ``tool_name_rule``, a :class:`~locus.core.tool_names.ToolNameRule`, the
    model renames the tools that the provider would refuse before it builds a request.
    """

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
