"""What a user does with a model, whatever is behind it: one method a way of calling.

A model implements six of them; the others follow from those here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from locus.core.closeable import AsyncCloseable
from locus.core.conversation import Messages
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.core.tool_schemas import Tool
from locus.transport.async_driver import AsyncStream
from locus.transport.blocking_driver import BlockingStream


class Model(AsyncCloseable):
    """The base of every model that Locus ships.

    Each way of calling takes the same arguments: ``messages`` (a prompt, a message, or a
    conversation), ``tools`` (None uses the bound ones), and the keywords of
    :class:`~locus.core.call_options.CallOptions`. Each raises ``ValueError`` or ``TypeError``
    before anything is sent, and an :class:`~locus.core.errors.APIError` after.
    """

    __slots__ = ()

    @property
    def supports_structured_output(self) -> bool:
        """Whether the provider has an OpenAI-style ``response_format`` of its own."""
        return False

    @property
    def server_stateful(self) -> bool:
        """Whether the server keeps the conversation, and wants new messages only."""
        return False

    @abstractmethod
    def complete_sync(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One whole answer, blocking."""

    @abstractmethod
    def stream_sync(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> BlockingStream:
        """One answer as it arrives, blocking: an iterator and a context manager."""

    @abstractmethod
    async def complete(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One whole answer, under asyncio or trio."""

    @abstractmethod
    def stream(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> AsyncStream:
        """One answer as it arrives, under asyncio or trio: iterator and context manager."""

    @abstractmethod
    def bind_tools(self, tools: Sequence[Tool], **kwargs: Any) -> Self:
        """A copy that uses ``tools`` and the keywords where a call does not say otherwise."""

    @abstractmethod
    def close_sync(self) -> None:
        """Release the blocking connections. The model may be used again, and reconnects."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release all connections, blocking ones and those of the running loop."""

    async def close(self) -> None:
        """The same as :meth:`aclose`."""
        await self.aclose()

    def invoke(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> Message:
        """The answer's message alone, blocking."""
        return self.complete_sync(messages, tools, **kwargs).message

    async def ainvoke(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> Message:
        """The answer's message alone, under asyncio or trio."""
        return (await self.complete(messages, tools, **kwargs)).message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close_sync()
