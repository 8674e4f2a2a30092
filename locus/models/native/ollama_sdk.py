"""Senders for the caller's own client of the package ``ollama`` (``sdk_client=``).

They send by the client's public method ``chat``. It takes keyword arguments and returns typed
objects, not bytes. So the body that Locus has built is split into keyword arguments, and each
returned object is encoded as a line of JSON again, as the server has sent it. The driver then reads
an ordinary HTTP response.

Data without a place in the package's types is lost: the ids of tool calls; of a tool's schema,
everything but type, description, enum and items. Members of ``extra_body`` that ``chat`` does not
accept raise an error before anything is sent.
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

from locus.core.errors import APIError, ConfigurationError, ResponseParseError
from locus.core.make_connection_error import make_connection_error, make_timeout_error
from locus.transport.custom_client import CustomClient
from locus.transport.deadline import Deadline
from locus.transport.httpx_senders import AsyncHttpxResponse, BlockingHttpxResponse
from locus.transport.prepared_http_call import HttpCall

_END_OF_STREAM: Final = object()
_PARSE_ERRORS: Final = (ValueError, AttributeError, TypeError)
"""The exceptions that the client raises for a response that it cannot parse. A pydantic
``ValidationError`` and a ``JSONDecodeError`` are ValueErrors; it raises the other two for JSON that
is not an object."""


def wrap_sdk_client(sdk_client: Any) -> CustomClient:
    """Make the sender for ``sdk_client=``.

    :raises TypeError: if it is not a client of the package ``ollama``.
    """
    for cls in type(sdk_client).__mro__:
        if cls.__module__.partition(".")[0] == "ollama":
            if cls.__name__ == "AsyncClient":
                return CustomClient(async_sender=AsyncOllamaSender(sdk_client))
            if cls.__name__ == "Client":
                return CustomClient(blocking_sender=BlockingOllamaSender(sdk_client))
    raise TypeError(
        f"sdk_client= takes a client of the package ollama, not {type(sdk_client).__name__}"
    )


class _OllamaSenderBase:
    """The base of the blocking and the async sender."""

    __slots__ = ("client",)

    transport_errors: tuple[type[Exception], ...] = (
        httpx.HTTPError,
        httpx.StreamError,
        ConnectionError,
    )

    def __init__(self, client: Any) -> None:
        self.client = client

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for one of ``transport_errors``."""
        if isinstance(exc, httpx.TimeoutException):
            return make_timeout_error(exc, response_started=response_started)
        return make_connection_error(exc)

    def build_chat_arguments(self, http_call: HttpCall) -> dict[str, Any]:
        """Build the keyword arguments of ``chat``.

        :raises ConfigurationError: if the call has something that ``chat`` does not accept.
        """
        request = http_call.request
        if request.headers:
            names = ", ".join(sorted(request.headers))
            raise ConfigurationError(
                f"the ollama client accepts no headers for a call ({names}): set them on the client"
            )
        if request.timeout is not None:
            raise ConfigurationError(
                "the ollama client accepts no timeout for a call: set it on the client"
            )
        body: dict[str, Any] = msgspec.json.decode(request.content)
        parameters = inspect.signature(self.client.chat).parameters
        if "model" in parameters and (unknown_names := body.keys() - parameters.keys()):
            raise ConfigurationError(
                f"the ollama client's chat() does not take {', '.join(sorted(unknown_names))}: "
                "leave it out, update the package, or use the model without sdk_client="
            )
        for message in body.get("messages", ()):
            if "images" in message:  # the client would test whether a text names a file
                message["images"] = [base64.b64decode(image) for image in message["images"]]
        return body

    def convert_sdk_error(self, exc: Exception, http_call: HttpCall) -> Exception:
        """Make Locus's error for an exception that ``chat`` raised before the first object."""
        if isinstance(exc, self.transport_errors):
            return self.make_api_error(exc, response_started=False)
        if isinstance(exc, _get_response_error_class()):
            status = exc.status_code
            if status < 300:  # an error in the body of a response with a success status
                return _make_error_from_line(http_call, _encode_error_line(exc))
            return http_call.make_status_error(status, {}, _encode_error_line(exc))
        if isinstance(exc, json.JSONDecodeError):
            return ResponseParseError(f"the response is not JSON: {exc}", body=exc.doc)
        if getattr(exc, "title", "").endswith("Response"):  # a pydantic ValidationError
            return ResponseParseError(f"the response cannot be parsed: {exc}", body=str(exc))
        if isinstance(exc, (AttributeError, TypeError)):
            return ResponseParseError(f"the response cannot be parsed: {exc}", body="")
        return ConfigurationError(f"the ollama client rejects the call: {exc}")


def _make_error_from_line(http_call: HttpCall, line: bytes) -> Exception:
    """Make the error that the parser raises for a line that holds an error."""
    try:
        http_call.parse_body(line)
    except APIError as exc:
        return exc
    return ResponseParseError("the response cannot be parsed", body=line.decode())


def _get_response_error_class() -> type[Any]:
    """Return the class ``ollama.ResponseError``."""
    error_class: type[Any] = sys.modules["ollama"].ResponseError
    return error_class


def _get_request_error_classes() -> tuple[type[Exception], ...]:
    """Return the classes of all exceptions that ``chat`` may raise."""
    return (
        *_OllamaSenderBase.transport_errors,
        _get_response_error_class(),
        sys.modules["ollama"].RequestError,
        *_PARSE_ERRORS,
    )


def _encode_error_line(exc: Any) -> bytes:
    """Encode an error of the package as the line of JSON that the server sent."""
    return msgspec.json.encode({"error": exc.error})


def _encode_response_line(typed_response: Any) -> bytes:
    """Encode a typed response as a line of JSON, with only the members that the server sent."""
    text: str = typed_response.model_dump_json(exclude_unset=True)
    return text.encode() + b"\n"


def _encode_unreadable_line(exc: Exception) -> bytes:
    """Encode what the client could not parse as a line, which makes the decoder raise an error."""
    text = exc.doc if isinstance(exc, json.JSONDecodeError) else str(exc)
    return " ".join(text.split()).encode(errors="replace") + b"\n"


class BlockingOllamaSender(_OllamaSenderBase):
    """Sends through an ``ollama.Client``."""

    __slots__ = ()

    def send(
        self, http_call: HttpCall, *, stream: bool, deadline: Deadline | None = None
    ) -> BlockingHttpxResponse:
        """Send the request, and return an HTTP response with the lines that the client returns."""
        arguments = self.build_chat_arguments(http_call)
        try:
            result = self.client.chat(**arguments)
            if not stream:
                response = httpx.Response(200, content=_encode_response_line(result))
                return BlockingHttpxResponse(response, self, deadline)
            first = next(result, _END_OF_STREAM)  # this sends the request
        except _get_request_error_classes() as exc:
            raise self.convert_sdk_error(exc, http_call) from exc
        response = httpx.Response(200, stream=_BlockingLineStream(first, result))
        return BlockingHttpxResponse(response, self, deadline)


class _BlockingLineStream(httpx.SyncByteStream):
    """The body of a streamed response: a line for each object that the client yields."""

    def __init__(self, first: Any, rest: Generator[Any, None, None]) -> None:
        self._first = first
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        typed_response = self._first
        try:
            while typed_response is not _END_OF_STREAM:
                yield _encode_response_line(typed_response)
                typed_response = next(self._rest, _END_OF_STREAM)
        except _get_response_error_class() as exc:
            yield _encode_error_line(exc) + b"\n"
        except _PARSE_ERRORS as exc:
            yield _encode_unreadable_line(exc)

    def close(self) -> None:
        self._rest.close()


class AsyncOllamaSender(_OllamaSenderBase):
    """Sends through an ``ollama.AsyncClient``."""

    __slots__ = ()

    async def send(self, http_call: HttpCall, *, stream: bool) -> AsyncHttpxResponse:
        """Send the request, and return an HTTP response with the lines that the client returns."""
        arguments = self.build_chat_arguments(http_call)
        try:
            result = await self.client.chat(**arguments)
            if not stream:
                response = httpx.Response(200, content=_encode_response_line(result))
                return AsyncHttpxResponse.hold(response, self)
            first = await anext(result, _END_OF_STREAM)  # this sends the request
        except _get_request_error_classes() as exc:
            raise self.convert_sdk_error(exc, http_call) from exc
        response = httpx.Response(200, stream=_AsyncLineStream(first, result))
        return AsyncHttpxResponse.hold(response, self)


class _AsyncLineStream(httpx.AsyncByteStream):
    """The body of a streamed response: a line for each object that the client yields."""

    def __init__(self, first: Any, rest: AsyncGenerator[Any, None]) -> None:
        self._first = first
        self._rest = rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        typed_response = self._first
        try:
            while typed_response is not _END_OF_STREAM:
                yield _encode_response_line(typed_response)
                typed_response = await anext(self._rest, _END_OF_STREAM)
        except _get_response_error_class() as exc:
            yield _encode_error_line(exc) + b"\n"
        except _PARSE_ERRORS as exc:
            yield _encode_unreadable_line(exc)

    async def aclose(self) -> None:
        await self._rest.aclose()
