"""Encodes an agent's state as versioned JSON and decodes it, as a whole or item by item.

The JSON object has the fields of the state, without those at their default, and ``locus_state``,
the version of the format. A checkpointer that saves only what is new encodes each message and each
tool execution on its own, and then the state without them.

This module imports cattrs and does not know the classes that it encodes: they import it, and only
when a state is really saved or loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from locus.core.errors import ConfigurationError, StateFormatError
from locus.core.json_converter import (
    CONVERSION_ERRORS,
    build_json_converter,
    decode_json,
    encode_json,
    format_conversion_error,
)
from locus.core.state_upgrade import add_current_metadata_mark, move_records_out_of_metadata

if TYPE_CHECKING:
    from cattrs.preconf.msgspec import MsgspecJsonConverter

T = TypeVar("T")

FORMAT_VERSION: Final = 1
"""The version of the format. New fields do not change it, because older versions of Locus skip
fields that they do not know. It goes up when an older version would misread the JSON."""

_VERSION_MEMBER: Final = "locus_state"


@cache
def _get_converter() -> MsgspecJsonConverter:
    """Return the converter of saved states, which is built once."""
    return build_json_converter(strict=False)


def encode_state(state: Any) -> bytes:
    """Encode an ``AgentState`` as JSON.

    :raises ConfigurationError: if a value in the state is not JSON; the message names it.
    """
    document = _unstructure_value(state)
    return _encode_document({_VERSION_MEMBER: FORMAT_VERSION} | add_current_metadata_mark(document))


def encode_item(item: Any) -> bytes:
    """Encode one ``Message`` or ``ToolExecution`` as JSON.

    :raises ConfigurationError: if a value in the item is not JSON; the message names it.
    """
    return _encode_document(_unstructure_value(item))


def _unstructure_value(value: Any) -> dict[str, Any]:
    """Convert a state or an item to dictionaries and lists."""
    try:
        document: dict[str, Any] = _get_converter().unstructure(value)
    except CONVERSION_ERRORS as exc:
        raise _make_encoding_error(exc) from exc
    return document


def _encode_document(document: dict[str, Any]) -> bytes:
    """Encode dictionaries and lists as JSON."""
    try:
        return encode_json(document)
    except CONVERSION_ERRORS as exc:
        raise _make_encoding_error(exc) from exc


def _make_encoding_error(exc: BaseException) -> ConfigurationError:
    return ConfigurationError(f"the state cannot be saved as JSON: {exc}")


def decode_state(data: bytes | str, cls: type[T]) -> T:
    """Decode a state that :func:`encode_state` of this or an older version of Locus wrote.

    :param cls: the class of the state.
    :raises StateFormatError: if the data is not a saved state, or a newer version saved it.
    """
    try:
        document = decode_json(data)
    except CONVERSION_ERRORS as exc:
        raise StateFormatError(f"this is not a saved state: {exc}") from exc
    version = document.get(_VERSION_MEMBER) if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise StateFormatError(
            f"this is not a saved state: it has no version in {_VERSION_MEMBER!r}"
        )
    if version > FORMAT_VERSION:
        raise StateFormatError(
            f"this state is in format {version}, and this version of Locus knows formats up to "
            f"{FORMAT_VERSION}: it was saved by a newer one, which can read it",
            newer=True,
        )
    state: T = _structure_document(move_records_out_of_metadata(document), cls)
    return state


def decode_items(items: Sequence[bytes], cls: type[T]) -> tuple[T, ...]:
    """Decode messages or tool executions that :func:`encode_item` wrote.

    :param cls: the class of the items.
    :raises StateFormatError: if one of them is not such an item.
    """
    try:
        documents = [decode_json(item) for item in items]
    except CONVERSION_ERRORS as exc:
        raise StateFormatError(f"this is not a saved {cls.__name__}: {exc}") from exc
    tuple_of_items: Any = tuple[cls, ...]  # type: ignore[valid-type]
    return _structure_document(documents, tuple_of_items)  # type: ignore[no-any-return]


def _structure_document(document: Any, type_: Any) -> Any:
    """Convert dictionaries and lists to a value of a type."""
    try:
        return _get_converter().structure(document, type_)
    except CONVERSION_ERRORS as exc:
        raise StateFormatError(
            f"this is not a saved state: {format_conversion_error(exc)}"
        ) from exc
