"""Converts Locus's own classes to JSON and back, with cattrs.

A value that was dumped is loaded equal, or loading it is an error. So nothing is coerced (a number
is no text), and where a value may be of several classes, its member ``type`` tells which. Fields
at their default are not written. Bytes are written as base64. The caller's own values (arguments,
metadata, provider state) have to be JSON values already; only a tuple is accepted as well, and is
loaded as a list.

An unknown member is an error to the strict converter. The lenient one ignores it, so that it can
load what a later version has saved.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args, get_origin

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

from locus.core import surrogate_pairs
from locus.core.frozendict import MAX_DEPTH, to_frozen_dict
from locus.core.messages import (
    Content,
    ImagePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
)

StructureHook = Callable[[Any, Any], Any]
UnstructureHook = Callable[[Any], Any]

_PARTS: Final[Mapping[str, type[Part]]] = {
    "text": TextPart,
    "image": ImagePart,
    "refusal": RefusalPart,
    "thinking": ThinkingPart,
}
_TAGS: Final[Mapping[type, str]] = {part: tag for tag, part in _PARTS.items()}

CONVERSION_ERRORS: Final = (BaseValidationError, TypeError, ValueError, RecursionError)
"""What dumping and loading raise; the errors of JSON and of UTF-8 are ValueErrors."""


def build_converter(*, strict: bool = True) -> MsgspecJsonConverter:
    """Make a new converter.

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
    converter.register_structure_hook_factory(_is_mapping, _make_mapping_structure_hook)
    converter.register_unstructure_hook_factory(_is_mapping, lambda _: to_json_value)
    converter.register_structure_hook_factory(_is_sequence, _make_sequence_structure_hook)
    converter.register_unstructure_hook_factory(_is_sequence, _make_sequence_unstructure_hook)
    converter.register_structure_hook_func(
        lambda type_: type_ == Part, _make_part_structure_hook(converter)
    )
    converter.register_structure_hook_func(
        lambda type_: type_ == Content, _make_content_structure_hook(converter)
    )
    converter.register_unstructure_hook_func(
        lambda type_: type_ in (Part, Content), lambda value: converter.unstructure(value)
    )
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    return converter


def dump_json(converter: Converter, value: Any) -> bytes:
    """``value`` as JSON bytes.

    Raises one of ``CONVERSION_ERRORS`` if JSON cannot represent it.
    """
    return encode_json(converter.unstructure(value))


def encode_json(value: Any) -> bytes:
    """Dictionaries and lists as JSON bytes."""
    # The standard library's encoder writes NaN and, escaped, half a surrogate pair. A server may
    # send either, and the conversation has to be saved unchanged.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(
            surrogate_pairs.mark_split_pairs(value, text), separators=(",", ":")
        ).encode()


def load_json(converter: Converter, data: bytes | str, type_: Any) -> Any:
    """The value of ``type_`` in ``data``; raises one of ``CONVERSION_ERRORS``."""
    return converter.structure(decode_json(data), type_)


def decode_json(data: bytes | str) -> Any:
    """Dictionaries and lists from JSON; raises one of ``CONVERSION_ERRORS``."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        # There may be half a surrogate pair, which msgspec does not accept.
        return surrogate_pairs.unmark_split_pairs(json.loads(data))


def explain_error(exc: BaseException) -> str:
    """The message of a conversion error, with its JSON path.

    For example ``required, but missing @ $.tool_calls[0].name``.
    """
    return "; ".join(transform_error(exc, format_exception=_format_exception))


def _format_exception(exc: BaseException, _: type | None) -> str:
    if isinstance(exc, ForbiddenExtraKeysError):
        return f"unknown: {', '.join(sorted(exc.extra_fields))}"
    return "required, but missing" if isinstance(exc, KeyError) else str(exc)


# Scalars: as strict as JSON is.


def _make_scalar_structure_hook(*types: type, name: str) -> StructureHook:
    def structure(value: Any, _: Any) -> Any:
        if type(value) not in types:
            raise TypeError(f"{name} is wanted, not {_describe_value(value)}")
        return value

    return structure


def _structure_bytes(value: Any, _: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"base64 text is wanted, not {_describe_value(value)}")
    return base64.b64decode(value, validate=True)


_SCALAR_HOOKS: Final[Mapping[type, StructureHook]] = {
    str: _make_scalar_structure_hook(str, name="text"),
    bool: _make_scalar_structure_hook(bool, name="true or false"),
    int: _make_scalar_structure_hook(int, name="a whole number"),
    float: _make_scalar_structure_hook(float, int, name="a number"),
    bytes: _structure_bytes,
}


def _describe_value(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", type(None): "null"}
    return names.get(type(value)) or json.dumps(value, default=repr)


# Objects: attrs classes; the parts have a member ``type``.


def _make_strict_object_structure_hook(cls: Any, converter: Any) -> StructureHook:
    return _make_object_structure_hook(cls, converter, strict=True)


def _make_lenient_object_structure_hook(cls: Any, converter: Any) -> StructureHook:
    return _make_object_structure_hook(cls, converter, strict=False)


def _make_object_structure_hook(cls: Any, converter: Any, *, strict: bool) -> StructureHook:
    structure_fields = make_dict_structure_fn(
        cls, converter, _cattrs_forbid_extra_keys=strict, _cattrs_detailed_validation=True
    )
    tag = _TAGS.get(cls)
    required = ("id", "name") if cls is ToolCall else ()  # a default must not replace these

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"an object is wanted, not {_describe_value(value)}")
        for name in required:
            if name not in value:
                raise ValueError(f"{name} is required, but missing")
        if tag is not None:
            if value.get("type") != tag:
                raise ValueError(f"type must be {tag!r}, not {_describe_value(value.get('type'))}")
            value = {name: member for name, member in value.items() if name != "type"}
        return structure_fields(value, cls)

    return structure


def _make_object_unstructure_hook(cls: Any, converter: Any) -> UnstructureHook:
    overrides: dict[str, Any] = {"id": override(omit_if_default=False)} if cls is ToolCall else {}
    unstructure_fields = make_dict_unstructure_fn(
        cls, converter, _cattrs_omit_if_default=True, **overrides
    )
    tag = _TAGS.get(cls)
    if tag is None:
        return unstructure_fields
    return lambda value: {"type": tag, **unstructure_fields(value)}


def _make_part_structure_hook(converter: Converter) -> StructureHook:
    def structure(value: Any, _: Any) -> Any:
        tag = value.get("type") if isinstance(value, dict) else None
        if not isinstance(tag, str) or tag not in _PARTS:
            raise ValueError(f"a part is an object whose type is one of {', '.join(_PARTS)}")
        return converter.structure(value, _PARTS[tag])

    return structure


def _make_content_structure_hook(converter: Converter) -> StructureHook:
    def structure(value: Any, _: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return converter.structure(value, tuple[Part, ...])

    return structure


# Arrays.


def _is_sequence(type_: Any) -> bool:
    return (get_origin(type_) or type_) in (tuple, list)


def _make_sequence_structure_hook(type_: Any, converter: Any) -> StructureHook:
    item_type: Any = (get_args(type_) or (Any,))[0]
    list_type: Any = list[item_type]
    structure_list = list_structure_factory(list_type, converter)
    sequence_class = get_origin(type_) or type_

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"an array is wanted, not {_describe_value(value)}")
        return sequence_class(structure_list(value, None))

    return structure


def _make_sequence_unstructure_hook(_: Any, converter: Any) -> UnstructureHook:
    return lambda values: [converter.unstructure(value) for value in values]


# Mappings: the caller's own JSON values.


def _is_mapping(type_: Any) -> bool:
    origin = get_origin(type_) or type_
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _make_mapping_structure_hook(type_: Any, converter: Any) -> StructureHook:
    structure_members = make_mapping_structure_fn(type_, converter, structure_to=dict)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"an object is wanted, not {_describe_value(value)}")
        return to_frozen_dict(structure_members(value, type_))

    return structure


def to_json_value(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value, in new dictionaries and lists.

    :raises TypeError: something in it is not JSON.
    :raises ValueError: it is nested too deep.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth == MAX_DEPTH:
        raise ValueError(f"there is a recursion, or more than {MAX_DEPTH} levels of nesting")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"the name of a member must be text, not {name!r}")
        return {name: to_json_value(member, depth + 1) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(member, depth + 1) for member in value]
    raise TypeError(f"{type(value).__name__} is not JSON")
