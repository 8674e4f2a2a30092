"""Converts Locus's own classes to JSON and back, with cattrs.

A value that was dumped is loaded equal, or loading it is an error. So nothing is coerced (a number
is not text), and where a value may be of several classes, its member ``type`` tells which. Fields
at their default are not written. Bytes are written as base64. The caller's own values (arguments,
metadata, provider state) have to be JSON values already; only a tuple is accepted as well, and is
loaded as a list.

An unknown member is an error to the strict converter. The lenient one ignores it, so that it can
load what a later version has saved.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
import msgspec
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error
from cattrs.cols import list_structure_factory
from cattrs.gen import (
    make_dict_structure_fn,
    make_dict_unstructure_fn,
    make_mapping_structure_fn,
    override,
)
from cattrs.preconf.msgspec import MsgspecJsonConverter, make_converter

from locus.core import preserve_split_surrogates
from locus.core.errors import ConfigurationError
from locus.core.frozendict import MAX_DEPTH, to_frozen_dict
from locus.core.messages import (
    PART_TYPES,
    BasePart,
    Content,
    Message,
    Part,
    ResultContent,
    ToolCall,
)
from locus.core.raw_response import RawResponse
from locus.core.state_upgrade import (
    mark_message_as_current_format,
    move_native_state_out_of_metadata,
)

T = TypeVar("T")

StructureHook = Callable[[Any, Any], Any]
UnstructureHook = Callable[[Any], Any]

_PARTS: Final[Mapping[str, type[Part]]] = {cls.tag: cls for cls in PART_TYPES}

CONVERSION_ERRORS: Final = (BaseValidationError, TypeError, ValueError, RecursionError)
"""What dumping and loading raise; the errors of JSON and of UTF-8 are ValueErrors."""


def build_json_converter(*, strict: bool = True) -> MsgspecJsonConverter:
    """Build a new cattrs converter for Locus's own classes.

    :param strict: whether an unknown member is an error; else it is ignored.
    """
    converter = make_converter()
    for cls, structure in _SCALAR_HOOKS.items():
        converter.register_structure_hook(cls, structure)
    converter.register_structure_hook_factory(
        attrs.has,
        _make_strict_object_structure_hook if strict else _make_lenient_object_structure_hook,
    )
    converter.register_unstructure_hook_factory(attrs.has, _make_object_unstructure_hook)
    converter.register_structure_hook_factory(_is_mapping_type, _make_mapping_structure_hook)
    converter.register_unstructure_hook_factory(_is_mapping_type, lambda _: copy_json_value)
    converter.register_structure_hook_factory(_is_sequence_type, _make_sequence_structure_hook)
    converter.register_unstructure_hook_factory(_is_sequence_type, _make_sequence_unstructure_hook)
    converter.register_structure_hook_func(
        lambda type_: type_ == Part, _make_part_structure_hook(converter)
    )
    converter.register_structure_hook_func(
        lambda type_: type_ in (Content, ResultContent), _make_content_structure_hook(converter)
    )
    converter.register_unstructure_hook_func(
        lambda type_: type_ in (Part, Content, ResultContent),
        lambda value: converter.unstructure(value),
    )
    converter.register_unstructure_hook(RawResponse, _unstructure_response_source)
    converter.register_structure_hook(RawResponse, _structure_response_source)
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    return converter


@cache
def _get_strict_converter() -> MsgspecJsonConverter:
    return build_json_converter()


def dumps(value: Any) -> bytes:
    """Encode a message, a response, an event, or a list or tuple of them as JSON.

    :func:`loads` returns an equal value.

    :raises ConfigurationError: if the value cannot be represented in JSON; the message names the
        reason.
    """
    try:
        return encode_json(_get_strict_converter().unstructure(value))
    except CONVERSION_ERRORS as exc:
        raise ConfigurationError(f"this cannot be written as JSON: {exc}") from exc


def encode_json(value: Any) -> bytes:
    """Encode dictionaries and lists as JSON."""
    # The standard library's encoder writes NaN and, escaped, half a surrogate pair. A server may
    # send either, and the conversation has to be saved unchanged.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(
            preserve_split_surrogates.insert_pair_separators(value, text), separators=(",", ":")
        ).encode()


def loads(data: bytes | str, type_: type[T]) -> T:
    """Decode what :func:`dumps` returned to a ``type_`` such as ``tuple[Message, ...]``.

    :raises ConfigurationError: if ``data`` is not such a value; the message names the field and
        the reason.
    """
    try:
        return _get_strict_converter().structure(decode_json(data), type_)
    except CONVERSION_ERRORS as exc:
        name = type_.__name__ if isinstance(type_, type) and not get_args(type_) else str(type_)
        raise ConfigurationError(f"this is not {name}: {format_conversion_error(exc)}") from exc


def decode_json(data: bytes | str) -> Any:
    """Decode JSON to dictionaries and lists; raises one of ``CONVERSION_ERRORS``."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        # There may be half a surrogate pair, which msgspec does not accept.
        return preserve_split_surrogates.remove_pair_separators(json.loads(data))


_PRIVATE_NAME: Final = re.compile(r"\._(?=content\b)")


def format_conversion_error(exc: BaseException) -> str:
    """Format a conversion error as one line, with its JSON path.

    For example ``required, but missing @ $.tool_calls[0].name``.
    """
    errors = transform_error(exc, format_exception=_format_single_error)
    # The path has the names of attributes; in JSON a private one has the name of its parameter.
    return "; ".join(_PRIVATE_NAME.sub(".", error) for error in errors)


def _format_single_error(exc: BaseException, _: type | None) -> str:
    """Format one error inside a conversion error; the converter calls this."""
    if isinstance(exc, ForbiddenExtraKeysError):
        return f"unknown: {', '.join(sorted(exc.extra_fields))}"
    return "required, but missing" if isinstance(exc, KeyError) else str(exc)


# Scalars: as strict as JSON is.


def _make_scalar_structure_hook(*types: type, name: str) -> StructureHook:
    """Make a function that accepts values of exactly these types.

    :param name: the expected value, for the error message.
    """

    def structure_scalar(value: Any, _: Any) -> Any:
        if type(value) not in types:
            raise TypeError(f"expected {name}, not {_describe_json_value(value)}")
        return value

    return structure_scalar


def _decode_base64_text(value: Any, _: Any) -> bytes:
    """Decode base64 text to bytes."""
    if not isinstance(value, str):
        raise TypeError(f"expected base64 text, not {_describe_json_value(value)}")
    return base64.b64decode(value, validate=True)


_SCALAR_HOOKS: Final[Mapping[type, StructureHook]] = {
    str: _make_scalar_structure_hook(str, name="text"),
    bool: _make_scalar_structure_hook(bool, name="true or false"),
    int: _make_scalar_structure_hook(int, name="an integer"),
    float: _make_scalar_structure_hook(float, int, name="a number"),
    bytes: _decode_base64_text,
}


def _describe_json_value(value: Any) -> str:
    """Describe a JSON value for an error message: its kind, or a scalar itself."""
    names = {dict: "an object", list: "an array", str: "text", type(None): "null"}
    return names.get(type(value)) or json.dumps(value, default=repr)


# Objects: attrs classes; the parts have a member ``type``.


def _make_strict_object_structure_hook(cls: Any, converter: Any) -> StructureHook:
    return _make_object_structure_hook(cls, converter, strict=True)


def _make_lenient_object_structure_hook(cls: Any, converter: Any) -> StructureHook:
    return _make_object_structure_hook(cls, converter, strict=False)


def _make_object_structure_hook(cls: Any, converter: Any, *, strict: bool) -> StructureHook:
    """Make a function that builds an object of an attrs class from a dictionary.

    :param strict: whether an unknown member is an error.
    """
    structure_fields = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=strict,
        _cattrs_detailed_validation=True,
        _cattrs_use_alias=True,
    )
    tag = _find_part_tag(cls)
    required = ("id", "name") if cls is ToolCall else ()  # a default must not replace these
    is_message = cls is Message

    def structure_object(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, not {_describe_json_value(value)}")
        for name in required:
            if name not in value:
                raise ValueError(f"{name} is required, but missing")
        if tag is not None:
            if value.get("type") != tag:
                raise ValueError(
                    f"type must be {tag!r}, not {_describe_json_value(value.get('type'))}"
                )
            value = {name: member for name, member in value.items() if name != "type"}
        if is_message:
            value = move_native_state_out_of_metadata(value)
        return structure_fields(value, cls)

    return structure_object


def _make_object_unstructure_hook(cls: Any, converter: Any) -> UnstructureHook:
    """Make a function that converts an object of an attrs class to a dictionary."""
    overrides: dict[str, Any] = {"id": override(omit_if_default=False)} if cls is ToolCall else {}
    unstructure_fields = make_dict_unstructure_fn(
        cls, converter, _cattrs_omit_if_default=True, _cattrs_use_alias=True, **overrides
    )
    tag = _find_part_tag(cls)
    if cls is Message:
        return lambda value: mark_message_as_current_format(unstructure_fields(value))
    if tag is None:
        return unstructure_fields
    return lambda value: {"type": tag, **unstructure_fields(value)}


def _find_part_tag(cls: type) -> str | None:
    """Return the member ``type`` of the objects of ``cls``; None if it is not a part.

    :raises TypeError: if it is a subclass of a part: it could not be loaded as what it was.
    """
    if not issubclass(cls, BasePart):
        return None
    if cls not in PART_TYPES:
        names = ", ".join(part.__name__ for part in PART_TYPES)
        raise TypeError(f"{cls.__name__} is not one of the parts that can be saved ({names})")
    return cls.tag


def _unstructure_response_source(source: RawResponse) -> dict[str, Any]:
    members = {"raw": source.raw, "headers": source.headers}
    return {name: copy_json_value(value) for name, value in members.items() if value}


def _structure_response_source(value: Any, _: Any) -> RawResponse:
    if not isinstance(value, dict):
        raise ValueError(f"a response source is an object, not {type(value).__name__}")
    raw, headers = value.get("raw", {}), value.get("headers", {})
    if not isinstance(raw, dict) or not isinstance(headers, dict):
        raise ValueError("the raw JSON and the headers of a response are objects")
    return RawResponse(raw, headers=headers)


def _make_part_structure_hook(converter: Converter) -> StructureHook:
    """Make a function that builds a part of the class that ``type`` names."""

    def structure_part(value: Any, _: Any) -> Any:
        tag = value.get("type") if isinstance(value, dict) else None
        if not isinstance(tag, str) or tag not in _PARTS:
            raise ValueError(f"a part is an object whose type is one of {', '.join(_PARTS)}")
        return converter.structure(value, _PARTS[tag])

    return structure_part


def _make_content_structure_hook(converter: Converter) -> StructureHook:
    """Make a function that builds the content of a message: text, parts, or None."""

    def structure_content(value: Any, _: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return converter.structure(value, tuple[Part, ...])

    return structure_content


# Arrays.


def _is_sequence_type(type_: Any) -> bool:
    return (get_origin(type_) or type_) in (tuple, list)


def _make_sequence_structure_hook(type_: Any, converter: Any) -> StructureHook:
    """Make a function that builds a tuple or list from an array."""
    item_type: Any = (get_args(type_) or (Any,))[0]
    list_type: Any = list[item_type]
    structure_list = list_structure_factory(list_type, converter)
    sequence_class = get_origin(type_) or type_

    def structure_sequence(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"expected an array, not {_describe_json_value(value)}")
        return sequence_class(structure_list(value, None))

    return structure_sequence


def _make_sequence_unstructure_hook(_: Any, converter: Any) -> UnstructureHook:
    return lambda values: [converter.unstructure(value) for value in values]


# Mappings: the caller's own JSON values.


def _is_mapping_type(type_: Any) -> bool:
    origin = get_origin(type_) or type_
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _make_mapping_structure_hook(type_: Any, converter: Any) -> StructureHook:
    """Make a function that builds an immutable mapping from a dictionary."""
    structure_members = make_mapping_structure_fn(type_, converter, structure_to=dict)

    def structure_mapping(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, not {_describe_json_value(value)}")
        return to_frozen_dict(structure_members(value, type_))

    return structure_mapping


def copy_json_value(value: Any, depth: int = 0) -> Any:
    """Copy a JSON value into new dictionaries and lists; mappings and tuples are accepted, too.

    :raises TypeError: if something in it is not JSON.
    :raises ValueError: if it is nested too deep.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth == MAX_DEPTH:
        raise ValueError(f"there is a recursion, or more than {MAX_DEPTH} levels of nesting")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"the name of a member must be text, not {name!r}")
        return {name: copy_json_value(member, depth + 1) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [copy_json_value(member, depth + 1) for member in value]
    raise TypeError(f"{type(value).__name__} is not JSON")
