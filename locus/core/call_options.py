"""The options of one model call (``CallOptions``), the same for every provider."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.unknown_keywords import make_unknown_keyword_error

STOP_ALIAS: Final = "stop_sequences"
"""The other name of ``stop``: the field of a config, and a keyword of calls and constructors."""


_NO_STRINGS: Final = ()
"""The empty tuple, of which there is only one."""


def to_stop_sequences(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Convert a string, several strings, or None to a tuple.

    :raises ConfigurationError: if it is something else.
    """
    return _to_strings(value, "stop")


def to_modalities(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Convert the name of a modality, several names, or None to a tuple.

    :raises ConfigurationError: if it is something else.
    """
    return _to_strings(value, "modalities")


def _to_strings(value: str | Iterable[str] | None, name: str) -> tuple[str, ...]:
    if value is None or value is _NO_STRINGS:  # nearly always; the checks below take longer
        return ()
    if isinstance(value, str):
        return (value,)
    strings = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(string, str) for string in strings):
        raise ConfigurationError(f"{name} takes a string or a sequence of strings, not {value!r}")
    return strings


def validate_optional_mapping(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a mapping or None."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{field.name} takes a mapping, not {type(value).__name__}")


def validate_optional_number(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a finite number or None."""
    # JSON has no NaN and no infinity: they would be written as null, which means "not set".
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and _is_finite(value)):
        raise ConfigurationError(f"{field.name} takes a number, or None; not {_quote(value)}")


def _is_finite(value: float) -> bool:
    """Return whether a number is finite, also as a float: some integers are too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _quote(value: object) -> str:
    """Return the ``repr`` of a value; Python refuses that of very large integers."""
    is_large = isinstance(value, int) and value.bit_length() > 64
    return "so large an integer" if is_large else repr(value)


def validate_optional_integer(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is an integer or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigurationError(f"{field.name} takes an integer, or None; not {value!r}")


def validate_optional_bool(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is True, False or None."""
    if value is not None and not isinstance(value, bool):
        raise ConfigurationError(f"{field.name} takes True, False or None; not {value!r}")


def validate_optional_string(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a string or None."""
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{field.name} takes a string, or None; not {value!r}")


def validate_optional_seconds(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a number of seconds above 0, or None."""
    check_seconds(field.name, value)


def check_seconds(name: str, value: Any) -> float | None:
    """Return a number of seconds, or None for no limit.

    :param name: the option's name, for the error.
    :raises ConfigurationError: if it is not a number above 0.
    """
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not value > 0:  # also false for NaN
        raise ConfigurationError(f"{name} must be more than 0, or None; not {value!r}")
    return float(value) if _is_finite(value) else math.inf


@attrs.frozen(kw_only=True)
class CallOptions:
    """The options of one call, apart from the conversation and the tools. None: not sent.

    :param model: the model's name, as the provider knows it.
    :param max_tokens: the longest response, in tokens.
    :param temperature: from 0 (the likeliest tokens) up.
    :param top_p: the share of probability to sample from, above 0 to 1.
    :param stop: strings that end the response; ``stop_sequences`` is the same.
    :param seed: the same seed gives the same response, where the provider supports that.
    :param frequency_penalty: above 0 makes tokens that were used often less likely; -2 to 2.
    :param presence_penalty: above 0 makes tokens that were used before less likely; -2 to 2.
    :param reasoning_effort: how much a reasoning model thinks: ``"none"``, ``"minimal"``,
        ``"low"``, ``"medium"``, ``"high"``, or another word of the provider's.
    :param verbosity: how long the text of the response is: ``"low"``, ``"medium"``, ``"high"``.
    :param n: how many responses to generate; the others are in ``candidates``.
    :param logprobs: whether the response has the log probability of each token.
    :param top_logprobs: how many of the likeliest tokens are listed at each position.
    :param logit_bias: how much likelier each token is made, by its id: -100 to 100.
    :param modalities: what the response consists of: ``["text"]``, ``["text", "audio"]``.
    :param prediction: OpenAI's predicted output: ``{"type": "content", "content": …}``.
    :param service_tier: the provider's class of processing, such as ``"flex"``.
    :param store: whether the provider stores the response.
    :param metadata: the caller's own names and values, stored with the response.
    :param user: the caller's id of its end user.
    :param prompt_cache_key: groups requests that begin alike, for the provider's prompt cache.
    :param safety_identifier: a stable id of the end user, without personal data, by which the
        provider detects abuse.
    :param response_format: OpenAI's ``{"type": "json_schema", …}`` or ``{"type": "json_object"}``.
    :param tool_choice: ``"auto"``, ``"none"``, ``"required"``, a tool's name, or the provider's
        own mapping.
    :param parallel_tool_calls: whether one response may contain several tool calls.
    :param timeout: how long the server may send nothing, in seconds.
    :param deadline: how long the whole call may take, retries included, in seconds.
    :param extra_headers: additional HTTP headers.
    :param extra_body: additional members of the JSON body; they override Locus's own.
    :param provider_state: the ``provider_state`` of an earlier response.
    :param stream: whether to stream the response.
    :param stream_usage: whether to ask for token counts at the end of a stream.
    :param renamed_options: the options that are sent as the other one of two members, which the
        server has asked for.
    :param config_members: members of the JSON body that only the model's config knows. Everything
        else overrides them: other options, and ``extra_body``.
    """

    model: str
    max_tokens: int | None = attrs.field(default=None, validator=validate_optional_number)
    temperature: float | None = attrs.field(default=None, validator=validate_optional_number)
    top_p: float | None = attrs.field(default=None, validator=validate_optional_number)
    stop: tuple[str, ...] = attrs.field(default=(), converter=to_stop_sequences)
    seed: int | None = attrs.field(default=None, validator=validate_optional_number)
    frequency_penalty: float | None = attrs.field(default=None, validator=validate_optional_number)
    presence_penalty: float | None = attrs.field(default=None, validator=validate_optional_number)
    reasoning_effort: str | None = attrs.field(default=None, validator=validate_optional_string)
    verbosity: str | None = attrs.field(default=None, validator=validate_optional_string)
    n: int | None = attrs.field(default=None, validator=validate_optional_integer)
    logprobs: bool | None = attrs.field(default=None, validator=validate_optional_bool)
    top_logprobs: int | None = attrs.field(default=None, validator=validate_optional_integer)
    logit_bias: Mapping[str, float] | None = attrs.field(
        default=None, validator=validate_optional_mapping
    )
    modalities: tuple[str, ...] = attrs.field(default=(), converter=to_modalities)
    prediction: Mapping[str, Any] | None = attrs.field(
        default=None, validator=validate_optional_mapping
    )
    service_tier: str | None = attrs.field(default=None, validator=validate_optional_string)
    store: bool | None = attrs.field(default=None, validator=validate_optional_bool)
    metadata: Mapping[str, Any] | None = attrs.field(
        default=None, validator=validate_optional_mapping
    )
    user: str | None = attrs.field(default=None, validator=validate_optional_string)
    prompt_cache_key: str | None = attrs.field(default=None, validator=validate_optional_string)
    safety_identifier: str | None = attrs.field(default=None, validator=validate_optional_string)
    response_format: Mapping[str, Any] | None = attrs.field(
        default=None, validator=validate_optional_mapping
    )
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    timeout: float | None = None
    deadline: float | None = None
    extra_headers: Mapping[str, str] | None = attrs.field(
        default=None, validator=validate_optional_mapping
    )
    extra_body: Mapping[str, Any] | None = attrs.field(
        default=None, validator=validate_optional_mapping
    )
    provider_state: Mapping[str, Any] | None = attrs.field(
        default=None, validator=validate_optional_mapping
    )
    stream: bool = False
    stream_usage: bool = True
    renamed_options: Collection[str] = frozenset()
    config_members: Mapping[str, Any] = EMPTY


INTERNAL_OPTIONS: Final = frozenset(
    {"model", "stream", "stream_usage", "renamed_options", "config_members"}
)
"""The fields of ``CallOptions`` that are no keywords of a call: every format handles them."""

CALL_KEYWORDS: Final = (
    frozenset(field.name for field in attrs.fields(CallOptions)) - INTERNAL_OPTIONS
)
"""The names of the keyword arguments that every call takes; ``stop_sequences`` is one more."""


def rename_stop_alias(keywords: Mapping[str, Any], name: str = "stop") -> dict[str, Any]:
    """Return the keywords with ``stop`` and ``stop_sequences`` under one name.

    :param name: the name that both get: ``"stop"`` for a call, ``"stop_sequences"`` for a config.
    :raises TypeError: if both were passed.
    """
    if "stop" in keywords and STOP_ALIAS in keywords:
        raise TypeError(f"stop= and {STOP_ALIAS}= are two names for one option: pass one")
    return {
        name if keyword in ("stop", STOP_ALIAS) else keyword: value
        for keyword, value in keywords.items()
    }


def normalize_call_keywords(
    keywords: Mapping[str, Any], owner: str, elsewhere: Mapping[str, Collection[str]] = EMPTY
) -> dict[str, Any]:
    """Check the keywords of a call, and return them with ``stop_sequences`` as ``stop``.

    :param owner: the function that got them, for the error.
    :param elsewhere: keywords that belong to another function, by the advice how to pass them.
    :raises TypeError: if one is unknown, or if both names of ``stop`` were passed.
    """
    for name in keywords:
        if name not in CALL_KEYWORDS and name != STOP_ALIAS:
            raise make_unknown_keyword_error(name, CALL_KEYWORDS, owner, elsewhere)
    return rename_stop_alias(keywords) if STOP_ALIAS in keywords else dict(keywords)
