"""Validators for attrs fields, with one-line error messages.

attrs' own ``instance_of`` puts the whole field object into the error, which then prints as a tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs

Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _make_type_validator(type_: type | tuple[type, ...], description: str) -> Validator:
    """Make a validator of values of a type.

    :param description: the expected value, for the error message.
    """

    def validate(instance: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, type_):
            raise TypeError(
                f"{type(instance).__name__}.{field.name} is {description}, not {value!r:.80}"
            )

    return validate


validate_string: Final = _make_type_validator(str, "text")
validate_optional_string: Final = _make_type_validator((str, type(None)), "text or None")
validate_bool: Final = _make_type_validator(bool, "True or False")
