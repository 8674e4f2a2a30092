"""The errors that only OCI's responses API has, and how they are recognized."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    get_status_error_class,
)
from locus.core.frozendict import EMPTY
from locus.core.make_status_error import MAX_SHOWN_CHARACTERS, make_status_error
from locus.wire.oci_chat.error_words import ORACLE_ERROR_WORDS


class OCIProjectRequiredError(APIStatusError):
    """The service needs a project for this conversation, or another one (400, 403 or 404)."""


class OCIResponsesStateLostError(APIStatusError):
    """The service does not have, or no longer has, the conversation that ``provider_state`` names.

    The caller's own messages are not lost: send them without ``provider_state``.
    """


# Oracle does not list the service's messages. These patterns match its words for the two errors in
# any order, but not "the window of the model is smaller than the previous response".
_PROJECT_PATTERN: Final = re.compile(
    r"opc-project|OpenAI-Project|generativeaiproject|project[ _-]?(id|ocid)\b"
    r"|(?<![-\w])projects?\b(?!-)[^.]{0,60}"
    r"\b(required|missing|must|needed|not (found|exist)|does not|invalid)"
    r"|\b(required?s?|missing|needs?|specify|provide|no such|unknown|invalid)\b[^.]{0,40}"
    r"(?<![-\w])project\b(?!-)",
    re.I,
)
_PROJECT_HEADER_PATTERN: Final = re.compile(
    r"(openai|opc)-project[^.]{0,60}\b(required|missing|must|needed|provided?)\b", re.I
)
"""Matches "OpenAI-Project or opc-compartment-id must be provided", which comes with a 400."""
_STATE_LOST_CODE: Final = "previous_response_not_found"
_RESPONSE_PATTERN: Final = re.compile(
    r"previous[_ ]?response|\bresp_\w+|\bresponse with id\b", re.I
)
_MISSING_PATTERN: Final = re.compile(
    r"not (be )?found|(does not|doesn.t|no longer) exist|expired|deleted|no such|unknown response"
    r"|not available",
    re.I,
)
_OTHER_SUBJECT_PATTERN: Final = re.compile(
    r"tool (output|call)|function call|unknown parameter", re.I
)


def make_responses_error(
    body: str, status_code: int = 200, headers: Mapping[str, str] = EMPTY, error_object: Any = None
) -> APIStatusError:
    """Make the error for an error status of the responses API, or for an error in a response body.

    Its message shows the body unchanged, codes and parameters included.
    """
    status_error = make_status_error(
        body, status_code, headers, error_object, error_words=ORACLE_ERROR_WORDS
    )
    text = body.strip()
    shown = text[:MAX_SHOWN_CHARACTERS] + ("…" if len(text) > MAX_SHOWN_CHARACTERS else "")
    source = "an error inside its answer" if status_code < 300 else str(status_code)
    error_class: type[APIStatusError] = type(status_error)
    is_state_lost = _STATE_LOST_CODE in body or (
        bool(_RESPONSE_PATTERN.search(body) and _MISSING_PATTERN.search(body))
        and not _OTHER_SUBJECT_PATTERN.search(body)
    )
    # More specific classes stay, such as that of a context window that was exceeded. So do classes
    # that mean something else: a response that does not exist *yet* (409), a busy server, …
    has_general_class = error_class in (
        BadRequestError,
        NotFoundError,
        get_status_error_class(410),
        get_status_error_class(422),
    )
    if is_state_lost and (has_general_class or error_class is get_status_error_class(200)):
        error_class = OCIResponsesStateLostError
    elif (
        error_class in (PermissionDeniedError, NotFoundError) and _PROJECT_PATTERN.search(body)
    ) or (error_class is BadRequestError and _PROJECT_HEADER_PATTERN.search(body)):
        error_class = OCIProjectRequiredError
    return error_class(
        f"{source}: {shown or 'no explanation'}",
        status_code=status_error.status_code,
        body=body,
        headers=headers,
        codes=status_error.codes,
        explanation=status_error.explanation,
    )
