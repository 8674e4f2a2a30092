"""What a class says of its fields and of how it is made: what :mod:`.hints` walks by.

The structs of ``msgspec`` are here whole: like other classes they are read member by member, since
``msgspec`` itself passes over a misspelt one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Set
from pathlib import PurePath
from typing import Any, Final, Literal, TypeGuard

import attrs
import msgspec

from locus.core.errors import ConfigurationError
from locus.core.structured.schema_definitions import Schema

_MANY: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@attrs.frozen
class Member:
    """A field as its class defines it, its type aside.

    :param name: in the JSON.
    :param keyword: of the constructor; empty where it does not want the member.
    :param hint: the type, where the annotations of the class do not say it.
    :param attribute: what the annotations call it, if not ``name``.
    """

    name: str
    keyword: str
    required: bool
    omissible: bool = False
    notes: Mapping[str, Any] = attrs.Factory(dict)
    hint: Any = None
    attribute: str = ""


def is_struct(cls: type) -> TypeGuard[type[msgspec.Struct]]:
    """Whether it is a ``msgspec.Struct`` that is an object in JSON, as most are."""
    return issubclass(cls, msgspec.Struct) and not cls.__struct_config__.array_like


def struct_members(cls: type[msgspec.Struct]) -> Iterator[Member]:
    """The members of a struct, the tag that tells it from others among them."""
    config = cls.__struct_config__
    if config.tag is not None:
        yield Member(str(config.tag_field), "", True, hint=Literal[config.tag])
    for field in msgspec.structs.fields(cls):
        unset = field.default is msgspec.UNSET
        plain = not (unset or field.default is msgspec.NODEFAULT)
        yield Member(
            field.encode_name,
            field.name,
            field.required,
            omissible=unset,
            notes=note_of_default(field.default) if plain else {},
            hint=field.type,
            attribute=field.name,
        )


def check_constructor(cls: type, keywords: Set[str], where: str) -> None:
    """Make sure that a class can be made of its fields.

    :param keywords: what its constructor will be given.
    :raises ConfigurationError: it cannot; says why.
    """
    if inspect.isabstract(cls):
        raise ConfigurationError(f"{where}: {cls.__name__} is abstract, so nothing can be one")
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return  # it does not say
    for parameter in parameters:
        wanted = parameter.default is parameter.empty and parameter.kind not in _MANY
        named = parameter.kind != parameter.POSITIONAL_ONLY and parameter.name in keywords
        if wanted and not named:
            raise ConfigurationError(
                f"{where}: the constructor of {cls.__name__} wants {parameter.name!r}, which is no "
                "field, so there is no value for it; give it a default"
            )
    if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        known = {p.name for p in parameters if p.kind != p.POSITIONAL_ONLY}
        if strange := sorted(keywords - known - {""}):
            raise ConfigurationError(
                f"{where}: the constructor of {cls.__name__} does not take its field {strange[0]!r}"
            )


def note_of_default(default: Any) -> Schema:
    """What a schema says of a default; nothing where JSON has no form for it."""
    try:
        plain = msgspec.to_builtins(default, enc_hook=_path_as_text)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return {}
    return {"default": plain} if _is_finite(plain) else {}


def _is_finite(value: Any) -> bool:
    """Whether no number in it is NaN or infinite, which JSON would make null."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _path_as_text(value: Any) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"JSON has no form for {type(value).__name__}")
