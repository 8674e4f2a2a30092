"""Makes the error for an HTTP error status, or for an error object inside a response.

:mod:`locus.core.error_body` reads the error bodies of all providers. What the codes and phrases in
them mean is in :mod:`locus.core.error_words`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from locus.core.error_body import ErrorBody, to_loggable_text
from locus.core.error_words import COMMON_ERROR_WORDS, ErrorWords
from locus.core.errors import APIStatusError, get_status_error_class
from locus.core.frozendict import EMPTY

MAX_SHOWN_CHARACTERS: Final = 300
"""How many characters of a provider's response an error message shows."""

_STATUS_IN_WORDS: Final = re.compile(r"\bError code: ([45]\d\d)\b")


def make_status_error(
    body: str,
    status_code: int = 200,
    headers: Mapping[str, str] = EMPTY,
    error_object: Any = None,
    error_words: ErrorWords = COMMON_ERROR_WORDS,
) -> APIStatusError:
    """Make the error for a response that reports one.

    :param body: the response's text.
    :param status_code: its HTTP status. Below 300 the error is inside a response that looked
        successful; the status that it stands for is then taken from its error codes, where they
        are known.
    :param error_object: the error object, where the caller has decoded the body already.
    :param error_words: the provider's own words for errors, beside the common ones. A model's
        ``error_words`` apply to all of its errors without being passed here.
    """
    if error_object is None:
        try:
            error_object = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            error_object = body
    error_body = ErrorBody.parse(error_object)
    in_success_response = status_code < 300
    if in_success_response:
        known_status = COMMON_ERROR_WORDS.find_status(error_body.codes)
        status_code = (
            error_body.status_code
            or known_status
            or _find_status_in_words(error_body.message)
            or status_code
        )
    message = error_body.message
    if not message and error_object and status_code not in range(300, 400):
        message = to_loggable_text(error_object)
    location = _find_location(headers) if 300 <= status_code < 400 else None
    if location:
        message = f"moved to {location}" + (f": {message}" if message else "")
    shown = message[:MAX_SHOWN_CHARACTERS] + ("…" if len(message) > MAX_SHOWN_CHARACTERS else "")
    source = "an error inside its answer" if in_success_response else str(status_code)
    cls = COMMON_ERROR_WORDS.find_special_class(
        error_body.codes, error_body.message, status_code
    ) or get_status_error_class(status_code)
    error = cls(
        f"{source}: {shown or 'no explanation'}",
        status_code=status_code,
        body=body,
        headers=headers,
        code=next(iter(error_body.codes), None),
        codes=error_body.codes,
        explanation=message,
    )
    error.body_request_id = error_body.request_id
    error_words.reclassify(error)
    return error


def _find_status_in_words(message: str) -> int | None:
    """Return the status of an error that a gateway passes on as the words of a client library.

    Those of OpenAI and Anthropic begin with ``Error code: 400 -``.
    """
    match = _STATUS_IN_WORDS.search(message)
    return int(match[1]) if match else None


def _find_location(headers: Mapping[str, str]) -> str | None:
    """Return the address that a redirect names (RFC 9110, 10.2.2), without query and fragment."""
    location = next((headers[name] for name in headers if name.lower() == "location"), None)
    return location and location.partition("?")[0].partition("#")[0]


def find_error_in_response(body: Any, *, needs_certainty: bool = False) -> Any:
    """Return the error object in the body of a response with a success status; None without one.

    :param body: the body, as JSON text or decoded.
    :param needs_certainty: whether a body that only has a message, or the like, counts as none.
    """
    if isinstance(body, (bytes, str)):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            try:
                body = json.loads(body)
            except (ValueError, RecursionError):
                return None
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if not isinstance(body, Mapping):
        return None
    error_body = ErrorBody.parse(body)
    if error_body.is_empty or (needs_certainty and not error_body.is_certain):
        return None
    return body if error_body.is_certain or error_body.message else None
