"""Base classes for context managers that close themselves at the end of their ``with`` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closeable(ABC):
    """A context manager that calls its own ``close()`` on exit."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Release files, connections and other resources. Calling it twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncCloseable(ABC):
    """An async context manager that calls its own ``aclose()`` on exit."""

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Release files, connections and other resources. Calling it twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
