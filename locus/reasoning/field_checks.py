"""attrs validators and converters that the classes of this package share."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import to_frozen_dict
from locus.models.protocols import ModelProtocol


def to_judge_model(value: Any) -> ModelProtocol:
    """Convert a registry string to its model, and check that a value is a model.

    :raises TypeError: if it is neither.
    """
    if isinstance(value, str):
        from locus.models.registry import get_model  # only a registry string needs it

        model: ModelProtocol = get_model(value)
        return model
    if isinstance(value, type) or not callable(getattr(value, "complete", None)):
        raise TypeError(f"a judge model is a model or a registry string, not {value!r:.80}")
    checked: ModelProtocol = value
    return checked


def to_optional_judge_model(value: Any) -> ModelProtocol | None:
    """Do the same as :func:`to_judge_model`; None stays None."""
    return None if value is None else to_judge_model(value)


def to_model_options(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Convert the keywords of model calls to an immutable mapping."""
    return to_frozen_dict(value, "options")


def make_minimum_validator(minimum: int) -> Any:
    """Make a validator of integers that are at least ``minimum``."""

    def validate(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ConfigurationError(
                f"{field.name} must be an integer from {minimum}; not {value!r}"
            )

    return validate


def validate_fraction(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a number from 0 to 1."""
    if not is_fraction_of_one(value):
        raise ConfigurationError(f"{field.name} must be a number from 0 to 1; not {value!r}")


def validate_instructions(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a text with content."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{field.name} must be a text that is not empty; not {value!r}")


def is_fraction_of_one(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    return is_finite_number(value) and 0 <= value <= 1


def is_finite_number(value: Any) -> bool:
    """Whether a value is a number, and neither infinite nor NaN."""
    if isinstance(value, (int, Fraction)):
        return not isinstance(value, bool)
    return isinstance(value, (float, Decimal)) and isfinite(value)
