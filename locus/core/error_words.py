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
    RateLimitError,
    get_status_error_class,
)
from locus.core.frozendict import EMPTY, FrozenDict

_PHRASE_STATUSES: Final = (400, 413, 422)
"""The statuses of requests that a provider does not accept. Only there do phrases mean anything,
and in an error inside a successful response, if nothing in it says what status it stands for."""
_CONTENT_FILTER_STATUSES: Final = (*_PHRASE_STATUSES, 403)
_RATE_LIMIT_STATUSES: Final = (400, 403, 413)
"""The statuses with which servers report a rate limit, beside 429."""


def _to_lowercase_statuses(statuses: Mapping[str, int]) -> Mapping[str, int]:
    return FrozenDict({code.lower(): status for code, status in statuses.items()})


def _to_lowercase_set(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.lower() for word in words)


def _has_phrase(text: str, phrase: str) -> bool:
    """Return whether ``text`` contains the parts of ``phrase`` between its ``*``, in order."""
    position = 0
    for part in phrase.split("*"):
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return True


@attrs.frozen
class ErrorWords:
    """What a provider calls its errors. Upper and lower case are the same.

    A code is the value of ``code``, ``type`` or ``status`` of an error object; a phrase is a part
    of its message, where ``*`` stands for any text.

    :param statuses: the HTTP status that a code stands for, where the error is inside of a
        successful response or a stream.
    :param context_window_codes: the codes for a conversation that is too long.
    :param context_window_phrases: the phrases for it, in the errors 400, 413 and 422.
    :param content_filter_codes: the codes for a request that a content filter blocked.
    :param content_filter_phrases: the phrases for it, in the errors 400, 403, 413 and 422.
    :param rate_limit_codes: the codes for a rate limit, where the status is 400, 403 or 413.
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

    rate_limit_codes: frozenset[str] = attrs.field(default=frozenset(), converter=_to_lowercase_set)

    def find_status(self, codes: Iterable[str]) -> int | None:
        """Return the HTTP status that the codes stand for; the highest one if they disagree."""
        known = (self.statuses.get(code.lower()) for code in codes)
        return max((status for status in known if status is not None), default=None)

    def find_special_class(
        self, codes: Iterable[str], message: str, status_code: int
    ) -> type[APIStatusError] | None:
        """Return the class of an error that no status has of its own, or None."""
        lowered_codes = _to_lowercase_set(codes)
        if status_code in _RATE_LIMIT_STATUSES and lowered_codes & self.rate_limit_codes:
            return RateLimitError
        lowered_message = message.lower()
        for cls, known_codes, phrases, statuses in (
            (
                ContextWindowExceededError,
                self.context_window_codes,
                self.context_window_phrases,
                _PHRASE_STATUSES,
            ),
            (
                ContentFilterError,
                self.content_filter_codes,
                self.content_filter_phrases,
                _CONTENT_FILTER_STATUSES,
            ),
        ):
            if lowered_codes & known_codes:
                return cls
            is_about_request = status_code in statuses or status_code < 300
            if is_about_request and any(_has_phrase(lowered_message, p) for p in phrases):
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
    # OpenAI's ("Error codes"), Anthropic's ("Errors"), Google's ("google.rpc.Code"), Amazon's
    # (Bedrock's "InvokeModel"), Alibaba's, Zhipu's and llama.cpp's (`server_error` types). Many
    # servers have taken them over, and gateways pass them on in the formats of others.
    statuses={
        "invalid_request_error": 400,
        "invalid_argument": 400,
        "failed_precondition": 400,
        "validationexception": 400,
        "authentication_error": 401,
        "unauthenticated": 401,
        "invalid_api_key": 401,
        "invalidapikey": 401,
        "billing_error": 402,
        "insufficient_balance": 402,
        "permission_error": 403,
        "permission_denied": 403,
        "accessdeniedexception": 403,
        "not_found_error": 404,
        "not_found": 404,
        "model_not_found": 404,
        "previous_response_not_found": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "rate_limit_exceeded": 429,
        "rate_limit_reached_error": 429,
        "engine_overloaded_error": 429,
        "insufficient_quota": 429,
        "too_many_requests": 429,
        "resource_exhausted": 429,
        "throttling": 429,
        "throttling.ratequota": 429,
        "throttlingexception": 429,
        "1302": 429,
        "1303": 429,
        "1305": 429,
        "api_error": 500,
        "server_error": 500,
        "internal": 500,
        "internal_server_error": 500,
        "internal_error": 500,
        "internalserverexception": 500,
        "unavailable": 503,
        "unavailable_error": 503,
        "serviceunavailableexception": 503,
        "timeout_error": 504,
        "deadline_exceeded": 504,
        "overloaded_error": 529,
    },
    rate_limit_codes={
        "rate_limit_exceeded",
        "rate_limit_error",
        "rate_limit_reached_error",
        "too_many_requests",
        "throttlingexception",
        "throttling",
        "throttling.ratequota",
        "resource_exhausted",
    },
    context_window_codes={
        "context_length_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
        "model_max_prompt_tokens_exceeded",  # GitHub Copilot's
        "tokens_limit_reached",  # GitHub Models'
        "1261",  # Zhipu's
    },
    context_window_phrases={
        "maximum context length",
        "context window",
        "context length",
        "exceed context limit",  # Anthropic's, where max_tokens is counted as well
        "exceeds the available context size",  # llama.cpp's
        "prompt is too long",
        "input is too long",  # Amazon's
        "prompt exceeds max length",
        "prompt tokens too long",
        "too many input tokens",
        # Cohere's; "too many tokens: max tokens must be …" is about `max_tokens`.
        "too many tokens: total number of tokens",
        "too many tokens: size limit exceeded",
        "reduce the length of the messages",  # Groq's
        "input tokens exceed the configured limit",  # OpenAI's
        "length of all messages is too long",  # Perplexity's
        "maximum model length",  # vLLM's
        "input token count*exceeds the maximum number of tokens",  # Google's
        "prompt token count*exceeds the limit",
        "maximum prompt length is",  # xAI's
        "range of input length should be",  # Alibaba's
        "exceeded model token limit",  # Moonshot's
        "`inputs` tokens + `max_new_tokens` must be",  # Hugging Face's
        "`inputs` must have less than",
        "exceeds max_model_len",
        "more than max tokens allowed",
        "contextwindowexceedederror",  # LiteLLM's, in front of a provider's own words
    },
    content_filter_codes={
        "content_filter",
        "content_policy_violation",
        "content_filter_error",
        "moderation_blocked",
        "data_inspection_failed",  # Alibaba's
        "datainspectionfailed",
        "responsibleaipolicyviolation",  # Azure's
        "sensitivecontentdetected",  # ByteDance's
        "inputtextsensitivecontentdetected",
        "1301",  # Zhipu's
    },
    content_filter_phrases={
        "content exists risk",  # DeepSeek's
        "content filtering policy",  # Anthropic's
        "content management policy",  # Azure's
        "considered high risk",  # Moonshot's
        "inappropriate content",  # Alibaba's
        "violates usage guidelines",  # xAI's
        "violating our usage policy",  # OpenAI's
        "your input was flagged",  # OpenRouter's
        "blocked by our content filters",  # Amazon's
        "rejected as a result of our safety system",  # OpenAI's, for images
        "responsibleaipolicyviolation",  # Azure's, quoted by a gateway
        "'code': 'content_filter'",
        "contentpolicyviolationerror",  # LiteLLM's, in front of a provider's own words
    },
)
"""The words that many providers share. Every error is looked up in them."""
