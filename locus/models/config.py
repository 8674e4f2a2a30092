"""``ModelConfig``: the options that every model has, and the defaults of its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.call_options import (
    to_modalities,
    to_stop_sequences,
    validate_optional_bool,
    validate_optional_integer,
    validate_optional_mapping,
    validate_optional_number,
    validate_optional_seconds,
    validate_optional_string,
)
from locus.core.errors import DEFAULT_MAX_ANSWER_BYTES, ConfigurationError
from locus.core.frozendict import make_frozen_copy, to_frozen_dict
from locus.core.redaction import hide_secrets
from locus.transport.http_request import check_extra_headers


def _to_frozen_mapping(value: Any) -> Any:
    """Freeze a mapping, all its members included; other values stay for the validator."""
    return make_frozen_copy(to_frozen_dict(value)) if isinstance(value, Mapping) else value


def _validate_positive(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and value > 0):
        raise ConfigurationError(f"{field.name} must be more than 0, or None; not {value!r}")


def _validate_count(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{field.name} must be an integer of at least 0; not {value!r}")


def _validate_size(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{field.name} must be an integer of at least 1; not {value!r}")


def _validate_name(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{field.name} must be a name; not {value!r}")


def _validate_headers(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    validate_optional_mapping(_, field, value)
    check_extra_headers(value or {})


def format_headers(headers: Mapping[str, str] | None) -> str:
    """Format headers for a repr, without their values: they may be secret."""
    return repr(None if headers is None else sorted(headers))


def format_members(members: Mapping[str, Any] | None) -> str:
    """Format members of the JSON body for a repr, without credentials."""
    return repr(hide_secrets(members))


@attrs.frozen
class ModelConfig:
    """The options that every model has, and the defaults of its calls.

    The fields that are not described here are those of
    :class:`~locus.core.call_options.CallOptions`: what a call or ``bind_tools`` says overrides
    them. None is not sent.

    :param model: the provider's name for the model.
    :param max_tokens: the longest response, in tokens.
    :param temperature: 0 (the most likely tokens) and up.
    :param top_p: the share of probability to sample from, above 0 to 1.
    :param stop_sequences: strings that end the response; ``stop=`` of a constructor is the same.
    :param timeout: how long the server may send nothing, in seconds; None is no limit.
    :param max_retries: how many further attempts are made after an error that may be temporary.
    :param max_answer_bytes: how large a response may be, without its content coding, and of a
        streamed one each event or line. More is an ``AnswerTooLargeError``.
    :param deadline: how long a whole call may take, retries included, in seconds; None is no limit.
    :param extra_headers: HTTP headers of every request; those of a call are added to them.
    :param extra_body: members of the JSON body of every request; those of a call are added to them.
    """

    model: str = attrs.field(validator=_validate_name)
    max_tokens: int | None = attrs.field(default=4096, validator=_validate_positive)
    temperature: float | None = 0.7
    top_p: float | None = 0.9
    stop_sequences: tuple[str, ...] = attrs.field(default=(), converter=to_stop_sequences)
    timeout: float | None = attrs.field(default=600.0, validator=_validate_positive)
    max_retries: int = attrs.field(default=2, validator=_validate_count)
    seed: int | None = attrs.field(default=None, validator=validate_optional_number, kw_only=True)
    frequency_penalty: float | None = attrs.field(
        default=None, validator=validate_optional_number, kw_only=True
    )
    presence_penalty: float | None = attrs.field(
        default=None, validator=validate_optional_number, kw_only=True
    )
    reasoning_effort: str | None = attrs.field(
        default=None, validator=validate_optional_string, kw_only=True
    )
    verbosity: str | None = attrs.field(
        default=None, validator=validate_optional_string, kw_only=True
    )
    n: int | None = attrs.field(default=None, validator=validate_optional_integer, kw_only=True)
    logprobs: bool | None = attrs.field(
        default=None, validator=validate_optional_bool, kw_only=True
    )
    top_logprobs: int | None = attrs.field(
        default=None, validator=validate_optional_integer, kw_only=True
    )
    logit_bias: Mapping[str, float] | None = attrs.field(
        default=None,
        validator=validate_optional_mapping,
        converter=_to_frozen_mapping,
        hash=False,
        kw_only=True,
    )
    modalities: tuple[str, ...] = attrs.field(default=(), converter=to_modalities, kw_only=True)
    prediction: Mapping[str, Any] | None = attrs.field(
        default=None,
        validator=validate_optional_mapping,
        converter=_to_frozen_mapping,
        hash=False,
        kw_only=True,
    )
    service_tier: str | None = attrs.field(
        default=None, validator=validate_optional_string, kw_only=True
    )
    store: bool | None = attrs.field(default=None, validator=validate_optional_bool, kw_only=True)
    metadata: Mapping[str, Any] | None = attrs.field(
        default=None,
        validator=validate_optional_mapping,
        converter=_to_frozen_mapping,
        hash=False,
        kw_only=True,
    )
    user: str | None = attrs.field(default=None, validator=validate_optional_string, kw_only=True)
    prompt_cache_key: str | None = attrs.field(
        default=None, validator=validate_optional_string, kw_only=True
    )
    safety_identifier: str | None = attrs.field(
        default=None, validator=validate_optional_string, kw_only=True
    )
    response_format: Mapping[str, Any] | None = attrs.field(
        default=None,
        validator=validate_optional_mapping,
        converter=_to_frozen_mapping,
        hash=False,
        kw_only=True,
    )
    tool_choice: str | Mapping[str, Any] | None = attrs.field(
        default=None, converter=_to_frozen_mapping, hash=False, kw_only=True
    )
    parallel_tool_calls: bool | None = attrs.field(
        default=None, validator=validate_optional_bool, kw_only=True
    )
    max_answer_bytes: int = attrs.field(
        default=DEFAULT_MAX_ANSWER_BYTES, validator=_validate_size, kw_only=True
    )
    deadline: float | None = attrs.field(
        default=None, validator=validate_optional_seconds, kw_only=True
    )
    extra_headers: Mapping[str, str] | None = attrs.field(
        default=None,
        validator=_validate_headers,
        converter=_to_frozen_mapping,
        hash=False,
        repr=format_headers,
        kw_only=True,
    )
    extra_body: Mapping[str, Any] | None = attrs.field(
        default=None,
        validator=validate_optional_mapping,
        converter=_to_frozen_mapping,
        hash=False,
        repr=format_members,
        kw_only=True,
    )

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        """Keep the short repr, which attrs would replace in each subclass."""
        cls.__repr__ = ModelConfig.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """Return the model's name and the fields that differ from their defaults."""
        shown = []
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if field.repr is False or (field.name != "model" and value == field.default):
                continue
            text = field.repr(value) if callable(field.repr) else repr(value)
            shown.append(f"{field.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def build_members(self) -> Mapping[str, Any]:
        """Build the members of the JSON body that only this config knows, and no option of a call.

        They are the lowest layer: options of the config, bound ones, those of a call, and
        ``extra_body`` override them, in this order.
        """
        return {}
