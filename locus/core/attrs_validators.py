"""Validators of attrs fields that say in a line what is wrong.

attrs' own ``instance_of`` puts the whole field into the error, which then reads as a tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs

Check: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _a(kind: type | tuple[type, ...], what: str) -> Check:
    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{type(owner).__name__}.{field.name} is {what}, not {value!r:.80}")

    return check


string: Final = _a(str, "text")
string_or_none: Final = _a((str, type(None)), "text or None")
boolean: Final = _a(bool, "True or False")
