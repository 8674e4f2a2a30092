"""What only OCI's responses API refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from locus.core.errors import APIStatusError
from locus.core.failures import refused


class OCIProjectRequiredError(APIStatusError):
    """The service wants a project for this conversation, or not this one (403 or 404)."""


class OCIResponsesStateLostError(APIStatusError):
    """The service does not have the conversation that ``provider_state`` stands for (any more).

    What is in the caller's own messages is not lost: send them without ``provider_state``.
    """


_PROJECT: Final = re.compile(r"\bproject|opc-project-id|generativeaiproject", re.I)
_PREVIOUS: Final = re.compile(r"previous[_ ]?response|resp_\w+.{0,80}?(not found|expired)", re.I)


def responses_refused(body: str, status: int, headers: Mapping[str, str]) -> APIStatusError:
    """The error for a refusal of the responses API."""
    error = refused(body, status, headers)
    kind: type[APIStatusError] | None = None
    if status in (400, 404, 409, 410, 422) and _PREVIOUS.search(body):
        kind = OCIResponsesStateLostError
    elif status in (403, 404) and _PROJECT.search(body):
        kind = OCIProjectRequiredError
    if kind is None:
        return error
    return kind(str(error), status_code=error.status_code, body=body, headers=headers)
