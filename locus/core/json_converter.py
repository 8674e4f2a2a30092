"""The cattrs converter between Locus's own values and JSON.

What was dumped is loaded equal, or not at all. So nothing is coerced (a number is no text), and
where a value may be of several classes its ``type`` says which. Members at their default are left
out. Bytes are base64. The caller's own values (arguments, metadata, provider state) have to be
JSON already; of what JSON cannot say only a tuple is taken, and comes back as a list.

A member that no field is named after is refused by the strict converter. The lenient one skips it:
it reads what a later version has saved, which may have more to say.
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
from locus.core.frozendict import DEEPEST, frozen_dict
from locus.core.messages import (
    Content,
    ImagePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
)

In = Callable[[Any, Any], Any]
Out = Callable[[Any], Any]

_PARTS: Final[Mapping[str, type[Part]]] = {
    "text": TextPart,
    "image": ImagePart,
    "refusal": RefusalPart,
    "thinking": ThinkingPart,
}
_TAGS: Final[Mapping[type, str]] = {part: tag for tag, part in _PARTS.items()}

FAILURES: Final = (BaseValidationError, TypeError, ValueError, RecursionError)
"""What goes wrong where data is not of a kind; errors of JSON and of UTF-8 are ValueErrors."""


def build(*, strict: bool = True) -> MsgspecJsonConverter:
    """A new converter, which refuses unknown members or skips them."""
    converter = make_converter()
    for kind, read in _SCALARS.items():
        converter.register_structure_hook(kind, read)
    converter.register_structure_hook_factory(attrs.has, _object_in if strict else _some_in)
    converter.register_unstructure_hook_factory(attrs.has, _object_out)
    converter.register_structure_hook_factory(_is_mapping, _mapping_in)
    converter.register_unstructure_hook_factory(_is_mapping, lambda _: as_json)
    converter.register_structure_hook_factory(_is_sequence, _sequence_in)
    converter.register_unstructure_hook_factory(_is_sequence, _sequence_out)
    converter.register_structure_hook_func(lambda kind: kind == Part, _part_in(converter))
    converter.register_structure_hook_func(lambda kind: kind == Content, _content_in(converter))
    converter.register_unstructure_hook_func(
        lambda kind: kind in (Part, Content), lambda value: converter.unstructure(value)
    )
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    return converter


def dump(converter: Converter, value: Any) -> bytes:
    """``value`` as JSON bytes; one of ``FAILURES`` where that would lose something."""
    return encode(converter.unstructure(value))


def encode(plain: Any) -> bytes:
    """Dictionaries and lists as JSON bytes."""
    # The standard library's encoder, for it writes NaN and, escaped, half a surrogate pair: a
    # server may send either, and a conversation must be kept as it is.
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(surrogate_pairs.mark(plain, text), separators=(",", ":")).encode()


def load(converter: Converter, data: bytes | str, kind: Any) -> Any:
    """The value of ``kind`` in ``data``, or one of ``FAILURES``."""
    return converter.structure(decode(data), kind)


def decode(data: bytes | str) -> Any:
    """Dictionaries and lists from JSON, or one of ``FAILURES``."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        # Only here can there be half a surrogate pair, which msgspec refuses.
        return surrogate_pairs.unmark(json.loads(data))


def explain(why: BaseException) -> str:
    """What was wrong, and where: ``required, but missing @ $.tool_calls[0].name``."""
    return "; ".join(transform_error(why, format_exception=_words))


def _words(why: BaseException, _: type | None) -> str:
    if isinstance(why, ForbiddenExtraKeysError):
        return f"unknown: {', '.join(sorted(why.extra_fields))}"
    return "required, but missing" if isinstance(why, KeyError) else str(why)


# Scalars, as strict as JSON is.


def _scalar(*kinds: type, name: str) -> In:
    def read(value: Any, _: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError(f"{name} is wanted, not {_named(value)}")
        return value

    return read


def _bytes_in(value: Any, _: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"base64 text is wanted, not {_named(value)}")
    return base64.b64decode(value, validate=True)


_SCALARS: Final[Mapping[type, In]] = {
    str: _scalar(str, name="text"),
    bool: _scalar(bool, name="true or false"),
    int: _scalar(int, name="a whole number"),
    float: _scalar(float, int, name="a number"),
    bytes: _bytes_in,
}


def _named(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", type(None): "null"}
    return names.get(type(value)) or json.dumps(value, default=repr)


# Objects: attrs classes, the parts with their ``type``.


def _object_in(kind: Any, converter: Any, strict: bool = True) -> In:
    fields = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=strict, _cattrs_detailed_validation=True
    )
    tag = _TAGS.get(kind)
    needed = ("id", "name") if kind is ToolCall else ()  # a default must not fill in for these

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"an object is wanted, not {_named(value)}")
        for name in needed:
            if name not in value:
                raise ValueError(f"{name} is required, but missing")
        if tag is not None:
            if value.get("type") != tag:
                raise ValueError(f"type must be {tag!r}, not {_named(value.get('type'))}")
            value = {name: member for name, member in value.items() if name != "type"}
        return fields(value, kind)

    return read


def _some_in(kind: Any, converter: Any) -> In:
    return _object_in(kind, converter, strict=False)


def _object_out(kind: Any, converter: Any) -> Out:
    kept: dict[str, Any] = {"id": override(omit_if_default=False)} if kind is ToolCall else {}
    fields = make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, **kept)
    tag = _TAGS.get(kind)
    return fields if tag is None else lambda value: {"type": tag, **fields(value)}


def _part_in(converter: Converter) -> In:
    def read(value: Any, _: Any) -> Any:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in _PARTS:
            raise ValueError(f"a part is an object whose type is one of {', '.join(_PARTS)}")
        return converter.structure(value, _PARTS[kind])

    return read


def _content_in(converter: Converter) -> In:
    def read(value: Any, _: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return converter.structure(value, tuple[Part, ...])

    return read


# Arrays.


def _is_sequence(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (tuple, list)


def _sequence_in(kind: Any, converter: Any) -> In:
    member: Any = (get_args(kind) or (Any,))[0]
    list_kind: Any = list[member]
    read_list = list_structure_factory(list_kind, converter)
    make = get_origin(kind) or kind

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"an array is wanted, not {_named(value)}")
        return make(read_list(value, None))

    return read


def _sequence_out(_: Any, converter: Any) -> Out:
    return lambda values: [converter.unstructure(value) for value in values]


# The caller's own JSON.


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _mapping_in(kind: Any, converter: Any) -> In:
    read_members = make_mapping_structure_fn(kind, converter, structure_to=dict)

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"an object is wanted, not {_named(value)}")
        return frozen_dict(read_members(value, kind))

    return read


def as_json(value: Any, depth: int = 0) -> Any:
    """A value of the caller's own, which has to be JSON already, in new dictionaries and lists.

    :raises TypeError: it is none.
    :raises ValueError: it is nested too deep.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth == DEEPEST:
        raise ValueError(f"there is a recursion, or more than {DEEPEST} levels of nesting")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"the name of a member must be text, not {name!r}")
        return {name: as_json(member, depth + 1) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(member, depth + 1) for member in value]
    raise TypeError(f"{type(value).__name__} is not JSON")
