"""Render a tool's result as text for the model: a string as it is, any other value as JSON.

A value that cannot be represented in JSON is an error; its ``repr`` is never used instead.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import UserList, UserString, deque
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from copy import copy
from decimal import Decimal
from functools import partial
from io import IOBase
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, Final

import attrs
import msgspec

from locus.core.messages import ImagePart
from locus.core.structured.describe_invalid_values import describe_exception
from locus.core.surrogate_halves import repair_text
from locus.tools.read_iterators import read_iterator

_BASE_CLASSES: Final[tuple[Any, ...]] = (str, int, float, Decimal, bytes, bytearray)
"""What a value of a subclass, such as numpy's float64, is written as."""

_CONVERTED_CONTAINERS: Final[tuple[Any, ...]] = (
    Mapping, UserList, SimpleNamespace, AbstractSet, ValuesView, deque, Iterator,
)  # fmt: skip
"""Containers that msgspec does not know. An iterator can be read only once, so not by its hook,
which runs again if there is an unpaired surrogate."""

SCALAR_TYPES: Final = frozenset({str, int, float, bool, type(None)})


@contextmanager
def explain_rendering_errors(result: Any) -> Iterator[None]:
    """Raise a ``TypeError`` that names the type of a result for any error of its own code."""
    try:
        yield
        return
    except RecursionError:
        reason = "it is nested too deeply, or contains itself"
        cause: Exception | None = None
    except Exception as exc:  # noqa: BLE001 - the value's own code may raise anything
        reason, cause = describe_exception(exc), exc
    raise TypeError(
        f"a tool's result of type {type(result).__name__} cannot be written as JSON: {reason}; "
        "return a string, or a value that can be represented in JSON"
    ) from cause


def render_result(result: Any) -> str:
    """Render a tool's result as text.

    A string stays as it is. JSON is written for numbers, ``None``, lists, tuples, sets, mappings,
    attrs classes, dataclasses, ``TypedDict``, msgspec structs, pydantic models, enums (their
    values), dates and times (RFC 3339), ``timedelta`` (ISO 8601), ``Decimal``, ``UUID`` and paths
    (strings), ``bytes`` (base64), iterators and generators (a list of what they give), and for
    objects with ``tolist()``, such as numpy's arrays. NaN
    and infinity become null. An unpaired surrogate, which UTF-8 cannot encode, becomes U+FFFD. Keys
    become strings, ``None`` and ``True`` as in ``json.dumps``: ``null`` and ``true``. An image is
    only described; :func:`~locus.tools.result_content.render_result_content` keeps it.

    :raises TypeError: if the value cannot be represented in JSON, if two of its keys are the same
        in JSON, or if the value's own code raises an exception; the message names the type.
    """
    if type(result) in SCALAR_TYPES:  # the usual case, in which nothing of the user's runs
        text = result if type(result) is str else _encode_json(result, [])
        return text if text.isascii() else repair_text(text)
    return render_result_and_find_images(result)[0]


def render_result_and_find_images(result: Any) -> tuple[str, list[ImagePart]]:
    """Render a tool's result as text; return that and the images in it, which it describes.

    :raises TypeError: as :func:`render_result`.
    """
    images: list[ImagePart] = []
    with explain_rendering_errors(result):
        if isinstance(result, str):
            text = str.__str__(result)
        else:
            text = _encode_json(_convert_class_instances(result, images), images)
        return (text if text.isascii() else repair_text(text)), images


def _encode_json(value: Any, images: list[ImagePart]) -> str:
    """Encode a value as JSON, with unpaired surrogates replaced."""
    convert = partial(_convert_unknown_type, images=images)
    try:
        return msgspec.json.encode(value, enc_hook=convert).decode()
    except UnicodeEncodeError:  # there is an unpaired surrogate in it
        builtins = msgspec.to_builtins(value, enc_hook=convert, str_keys=True)
        return msgspec.json.encode(_repair_all_surrogates(builtins)).decode()


def _repair_all_surrogates(value: Any) -> Any:
    """Repair every string in a value that consists of JSON's own types."""
    if isinstance(value, str):
        return repair_text(value)
    if isinstance(value, dict):
        return _build_unique_dict(
            (repair_text(key), _repair_all_surrogates(item)) for key, item in value.items()
        )
    return [_repair_all_surrogates(item) for item in value] if isinstance(value, list) else value


def _convert_class_instances(value: Any, images: list[ImagePart]) -> Any:
    """Convert attrs classes and dataclasses in a value to dictionaries.

    msgspec converts them too, but it sorts the fields of attrs classes, leaves out fields whose
    names begin with an underscore, and adds attributes that are not fields.

    :param images: the images in the value are added to it, in the order of the JSON.
    """
    cls = type(value)
    if cls in SCALAR_TYPES:
        return value
    if cls is ImagePart:
        images.append(value)
        return describe_image(value)
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            return {key: _convert_class_instances(item, images) for key, item in value.items()}
        return _build_unique_dict(
            (_convert_key_to_text(key), _convert_class_instances(item, images))
            for key, item in value.items()
        )
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_convert_class_instances(item, images) for item in value]
    if cls is not type and not hasattr(cls, "__pydantic_serializer__"):
        if attrs.has(cls):
            return _convert_fields_to_dict(value, attrs.fields(cls), images)
        if dataclasses.is_dataclass(cls):
            return _convert_fields_to_dict(value, dataclasses.fields(cls), images)
        if isinstance(value, msgspec.Struct):
            return _convert_struct_fields(value, images)
        if isinstance(value, _CONVERTED_CONTAINERS) and not isinstance(value, IOBase):
            return _convert_unknown_type(value, images)
    return value


def _convert_time_of_subclass(value: Any) -> Any:
    """Convert a date or time of a subclass, such as pandas' and pendulum's, to one of the class.

    A moment that is none, such as pandas' ``NaT``, is not equal to itself, and becomes None.
    """
    if value != value:
        return None
    if isinstance(value, datetime.timedelta):
        return datetime.timedelta(value.days, value.seconds, value.microseconds)
    if isinstance(value, datetime.time):
        clock = (value.hour, value.minute, value.second, value.microsecond, value.tzinfo)
        return datetime.time(*clock, fold=value.fold)
    if not isinstance(value, datetime.datetime):
        return datetime.date(value.year, value.month, value.day)
    return datetime.datetime.combine(
        datetime.date(value.year, value.month, value.day),
        datetime.time(value.hour, value.minute, value.second, value.microsecond, fold=value.fold),
        value.tzinfo,
    )


def describe_image(image: ImagePart, reason: str = "") -> str:
    """Describe an image in a few words, in place of it.

    :param reason: why it is not shown.
    """
    if image.data is not None:
        what = f"{image.media_type}, {len(image.data)} bytes"
    else:
        url = image.url or ""
        is_data = url[:5].lower() == "data:"
        what = f"{url.partition(',')[0][:80]}, {len(url)} characters" if is_data else url
    return f"[image: {what}{reason and f'; {reason}'}]"


def _convert_key_to_text(key: Any) -> str:
    """Convert a key to a string; ``None``, ``True`` and ``False`` as ``json.dumps`` does."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return "null" if key is None else str(key).lower()
    (text,) = msgspec.to_builtins({key: None}, str_keys=True)
    return str(text)


def _build_unique_dict(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Build a dictionary; two equal keys are an error."""
    result: dict[str, Any] = {}
    for key, value in items:
        if key in result:
            raise TypeError(f"two of its keys are {key!r} in JSON")
        result[key] = value
    return result


def _convert_fields_to_dict(
    value: Any, fields: Iterable[Any], images: list[ImagePart]
) -> dict[str, Any]:
    """Convert an object to a dictionary of its fields that have a value."""
    names = (field.name for field in fields)
    return {
        name: _convert_class_instances(getattr(value, name), images)
        for name in names
        if hasattr(value, name)
    }


def _convert_struct_fields(value: msgspec.Struct, images: list[ImagePart]) -> msgspec.Struct:
    """Return a copy of a struct with its values converted; msgspec knows how to write the rest."""
    converted = copy(value)
    for name in value.__struct_fields__:
        member = getattr(value, name)
        if type(member) not in SCALAR_TYPES and member is not msgspec.UNSET:
            msgspec.structs.force_setattr(converted, name, _convert_class_instances(member, images))
    return converted


def _convert_unknown_type(value: Any, images: list[ImagePart]) -> Any:
    """Convert a value of a type that msgspec does not know to one that it knows."""
    for cls in _BASE_CLASSES:
        if isinstance(value, cls):
            return cls(value)
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return _convert_time_of_subclass(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return _convert_class_instances(dict(value), images)
    if isinstance(value, UserString):
        return value.data
    if isinstance(value, SimpleNamespace):
        return _convert_class_instances(vars(value), images)
    if isinstance(value, (AbstractSet, ValuesView, deque, range, UserList)):
        return _convert_class_instances(list(value), images)
    if isinstance(value, Iterator) and not isinstance(value, IOBase):
        return _convert_class_instances(read_iterator(value), images)
    if hasattr(type(value), "__pydantic_serializer__"):
        return type(value).__pydantic_serializer__.to_python(value, mode="json")
    if not isinstance(value, type) and callable(to_list := getattr(value, "tolist", None)):
        # numpy has no dates that are exact to the nanosecond: it would write large numbers.
        unit = getattr(getattr(value, "dtype", None), "name", "")
        is_exact_time = unit.startswith(("datetime64[", "timedelta64[")) and unit.endswith(
            ("[ns]", "[ps]", "[fs]", "[as]")
        )
        return value.astype(f"{unit[:-4]}[us]").tolist() if is_exact_time else to_list()
    raise TypeError(f"{type(value).__name__} is not supported")
