"""The options of one model call (``CallOptions``), the same for every provider."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError


def _to_stop_sequences(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Convert a string or several strings to a tuple."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    stop = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(string, str) for string in stop):
        raise ConfigurationError(f"stop takes a string or a sequence of strings, not {value!r}")
    return stop


def _validate_optional_mapping(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a mapping or None."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{field.name} takes a mapping, not {type(value).__name__}")


def _validate_optional_number(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a finite number or None."""
    # JSON has no NaN and no infinity: they would be written as null, which means "not set".
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
    ):
        raise ConfigurationError(f"{field.name} takes a number, or None; not {value!r}")


@attrs.frozen(kw_only=True)
class CallOptions:
    """The options of one call, apart from the conversation and the tools. None: not sent.

    :param model: the model's name, as the provider knows it.
    :param max_tokens: the longest response, in tokens.
    :param temperature: from 0 (the likeliest tokens) up.
    :param top_p: the share of probability to sample from, above 0 to 1.
    :param stop: strings that end the response.
    :param seed: the same seed gives the same response, where the provider supports that.
    :param frequency_penalty: above 0 makes tokens that were used often less likely; -2 to 2.
    :param presence_penalty: above 0 makes tokens that were used before less likely; -2 to 2.
    :param response_format: OpenAI's ``{"type": "json_schema", …}`` or ``{"type": "json_object"}``.
    :param tool_choice: ``"auto"``, ``"none"``, ``"required"``, a tool's name, or the provider's
        own mapping.
    :param parallel_tool_calls: whether one response may contain several tool calls.
    :param timeout: how long the server may send nothing, in seconds.
    :param extra_headers: additional HTTP headers.
    :param extra_body: additional members of the JSON body; they override Locus's own.
    :param provider_state: the ``provider_state`` of an earlier response.
    :param stream: whether to stream the response.
    :param stream_usage: whether to ask for token counts at the end of a stream.
    """

    model: str
    max_tokens: int | None = attrs.field(default=None, validator=_validate_optional_number)
    temperature: float | None = attrs.field(default=None, validator=_validate_optional_number)
    top_p: float | None = attrs.field(default=None, validator=_validate_optional_number)
    stop: tuple[str, ...] = attrs.field(default=(), converter=_to_stop_sequences)
    seed: int | None = attrs.field(default=None, validator=_validate_optional_number)
    frequency_penalty: float | None = attrs.field(default=None, validator=_validate_optional_number)
    presence_penalty: float | None = attrs.field(default=None, validator=_validate_optional_number)
    response_format: Mapping[str, Any] | None = attrs.field(
        default=None, validator=_validate_optional_mapping
    )
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    timeout: float | None = None
    extra_headers: Mapping[str, str] | None = attrs.field(
        default=None, validator=_validate_optional_mapping
    )
    extra_body: Mapping[str, Any] | None = attrs.field(
        default=None, validator=_validate_optional_mapping
    )
    provider_state: Mapping[str, Any] | None = attrs.field(
        default=None, validator=_validate_optional_mapping
    )
    stream: bool = False
    stream_usage: bool = True


CALL_KEYWORDS: Final = frozenset(
    field.name for field in attrs.fields(CallOptions) if not field.name.startswith("stream")
) - {"model"}
"""The names of the keyword arguments that every call takes."""


def make_unknown_keyword_error(name: str, known_names: Iterable[str], owner: str) -> TypeError:
    """Make the error for an unknown keyword argument; it suggests the most similar known name.

    :param owner: the function or class that got the keyword.
    """
    from difflib import get_close_matches  # imported here, because only an error needs it

    matches = get_close_matches(name, list(known_names), n=1)
    hint = f"; did you mean {matches[0]!r}?" if matches else "; extra_body= takes provider extras"
    return TypeError(f"{owner} got an unknown keyword {name!r}{hint}")
