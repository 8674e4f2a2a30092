"""``ErrorWords``: the words by which a provider's error bodies name the errors.

The words that many providers share are here, as :data:`COMMON_ERROR_WORDS`. The words of one
provider are in the package of its wire format or of its models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from locus.core.errors import (
    APIStatusError,
    ContentFilterError,
    ContextWindowExceededError,
    get_status_error_class,
)
from locus.core.frozendict import EMPTY, FrozenDict

_PHRASE_STATUSES: Final = (400, 413, 422)
"""The statuses of requests that a provider does not accept. Only there do phrases mean anything."""


def _to_lowercase_statuses(statuses: Mapping[str, int]) -> Mapping[str, int]:
    return FrozenDict({code.lower(): status for code, status in statuses.items()})


def _to_lowercase_set(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.lower() for word in words)


@attrs.frozen
class ErrorWords:
    """What a provider calls its errors. Upper and lower case are the same.

    A code is the value of ``code``, ``type`` or ``status`` of an error object; a phrase is a part
    of its message.

    :param statuses: the HTTP status that a code stands for, where the error is inside of a
        successful response or a stream.
    :param context_window_codes: the codes for a conversation that is too long.
    :param context_window_phrases: the phrases for it, in the errors 400, 413 and 422.
    :param content_filter_codes: the codes for a request that a content filter blocked.
    :param content_filter_phrases: the phrases for it, in the errors 400, 413 and 422.
    """

    statuses: Mapping[str, int] = attrs.field(default=EMPTY, converter=_to_lowercase_statuses)
    context_window_codes: frozenset[str] = attrs.field(
        default=frozenset(), converter=_to_lowercase_set
    )
    context_window_phrases: frozenset[str] = attrs.field(
        default=frozenset(), converter=_to_lowercase_set
    )
    content_filter_codes: frozenset[str] = attrs.field(
        default=frozenset(), converter=_to_lowercase_set
    )
    content_filter_phrases: frozenset[str] = attrs.field(
        default=frozenset(), converter=_to_lowercase_set
    )

    def find_status(self, codes: Iterable[str]) -> int | None:
        """Return the HTTP status that the codes stand for; the highest one if they disagree."""
        known = (self.statuses.get(code.lower()) for code in codes)
        return max((status for status in known if status is not None), default=None)

    def find_special_class(
        self, codes: Iterable[str], message: str, status_code: int
    ) -> type[APIStatusError] | None:
        """Return the class of an error that no status has of its own, or None."""
        lowered_codes = _to_lowercase_set(codes)
        lowered_message = message.lower() if status_code in _PHRASE_STATUSES else ""
        for cls, known_codes, phrases in (
            (
                ContextWindowExceededError,
                self.context_window_codes,
                self.context_window_phrases,
            ),
            (ContentFilterError, self.content_filter_codes, self.content_filter_phrases),
        ):
            if lowered_codes & known_codes or any(p in lowered_message for p in phrases):
                return cls
        return None

    def reclassify(self, error: APIStatusError) -> None:
        """Change the class and the status of an error to those that these words stand for.

        A status that the common words, or the response itself, gave to the error stays, and so does
        a class that means more than its status.
        """
        status_code = error.status_code
        if type(error) is not get_status_error_class(status_code):
            return
        cls: type[APIStatusError] | None = None
        if status_code < 300:
            status_code = self.find_status(error.codes) or status_code
            if status_code != error.status_code:
                cls = get_status_error_class(status_code)
        cls = self.find_special_class(error.codes, error.explanation, status_code) or cls
        if cls is not None:
            error.status_code = status_code
            error.__class__ = (
                cls  # the error may have been raised already: it stays the same object
            )


COMMON_ERROR_WORDS: Final = ErrorWords(
    # OpenAI's ("Error codes"), Anthropic's ("Errors") and llama.cpp's (`server_error` types). Many
    # servers have taken them over, and gateways pass them on in the formats of others.
    statuses={
        "invalid_request_error": 400,
        "authentication_error": 401,
        "invalid_api_key": 401,
        "permission_error": 403,
        "permission_denied": 403,
        "not_found_error": 404,
        "model_not_found": 404,
        "previous_response_not_found": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "rate_limit_exceeded": 429,
        "insufficient_quota": 429,
        "too_many_requests": 429,
        "api_error": 500,
        "server_error": 500,
        "internal_server_error": 500,
        "internal_error": 500,
        "unavailable_error": 503,
        "timeout_error": 504,
        "overloaded_error": 529,
    },
    context_window_codes={
        "context_length_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
    },
    context_window_phrases={
        "maximum context length",
        "context window",
        "context length",
        "prompt is too long",
        "input token count",  # Gemini: "The input token count (…) exceeds the maximum number of …"
        "too many tokens: ",  # Cohere: "too many tokens: size limit exceeded by … tokens"
        "exceed context limit",  # Anthropic's, for the prompt and max_tokens together
        "input is too long",  # Amazon Bedrock's
        "exceeds the available context size",  # llama.cpp's, which Ollama passes on
    },
    content_filter_codes={
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",  # Azure's
    },
    content_filter_phrases={
        "blocked by content filtering policy",  # Anthropic's
    },
)
"""The words that many providers share. Every error is looked up in them."""
