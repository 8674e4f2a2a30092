"""``HttpCall``: a model call as a value, with the functions that parse its response."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from locus.core.decoder_protocol import Decoder
from locus.core.error_context import ErrorContext
from locus.core.errors import DEFAULT_MAX_ANSWER_BYTES, APIError, APIStatusError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport.http_request import HttpRequest
from locus.transport.signer import Signer

_STREAM_BEGINNING: Final = re.compile(
    rb"\xef?\xbb?\xbf?\s*(?:(?:data|event|id|retry)?:|\{[^\n]*\}\r?\n\s*\{)"
)
"""The beginning of server-sent events, or of two lines of JSON."""


@attrs.frozen
class HttpCall:
    """An HTTP request, and how to read its response.

    :param error_context: adds the provider, the model and a hint to error messages.
    :param parse_body: parses the body of a response that is not streamed.
    :param make_decoder: makes the decoder of a streamed response.
    :param error_factory: makes the error for a status of 300 or more, from body, status, headers.
    :param max_retries: how many further attempts are made after an error that may be temporary.
    :param make_fallback_call: makes the call to try after a status error, or returns None. None
        if there never is one.
    :param signer: signs the request just before it is sent, or None.
    :param empty_response_delays: how many seconds to wait before the request is sent again, after
        a response with neither text nor tool calls: one number for each repetition.
    :param max_answer_bytes: how large the body of a response may be, without its content coding.
        That of a stream is not limited: its decoder limits each event.
    :param deadline: how many seconds the whole call may take, from its first request to the end of
        its response, with all attempts and the pauses between them; None is no limit.
    """

    request: HttpRequest
    error_context: ErrorContext
    parse_body: Callable[[bytes], ModelResponse]
    make_decoder: Callable[[], Decoder]
    error_factory: Callable[[str, int, Mapping[str, str]], APIStatusError]
    max_retries: int = 2
    make_fallback_call: Callable[[APIStatusError], HttpCall | None] | None = None
    signer: Signer | None = None
    empty_response_delays: tuple[float, ...] = ()
    deadline: float | None = None
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES

    def limit_timeout(self, seconds: float) -> HttpCall:
        """Return a copy whose request waits no longer than so many seconds for the server."""
        timeout = self.request.timeout
        limited = seconds if timeout is None else min(timeout, seconds)
        return attrs.evolve(self, request=attrs.evolve(self.request, timeout=limited))

    def build_request_to_send(self) -> HttpRequest:
        """Return the request to send: a signed copy if there is a signer, else ``request``."""
        return self.request if self.signer is None else self.signer.make_signed_copy(self.request)

    def make_status_error(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> APIStatusError:
        """Make the error for a response with a status of 300 or more."""
        return self.error_factory(body.decode(errors="replace"), status, headers)

    def parse_response(self, body: bytes, headers: Mapping[str, str]) -> ModelResponse:
        """Parse the body of a response that is not streamed, and add the headers to the result.

        :raises APIError: if the body is not a response; the error has the headers, too.
        """
        try:
            return self._parse_body_or_stream(body).with_headers(headers)
        except APIError as exc:
            exc.add_response_headers(headers)
            raise

    def _parse_body_or_stream(self, body: bytes) -> ModelResponse:
        """Parse a body; it may be a stream that nobody asked for, from a gateway that always does.

        What a body is, its first bytes decide: not every gateway sends the right content type.
        """
        if not _STREAM_BEGINNING.match(body):
            return self.parse_body(body)
        decoder = self.make_decoder()
        events = [*decoder.feed(body), *decoder.close()]
        if decoder.failure is not None:
            raise decoder.failure
        response = events[-1].response if events else None
        return self.parse_body(body) if response is None else response

    def find_fallback_call(self, error: APIError) -> HttpCall | None:
        """Return the call to try after this error in place of this one, or None."""
        if self.make_fallback_call is None or not isinstance(error, APIStatusError):
            return None
        return self.make_fallback_call(error)


def is_empty_response(response: ModelResponse) -> bool:
    """Return whether a response has no text, no tool calls, and no other output of the model."""
    if response.content or response.tool_calls or response.refusal:
        return False
    messages = (response.message, *(candidate.message for candidate in response.candidates))
    return not any(
        message.text or message.tool_calls or message.metadata.get("attachments")
        for message in messages
    )


def starts_with_empty_response(first_events: list[ModelChunkEvent]) -> bool:
    """Return whether the first event ends the stream, with neither text nor tool calls."""
    response = first_events[0].response if first_events else None
    return response is not None and is_empty_response(response)


def add_headers_to_final_event(events: list[ModelChunkEvent], headers: Mapping[str, str]) -> None:
    """Add the headers of the HTTP response to the response in the last event of a stream."""
    response = events[-1].response if events else None
    if response is not None:
        events[-1] = attrs.evolve(events[-1], response=response.with_headers(headers))
