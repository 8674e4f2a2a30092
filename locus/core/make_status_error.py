"""Makes the error for an HTTP error status, or for an error object inside a response.

One parser reads the error bodies of all providers: OpenAI's
``{"error": {"message", "type", "code"}}``, Anthropic's ``{"type": "error", "error": {…}}``,
Ollama's ``{"error": "text"}``, OCI's and FastAPI's ``{"code", "message"}`` and ``{"detail"}``.
What the codes and phrases in them mean is in :mod:`locus.core.error_words`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.core.error_words import COMMON_ERROR_WORDS, ErrorWords
from locus.core.errors import APIStatusError, get_status_error_class
from locus.core.frozendict import EMPTY

MAX_SHOWN_CHARACTERS: Final = 300
"""How many characters of a provider's response an error message shows."""


@attrs.frozen
class _ErrorBody:
    """The content of a provider's error body.

    :param codes: the provider's names for the error, the most exact one first.
    :param status_code: the HTTP status that the body itself names.
    :param request_id: the id of the request that the body names.
    """

    message: str
    codes: tuple[str, ...] = ()
    status_code: int | None = None
    request_id: str | None = None

    @classmethod
    def parse(cls, body: Any) -> _ErrorBody:
        """Read an error body that was decoded from JSON, or is text."""
        if isinstance(body, list) and len(body) == 1:  # Google's compatible endpoint
            body = body[0]
        if not isinstance(body, Mapping):
            return cls("" if body is None else _to_loggable_text(body))
        error = body.get("error") or body
        if not isinstance(error, Mapping):
            return cls(_to_loggable_text(error))
        message = error.get("message") or error.get("detail")
        codes: list[str] = []
        status_code = None
        for key in ("code", "status", "type"):
            value = error.get(key)
            if isinstance(value, str) and not (len(value) == 3 and value.isdecimal()):
                if value:
                    codes.append(_to_loggable_text(value))
            elif isinstance(value, (int, str)) and 400 <= int(value) < 600:
                status_code = int(value)
        request_id = body.get("request_id")
        return cls(
            _to_loggable_text(message or error),
            tuple(codes),
            status_code,
            request_id if isinstance(request_id, str) else None,
        )


def _to_loggable_text(value: Any) -> str:
    """Convert a JSON value to text that every encoding can represent."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode(errors="replace").decode()  # half a surrogate pair could not be logged


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
    error_body = _ErrorBody.parse(error_object)
    in_success_response = status_code < 300
    if in_success_response:
        known_status = COMMON_ERROR_WORDS.find_status(error_body.codes)
        status_code = error_body.status_code or known_status or status_code
    message = error_body.message.strip()
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
