"""``ModelConfig``: the options that every model has; ``SamplingConfig``: those that most have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from locus.core.errors import ConfigurationError


def _to_string_tuple(strings: str | Iterable[str] | None) -> tuple[str, ...]:
    """Convert one string, several strings or None to a tuple of strings."""
    if strings is None:
        return ()
    return (strings,) if isinstance(strings, str) else tuple(strings)


def _validate_positive(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and value > 0):
        raise ConfigurationError(f"{field.name} must be more than 0, or None; not {value!r}")


def _validate_count(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{field.name} must be an integer of at least 0; not {value!r}")


def _validate_name(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{field.name} must be a name; not {value!r}")


@attrs.frozen
class ModelConfig:
    """The options that every model has. A sampling option that is None is not sent.

    :param model: the provider's name for the model.
    :param max_tokens: the longest response, in tokens.
    :param temperature: 0 (the most likely tokens) and up.
    :param top_p: the share of probability to sample from, above 0 to 1.
    :param stop_sequences: strings that end the response.
    :param timeout: how long the server may send nothing, in seconds; None is no limit.
    :param max_retries: how many further attempts are made after an error that may be temporary.
    """

    model: str = attrs.field(validator=_validate_name)
    max_tokens: int | None = attrs.field(default=4096, validator=_validate_positive)
    temperature: float | None = 0.7
    top_p: float | None = 0.9
    stop_sequences: tuple[str, ...] = attrs.field(default=(), converter=_to_string_tuple)
    timeout: float | None = attrs.field(default=600.0, validator=_validate_positive)
    max_retries: int = attrs.field(default=2, validator=_validate_count)


@attrs.frozen
class SamplingConfig(ModelConfig):
    """The sampling options of the formats that have them, besides those of :class:`ModelConfig`.

    :param seed: makes responses repeatable, as far as the server supports it.
    :param frequency_penalty: -2 to 2; above 0, tokens that were used often become less likely.
    :param presence_penalty: -2 to 2; above 0, tokens that were used at all become less likely.
    """

    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
