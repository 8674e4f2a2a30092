"""The fields of a class: attrs classes, dataclasses, ``TypedDict``, msgspec structs.

Structs are validated field by field like the other classes, because msgspec ignores a misspelled
member.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import PurePath
from typing import Any, Final, Literal, NotRequired, Required, TypeGuard

import attrs
import msgspec

from locus.core.errors import ConfigurationError
from locus.core.structured.schema_definitions import Schema

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@attrs.frozen
class FieldDefinition:
    """A field as its class defines it, without its type.

    :param name: the name of the member in JSON.
    :param keyword: the constructor's keyword; empty if the constructor does not take the member.
    :param required: the field has no default.
    :param may_be_absent: the value itself may lack the member, as with ``NotRequired``.
    :param schema_metadata: further keywords of its schema: the description, the default.
    :param hint: the type, for a field that the annotations of the class do not have.
    :param attribute: the name in the annotations, if it is not ``name``.
    """

    name: str
    keyword: str
    required: bool
    may_be_absent: bool = False
    schema_metadata: Mapping[str, Any] = attrs.Factory(dict)
    hint: Any = None
    attribute: str = ""


def has_fields(cls: type) -> bool:
    """Return whether :func:`iter_field_definitions` supports the class."""
    return (
        is_typed_dict(cls)
        or attrs.has(cls)
        or dataclasses.is_dataclass(cls)
        or is_object_struct(cls)
    )


def is_typed_dict(cls: Any) -> bool:
    """Return whether the class is a ``TypedDict``."""
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def is_object_struct(cls: type) -> TypeGuard[type[msgspec.Struct]]:
    """Return whether the class is a ``msgspec.Struct`` that is an object in JSON, not an array."""
    return issubclass(cls, msgspec.Struct) and not cls.__struct_config__.array_like


def iter_field_definitions(cls: Any, hints: Mapping[str, Any]) -> Iterator[FieldDefinition]:
    """Yield the fields of a class that the constructor takes.

    :param hints: the type hints of the class.
    """
    if is_typed_dict(cls):
        yield from _iter_typed_dict_fields(cls, hints)
    elif is_object_struct(cls):
        yield from _iter_struct_fields(cls)
    elif attrs.has(cls):
        yield from _iter_attrs_fields(cls)
    else:
        yield from _iter_dataclass_fields(cls)


def _iter_typed_dict_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[FieldDefinition]:
    for name, hint in hints.items():
        # With postponed annotations the class itself does not see these qualifiers.
        qualifier = typing.get_origin(hint)
        required = qualifier is Required or (
            qualifier is not NotRequired and name in cls.__required_keys__
        )
        yield FieldDefinition(name, name, required, may_be_absent=not required)


def _iter_struct_fields(cls: type[msgspec.Struct]) -> Iterator[FieldDefinition]:
    config = cls.__struct_config__
    if config.tag is not None:
        yield FieldDefinition(str(config.tag_field), "", True, hint=Literal[config.tag])
    for field in msgspec.structs.fields(cls):
        is_unset = field.default is msgspec.UNSET
        has_default = not (is_unset or field.default is msgspec.NODEFAULT)
        yield FieldDefinition(
            field.encode_name,
            field.name,
            field.required,
            may_be_absent=is_unset,
            schema_metadata=build_default_keyword(field.default) if has_default else {},
            hint=field.type,
            attribute=field.name,
        )


def _iter_attrs_fields(cls: type[attrs.AttrsInstance]) -> Iterator[FieldDefinition]:
    for field in attrs.fields(cls):
        if not field.init:
            continue
        required = field.default is attrs.NOTHING
        is_factory = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
        defaults = () if required or is_factory else (field.default,)
        yield FieldDefinition(
            field.name,
            field.alias or field.name,
            required,
            schema_metadata=_build_schema_metadata(field.metadata, defaults),
            hint=field.type,
        )


def _iter_dataclass_fields(cls: Any) -> Iterator[FieldDefinition]:
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        has_default = field.default is not dataclasses.MISSING
        required = not has_default and field.default_factory is dataclasses.MISSING
        defaults = (field.default,) if has_default else ()
        metadata = _build_schema_metadata(field.metadata, defaults)
        yield FieldDefinition(field.name, field.name, required, schema_metadata=metadata)


def _build_schema_metadata(metadata: Mapping[Any, Any], defaults: Iterable[Any]) -> Schema:
    """Build two keywords of a field's schema: the ``description`` and the ``default``."""
    schema_metadata: Schema = {}
    if isinstance(metadata.get("description"), str):
        schema_metadata["description"] = metadata["description"]
    for default in defaults:
        schema_metadata |= build_default_keyword(default)
    return schema_metadata


def build_default_keyword(default: Any) -> Schema:
    """Build the schema keyword ``default``; empty if the value cannot be represented in JSON."""
    try:
        builtins = msgspec.to_builtins(default, enc_hook=_convert_path_to_text)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return {}
    return {"default": builtins} if _has_only_finite_numbers(builtins) else {}


def _has_only_finite_numbers(value: Any) -> bool:
    """Return whether no number in the value is NaN or infinite, which JSON would write as null."""
    if isinstance(value, dict):
        return all(map(_has_only_finite_numbers, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_has_only_finite_numbers, value))
    return not isinstance(value, float) or math.isfinite(value)


def _convert_path_to_text(value: Any) -> str:
    """Convert a path to text for msgspec; it calls this for each value of an unknown type."""
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be represented in JSON")


def find_class_docstring(cls: type) -> str | None:
    """Return the docstring of the class itself, not that of a base class; None if it has none."""
    docstring = cls.__dict__.get("__doc__")
    # For a dataclass without a docstring, the decorator writes the signature there.
    if not docstring or docstring.startswith(f"{cls.__name__}("):
        return None
    return inspect.cleandoc(docstring)


def check_constructor(cls: type, keywords: Set[str], path: str) -> None:
    """Check that the constructor of a class takes the values of its fields and needs no others.

    :param keywords: the keyword arguments that the constructor will get.
    :param path: the name of the class in errors.
    :raises ConfigurationError: if the constructor cannot be called with these arguments.
    """
    if inspect.isabstract(cls):
        raise ConfigurationError(f"{path}: {cls.__name__} is abstract, so it has no instances")
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return  # a class without a readable signature is not checked
    for parameter in parameters:
        is_required = parameter.default is parameter.empty and parameter.kind not in _VARIADIC
        has_value = parameter.kind != parameter.POSITIONAL_ONLY and parameter.name in keywords
        if is_required and not has_value:
            raise ConfigurationError(
                f"{path}: the constructor of {cls.__name__} requires {parameter.name!r}, which is "
                "not a field, so there is no value for it; give it a default"
            )
    if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        accepted = {p.name for p in parameters if p.kind != p.POSITIONAL_ONLY}
        if rejected := sorted(keywords - accepted - {""}):
            raise ConfigurationError(
                f"{path}: the constructor of {cls.__name__} does not take its field {rejected[0]!r}"
            )
