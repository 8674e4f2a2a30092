"""``Model``: the base class of every model, with one method for each way of calling it.

A subclass implements the abstract methods; the other methods are defined by means of those. This
module also exports the other names that one needs to write a model: the protocols, ``ModelConfig``
and what they use.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Self, Unpack

from locus.core.build_tool_schemas import ToolLike
from locus.core.closeable import AsyncCloseable
from locus.core.conversation import Messages
from locus.core.messages import Message
from locus.core.response import Candidate, ModelResponse
from locus.core.typed_call_keywords import CallKeywords
from locus.models.capabilities import ModelCapabilities
from locus.models.config import ModelConfig
from locus.models.protocols import ModelProtocol, RequestBuilder, ResponseParser
from locus.transport.async_driver import AsyncStream
from locus.transport.blocking_driver import BlockingStream

__all__ = [
    "Candidate",
    "Messages",
    "Model",
    "ModelCapabilities",
    "ModelConfig",
    "ModelProtocol",
    "ModelResponse",
    "RequestBuilder",
    "ResponseParser",
    "ToolLike",
]


class Model(AsyncCloseable):
    """The base class of every model that Locus ships.

    Each method that calls the model takes the same arguments: ``messages`` (a prompt, a message,
    or a conversation), ``tools`` (None uses the bound ones), and the keywords of
    :class:`~locus.core.call_options.CallOptions`. Each raises ``ValueError`` or ``TypeError``
    before anything is sent, and an :class:`~locus.core.errors.APIError` after.

    :cvar base_capabilities: what the models of this class can do; :attr:`capabilities` begins
        with it.
    """

    __slots__ = ()

    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities()

    @property
    def capabilities(self) -> ModelCapabilities:
        """What this model can do: structured output, tools, parts of messages, and so on."""
        return self.base_capabilities.adjust_to_properties(
            supports_structured_output=self.supports_structured_output,
            server_stateful=self.server_stateful,
        )

    @property
    def supports_structured_output(self) -> bool:
        """Whether the provider's API has an OpenAI-style ``response_format``."""
        return self.base_capabilities.structured_output == "always"

    @property
    def server_stateful(self) -> bool:
        """Whether the server stores the conversation, so that only new messages are sent."""
        return self.base_capabilities.server_state

    @abstractmethod
    def complete_sync(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> ModelResponse:
        """Return one complete response, blocking."""

    @abstractmethod
    def stream_sync(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> BlockingStream:
        """Return the events of one response, blocking.

        The stream is an iterator and a context manager.
        """

    @abstractmethod
    async def complete(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> ModelResponse:
        """Return one complete response, under asyncio or trio."""

    @abstractmethod
    def stream(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> AsyncStream:
        """Return the events of one response, under asyncio or trio.

        The stream is an async iterator and an async context manager.
        """

    @abstractmethod
    def bind_tools(self, tools: Sequence[ToolLike], **kwargs: Unpack[CallKeywords]) -> Self:
        """Return a copy with ``tools`` and call options as defaults for its calls."""

    @abstractmethod
    def close_sync(self) -> None:
        """Release the blocking connections. The model may be used again, and reconnects."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release all connections, blocking ones and those of the running loop."""

    async def close(self) -> None:
        """Do the same as :meth:`aclose`."""
        await self.aclose()

    def invoke(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> Message:
        """Return only the message of the response, blocking."""
        return self.complete_sync(messages, tools, **kwargs).message

    async def ainvoke(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> Message:
        """Return only the message of the response, under asyncio or trio."""
        return (await self.complete(messages, tools, **kwargs)).message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close_sync()
