"""Makes the errors for a response with a success status that is not what a response has to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from locus.core.errors import APIError, ResponseParseError
from locus.core.make_status_error import find_error_in_response, make_status_error
from locus.wire.provider_json import convert_body_to_text, make_parse_error


def make_incomplete_response_error(
    message: str,
    body: bytes | str | Mapping[str, Any],
    error_factory: Callable[..., APIError] = make_status_error,
) -> APIError:
    """Make the error for a body without a needed member.

    Servers and gateways report errors with a success status, in the forms of other providers, too:
    then it is the provider's error. Else the body does not follow the format.

    :param message: what is missing.
    :param error_factory: makes the provider's error: ``make_status_error``, or a function with the
        same parameters.
    """
    error_object = find_error_in_response(body)
    if error_object is not None:
        return error_factory(convert_body_to_text(body), error_object=error_object)
    return make_parse_error(message, body)


def make_nesting_error(body: bytes) -> ResponseParseError:
    """Make the error for JSON that is nested more deeply than Python can follow."""
    return ResponseParseError(
        "the response is nested too deeply to be read", body=convert_body_to_text(body)
    )
