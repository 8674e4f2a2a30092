"""Oracle's words for errors, in every API of its Generative AI service."""

from __future__ import annotations

from typing import Final

from locus.core.error_words import ErrorWords

ORACLE_ERROR_WORDS: Final = ErrorWords(
    statuses={
        "CannotParseRequest": 400,
        "InvalidParameter": 400,
        "LimitExceeded": 400,
        "MissingParameter": 400,
        "NotAuthenticated": 401,
        "NotAuthorizedOrNotFound": 404,
        "IncorrectState": 409,
        "TooManyRequests": 429,
        "InternalServerError": 500,
        "ServiceUnavailable": 503,
    },
    content_filter_phrases={"inappropriate content detected"},
)
"""The codes that Oracle documents under "API Errors", and what the service's moderation says."""
