"""``ErrorContext``: adds the provider, the model, the URL and a hint to the errors of a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import attrs

from locus.core.error_words import COMMON_ERROR_WORDS, ErrorWords
from locus.core.errors import (
    AnswerTooLargeError,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ContentFilterError,
    ContextWindowExceededError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.redaction import find_secrets_in_headers, redact_secrets

E = TypeVar("E", bound=APIError)


@attrs.frozen
class BodyHint:
    """Advice for errors whose body a pattern matches.

    :param pattern: is searched for in the body.
    :param advice: what to do next.
    :param statuses: the HTTP statuses that it is for; any if empty.
    """

    pattern: re.Pattern[str]
    advice: str
    statuses: tuple[int, ...] = ()

    def matches(self, error: APIStatusError) -> bool:
        """Return whether the advice is for this error."""
        if self.statuses and error.status_code not in self.statuses:
            return False
        return self.pattern.search(error.body) is not None


@attrs.frozen
class ErrorContext:
    """The facts about a request that the reader of its error needs, and that no response contains.

    :param provider: the provider's prefix.
    :param model: the model's name.
    :param url: the URL, without credentials and query.
    :param key_hint: how a user sets this provider's credentials.
    :param hints: what to do next after an error of exactly this class, where the provider has
        better advice than the general one.
    :param body_hints: what to do next after a status error whose body a pattern matches; the first
        pattern that matches counts, before ``hints``.
    :param error_words: the provider's own words for errors, beside the common ones.
    :param secrets: texts that no error may show.
    :param find_more_secrets: finds further secrets, once there is an error: those that only the
        signing of the request tells, and those that are not worth the search without one.
    """

    provider: str
    model: str
    url: str = ""
    key_hint: str = "check the API key"
    hints: Mapping[type[APIError], str] = EMPTY
    body_hints: tuple[BodyHint, ...] = attrs.field(default=(), repr=False)
    error_words: ErrorWords = attrs.field(default=COMMON_ERROR_WORDS, repr=False)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    find_more_secrets: Callable[[], Iterable[str]] = attrs.field(default=tuple, repr=False)
    _sent_secrets: set[str] = attrs.field(factory=set, init=False, repr=False, eq=False)

    def add_sent_headers(self, headers: Mapping[str, str]) -> None:
        """Add the headers that were really sent: the caller's own client may have added secrets."""
        self._sent_secrets.update(find_secrets_in_headers(headers))

    def redact(self, text: str) -> str:
        """Replace the secrets of this request in ``text`` by ``***``."""
        secrets = (*self.secrets, *self._sent_secrets, *self.find_more_secrets())
        return redact_secrets(text, secrets)

    def add_context(self, error: E) -> E:
        """Add the provider, the model, the URL and a hint to an error, and return the error.

        The class of an error that the provider names by a word of its own is changed to fit it.
        An error that has its context already is not changed.
        """
        self._cut_chain_at_secrets(error)
        if error.provider is not None:
            return error
        error.provider, error.model = self.provider, self.model
        if isinstance(error, APIStatusError):
            self.error_words.reclassify(error)
        hint = (
            self._find_body_hint(error)
            or self.hints.get(type(error))
            or _find_hint_in_words(error, self.key_hint)
            or _select_hint(error, self.key_hint)
        )
        error.args = (
            self.redact(
                f"{self.provider} {self.model}: POST {self.url}: {self.redact(str(error))}"
                + (f" ({hint})" if hint else "")
            ),
        )
        if isinstance(error, (APIStatusError, ResponseParseError)):
            error.body = self.redact(error.body)
        error.headers = FrozenDict(
            {name: self.redact(value) for name, value in error.headers.items()}
        )
        if isinstance(error, APIStatusError):
            error.code = error.code and self.redact(error.code)
            error.codes = frozenset(map(self.redact, error.codes))
            error.explanation = self.redact(error.explanation)
        return error

    def _cut_chain_at_secrets(self, error: BaseException) -> None:
        """Cut off the causes of an error whose text shows a secret: a traceback prints them all."""
        seen = {id(error)}
        while (cause := error.__cause__ or error.__context__) is not None:
            if id(cause) in seen:
                return
            seen.add(id(cause))
            text = f"{cause!s} {cause!r}"
            if self.redact(text) != text:
                error.__cause__ = error.__context__ = None
                error.__suppress_context__ = True
                return
            error = cause

    def _find_body_hint(self, error: APIError) -> str:
        """Return the advice for what the body of an error says; empty if there is none."""
        if not isinstance(error, APIStatusError):
            return ""
        return next((hint.advice for hint in self.body_hints if hint.matches(error)), "")


_REFUSED_KEY: Final = re.compile(
    r"(?:api|access) key (?:is )?(?:not valid|invalid)|incorrect api key", re.I
)
_ADVICE_BY_WORDS: Final = (
    (
        re.compile(r"credit balance|insufficient (?:balance|credits?|funds)|billing", re.I),
        "the account has no credit left: see the provider's page on billing",
    ),
    (
        re.compile(r"model\b.*\b(?:deprecated|retired|removed|discontinued|decommissioned)", re.I),
        "the model is retired: choose another one, see the provider's page on deprecations",
    ),
    (
        re.compile(r"(?:location|region|country|territory)\b.*\bnot (?:supported|available)", re.I),
        "the provider does not serve this region",
    ),
    (
        re.compile(r"(?:does|do) not support (?:tools|function calling|tool use)", re.I),
        "call it without tools, or choose a model that has them",
    ),
)
"""Advice for what the message of a refused request says, in the words of several providers."""
_MAX_SEARCHED_CHARACTERS: Final = 2000
_REFUSED_REQUEST_STATUSES: Final = (400, 402, 403, 404, 410, 422)


def _find_hint_in_words(error: APIError, key_hint: str) -> str:
    """Return the advice for what a provider says of a request that it refused; empty if none."""
    if not isinstance(error, APIStatusError) or (
        error.status_code not in _REFUSED_REQUEST_STATUSES
        or isinstance(error, (ContextWindowExceededError, ContentFilterError, RateLimitError))
    ):
        return ""
    text = (error.explanation or error.body)[:_MAX_SEARCHED_CHARACTERS]
    if _REFUSED_KEY.search(text):
        return key_hint
    return next((advice for pattern, advice in _ADVICE_BY_WORDS if pattern.search(text)), "")


def _select_hint(error: APIError, key_hint: str) -> str:
    """Return the advice what to do after ``error``; empty if there is no general advice."""
    match error:
        case AuthenticationError():
            return key_hint
        case PermissionDeniedError():
            return "these credentials may not use this model or address"
        case NotFoundError():
            return "check the model's name and base_url"
        case ContextWindowExceededError():
            return "send a shorter conversation, or ask for fewer tokens"
        case RateLimitError():
            return "wait and try again, raise max_retries, or check the quota"
        case APITimeoutError(deadline_exceeded=True):
            return "raise deadline= if answers take that long"
        case APITimeoutError():
            return "raise timeout= if answers take that long"
        case StreamInterruptedError():
            return "error.partial holds what had arrived"
        case APIConnectionError():
            return "check base_url, the network, and that the server is running"
        case AnswerTooLargeError():
            return "raise max_answer_bytes= if answers are that large"
        case ResponseParseError():
            return "check that base_url is the API's root"
        case APIStatusError(status_code=status_code) if 300 <= status_code < 400:
            return "redirects are not followed: set base_url to the address it moved to"
    return ""
