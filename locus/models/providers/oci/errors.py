"""What only OCI's responses API refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from locus.core.error_factory import SHOWN, make_status_error
from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    error_class,
)
from locus.core.frozendict import EMPTY


class OCIProjectRequiredError(APIStatusError):
    """The service wants a project for this conversation, or not this one (403 or 404)."""


class OCIResponsesStateLostError(APIStatusError):
    """The service does not have the conversation that ``provider_state`` stands for (any more).

    What is in the caller's own messages is not lost: send them without ``provider_state``.
    """


# There is no list of the service's messages: these are its words for the two things, in any order
# that keeps "the window of the model is smaller than the previous response" out.
_PROJECT: Final = re.compile(
    r"opc-project|generativeaiproject|project[ _-]?(id|ocid)\b"
    r"|(?<![-\w])projects?\b(?!-)[^.]{0,60}"
    r"\b(required|missing|must|needed|not (found|exist)|does not|invalid)"
    r"|\b(required?s?|missing|needs?|specify|provide|no such|unknown|invalid)\b[^.]{0,40}"
    r"(?<![-\w])project\b(?!-)",
    re.I,
)
_LOST_CODE: Final = "previous_response_not_found"
_ANSWER: Final = re.compile(r"previous[_ ]?response|\bresp_\w+|\bresponse with id\b", re.I)
_GONE: Final = re.compile(
    r"not (be )?found|(does not|doesn.t|no longer) exist|expired|deleted|no such|unknown response"
    r"|not available",
    re.I,
)
_OTHER_THINGS: Final = re.compile(r"tool (output|call)|function call|unknown parameter", re.I)


def responses_refused(
    body: str, status: int = 200, headers: Mapping[str, str] = EMPTY, error: Any = None
) -> APIStatusError:
    """The error for a refusal of the responses API, or for an error inside an answer of it.

    Its message shows the body as it came, codes and parameters included.
    """
    found = make_status_error(body, status, headers, error)
    shown = body.strip()[:SHOWN] + ("…" if len(body.strip()) > SHOWN else "")
    where = "an error inside its answer" if status < 300 else str(status)
    kind: type[APIStatusError] = type(found)
    gone = _LOST_CODE in body or (
        bool(_ANSWER.search(body) and _GONE.search(body)) and not _OTHER_THINGS.search(body)
    )
    # A more particular class, such as that of a context window that was exceeded, stands. So does
    # the class of an answer that is not there *yet* (409), of servers that are busy, and so on.
    plain = kind in (BadRequestError, NotFoundError, error_class(410), error_class(422))
    if gone and (plain or kind is error_class(200)):
        kind = OCIResponsesStateLostError
    elif kind in (PermissionDeniedError, NotFoundError) and _PROJECT.search(body):
        kind = OCIProjectRequiredError
    return kind(
        f"{where}: {shown or 'no explanation'}",
        status_code=found.status_code,
        body=body,
        headers=headers,
    )
