"""``sdk_client=`` for Ollama: the package's own client sends, by its public method ``chat``.

That method takes keywords and gives typed answers, not bytes. So the body that Locus has built is
taken apart into keywords, and the answers are written as JSON again, a line each, as the server
has sent them: the driver reads a response like any other.

What the package's types have no room for does not get through: ids of tool calls, of a tool's
schema what is neither type, description, enum nor items, and members of ``extra_body`` that
``chat`` does not take (which is an error before anything is sent).
"""

from __future__ import annotations

import base64
import inspect
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, Final

import httpx
import msgspec

from locus.core.error_factory import silent, unreachable
from locus.core.errors import APIError, ConfigurationError, ResponseParseError
from locus.transport.custom_client import Brought
from locus.transport.http_call import Call

_END: Final = object()
_UNREAD: Final = (ValueError, AttributeError, TypeError)
"""What the client raises at an answer that is not what it takes for granted. A pydantic
``ValidationError`` and a ``JSONDecodeError`` are ValueErrors; the others come of JSON that is no
object."""


def brought(sdk_client: Any) -> Brought:
    """The senders for ``sdk_client=``.

    :raises TypeError: it is not a client of the package.
    """
    for kind in type(sdk_client).__mro__:
        if kind.__module__.partition(".")[0] == "ollama":
            if kind.__name__ == "AsyncClient":
                return Brought(nonblocking=AsyncOllamaSender(sdk_client))
            if kind.__name__ == "Client":
                return Brought(blocking=OllamaSender(sdk_client))
    raise TypeError(
        f"sdk_client= takes a client of the package ollama, not {type(sdk_client).__name__}"
    )


class _Sender:
    """What both kinds of sender share."""

    __slots__ = ("client",)

    errors: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.StreamError, ConnectionError)

    def __init__(self, client: Any) -> None:
        self.client = client

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for one of ``errors``."""
        if isinstance(error, httpx.TimeoutException):
            return silent(error, answer_begun=answer_begun)
        return unreachable(error)

    def arguments(self, call: Call) -> dict[str, Any]:
        """The keywords of ``chat``."""
        request = call.request
        if request.headers:
            names = ", ".join(sorted(request.headers))
            raise ConfigurationError(
                f"the ollama client takes no headers for a call ({names}): give them to the client"
            )
        if request.timeout is not None:
            raise ConfigurationError(
                "the ollama client takes no timeout for a call: give it to the client"
            )
        body: dict[str, Any] = msgspec.json.decode(request.content)
        known = inspect.signature(self.client.chat).parameters
        if "model" in known and (unknown := body.keys() - known.keys()):
            raise ConfigurationError(
                f"the ollama client's chat() does not take {', '.join(sorted(unknown))}: leave it "
                "out, update the package, or let Locus send"
            )
        for message in body.get("messages", ()):
            if "images" in message:  # of text the client tries whether it names a file
                message["images"] = [base64.b64decode(image) for image in message["images"]]
        return body

    def refusal(self, error: Exception, call: Call) -> Exception:
        """Locus's word for what ``chat`` raised before the answer began."""
        if isinstance(error, self.errors):
            return self.failure(error, answer_begun=False)
        if isinstance(error, _response_error()):
            status = error.status_code
            if status < 300:  # an error inside an answer that looked fine
                return _raised(call, _error_line(error))
            return call.refusal(status, {}, _error_line(error))
        if isinstance(error, json.JSONDecodeError):
            return ResponseParseError(f"the answer is no JSON: {error}", body=error.doc)
        if getattr(error, "title", "").endswith("Response"):  # a pydantic ValidationError
            return ResponseParseError(f"the answer cannot be read: {error}", body=str(error))
        if isinstance(error, (AttributeError, TypeError)):
            return ResponseParseError(f"the answer cannot be read: {error}", body="")
        return ConfigurationError(f"the ollama client refuses: {error}")


def _raised(call: Call, line: bytes) -> Exception:
    """The error that an answer stands for."""
    try:
        call.read(line)
    except APIError as error:
        return error
    return ResponseParseError("the answer cannot be read", body=line.decode())


def _response_error() -> type[Any]:
    error: type[Any] = sys.modules["ollama"].ResponseError
    return error


def _request_errors() -> tuple[type[Exception], ...]:
    return (*_Sender.errors, _response_error(), sys.modules["ollama"].RequestError, *_UNREAD)


def _error_line(error: Any) -> bytes:
    return msgspec.json.encode({"error": error.error})


def _line(answer: Any) -> bytes:
    """A typed answer as the server has sent it, as far as its type has room for it."""
    said: str = answer.model_dump_json(exclude_unset=True)
    return said.encode() + b"\n"


def _complaint(error: Exception) -> bytes:
    """What the client could not read, as a line for the decoder to complain of."""
    said = error.doc if isinstance(error, json.JSONDecodeError) else str(error)
    return " ".join(said.split()).encode(errors="replace") + b"\n"


class OllamaSender(_Sender):
    """Sends through an ``ollama.Client``."""

    __slots__ = ()

    def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, as a response whose body is read like any other's."""
        arguments = self.arguments(call)
        try:
            answer = self.client.chat(**arguments)
            if not stream:
                return httpx.Response(200, content=_line(answer))
            first = next(answer, _END)  # here the request is sent
        except _request_errors() as error:
            raise self.refusal(error, call) from error
        return httpx.Response(200, stream=_Lines(first, answer))


class _Lines(httpx.SyncByteStream):
    def __init__(self, first: Any, answers: Generator[Any, None, None]) -> None:
        self._first = first
        self._answers = answers

    def __iter__(self) -> Iterator[bytes]:
        answer = self._first
        try:
            while answer is not _END:
                yield _line(answer)
                answer = next(self._answers, _END)
        except _response_error() as error:
            yield _error_line(error) + b"\n"
        except _UNREAD as error:
            yield _complaint(error)

    def close(self) -> None:
        self._answers.close()


class AsyncOllamaSender(_Sender):
    """Sends through an ``ollama.AsyncClient``."""

    __slots__ = ()

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, as a response whose body is read like any other's."""
        arguments = self.arguments(call)
        try:
            answer = await self.client.chat(**arguments)
            if not stream:
                return httpx.Response(200, content=_line(answer))
            first = await anext(answer, _END)  # here the request is sent
        except _request_errors() as error:
            raise self.refusal(error, call) from error
        return httpx.Response(200, stream=_AsyncLines(first, answer))


class _AsyncLines(httpx.AsyncByteStream):
    def __init__(self, first: Any, answers: AsyncGenerator[Any, None]) -> None:
        self._first = first
        self._answers = answers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        answer = self._first
        try:
            while answer is not _END:
                yield _line(answer)
                answer = await anext(self._answers, _END)
        except _response_error() as error:
            yield _error_line(error) + b"\n"
        except _UNREAD as error:
            yield _complaint(error)

    async def aclose(self) -> None:
        await self._answers.aclose()
