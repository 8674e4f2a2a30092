"""The keywords of one call, the same for every provider."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError


def _stop(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    stop = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(said, str) for said in stop):
        raise ConfigurationError(f"stop takes a string or a sequence of strings, not {value!r}")
    return stop


def _mapping(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{attribute.name} takes a mapping, not {type(value).__name__}")


def _number(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    # JSON has no NaN and no infinity: written as null, they would pass for "leave it out".
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
    ):
        raise ConfigurationError(f"{attribute.name} takes a number, or None; not {value!r}")


@attrs.frozen(kw_only=True)
class CallOptions:
    """What may be said about one call besides the conversation and the tools. None leaves out.

    :param model: the model's name on the wire.
    :param max_tokens: the longest answer, in tokens.
    :param temperature: 0 (the likeliest words) and up.
    :param top_p: the share of probability to sample from, above 0 to 1.
    :param stop: strings that end the answer.
    :param seed: for answers that repeat, where the provider can.
    :param frequency_penalty: against words used often, -2 to 2.
    :param presence_penalty: against words used at all, -2 to 2.
    :param response_format: OpenAI's ``{"type": "json_schema", …}`` or ``{"type": "json_object"}``.
    :param tool_choice: ``"auto"``, ``"none"``, ``"required"``, a tool's name, or the provider's
        own mapping.
    :param parallel_tool_calls: whether one answer may hold several calls.
    :param timeout: the longest silence, in seconds.
    :param extra_headers: further HTTP headers.
    :param extra_body: further members of the JSON body; they win over Locus's own.
    :param provider_state: what an earlier answer's ``provider_state`` was.
    :param stream: whether the answer comes in pieces.
    :param stream_usage: whether to ask for token counts at the end of a stream.
    """

    model: str
    max_tokens: int | None = attrs.field(default=None, validator=_number)
    temperature: float | None = attrs.field(default=None, validator=_number)
    top_p: float | None = attrs.field(default=None, validator=_number)
    stop: tuple[str, ...] = attrs.field(default=(), converter=_stop)
    seed: int | None = attrs.field(default=None, validator=_number)
    frequency_penalty: float | None = attrs.field(default=None, validator=_number)
    presence_penalty: float | None = attrs.field(default=None, validator=_number)
    response_format: Mapping[str, Any] | None = attrs.field(default=None, validator=_mapping)
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    timeout: float | None = None
    extra_headers: Mapping[str, str] | None = attrs.field(default=None, validator=_mapping)
    extra_body: Mapping[str, Any] | None = attrs.field(default=None, validator=_mapping)
    provider_state: Mapping[str, Any] | None = attrs.field(default=None, validator=_mapping)
    stream: bool = False
    stream_usage: bool = True


CALL_KEYWORDS: Final = frozenset(
    field.name for field in attrs.fields(CallOptions) if not field.name.startswith("stream")
) - {"model"}
"""The keywords that every call takes."""


def unknown_keyword(name: str, known: Iterable[str], of: str) -> TypeError:
    """The error for a keyword that nobody knows, with the nearest name that somebody does."""
    from difflib import get_close_matches  # only on the way to an error

    near = get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "; extra_body= takes provider extras"
    return TypeError(f"{of} got an unknown keyword {name!r}{hint}")
