"""How a state is written down: as JSON that says its format, in one piece or item by item.

The members are the fields of :class:`~locus.core.state.AgentState`, those at their default left
out, and ``locus_state``, the version of the format. A checkpointer that appends writes the messages
and the executions one by one, and then the state without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from locus.core.errors import ConfigurationError
from locus.core.json_converter import FAILURES, build, decode, encode, explain
from locus.core.messages import Message
from locus.core.state import VERSION, AgentState, StateFormatError, ToolExecution

if TYPE_CHECKING:
    from cattrs.preconf.msgspec import MsgspecJsonConverter

T = TypeVar("T", Message, ToolExecution)

_VERSION: Final = "locus_state"


@cache
def _converter() -> MsgspecJsonConverter:
    return build(strict=False)


def write_state(state: AgentState) -> bytes:
    """The whole state as JSON."""
    return _write(state, {_VERSION: VERSION})


def write_item(item: Message | ToolExecution) -> bytes:
    """One message or execution as JSON."""
    return _write(item, {})


def _write(value: AgentState | Message | ToolExecution, head: dict[str, Any]) -> bytes:
    try:
        return encode(head | _converter().unstructure(value))
    except FAILURES as why:
        raise ConfigurationError(f"the state cannot be saved as JSON: {why}") from why


def read_state(data: bytes | str) -> AgentState:
    """The state that :func:`write_state` wrote."""
    try:
        plain = decode(data)
    except FAILURES as why:
        raise StateFormatError(f"this is not a saved state: {why}") from why
    version = plain.get(_VERSION) if isinstance(plain, dict) else None
    if type(version) is not int or version < 1:
        raise StateFormatError(f"this is not a saved state: it has no version in {_VERSION!r}")
    if version > VERSION:
        raise StateFormatError(
            f"this state is in format {version}, and this version of Locus knows formats up to "
            f"{VERSION}: it was saved by a newer one, which can read it",
            newer=True,
        )
    state: AgentState = _structure(plain, AgentState)
    return state


def read_items(kind: type[T], items: Sequence[bytes]) -> tuple[T, ...]:
    """The messages or executions that :func:`write_item` wrote."""
    try:
        plain = [decode(item) for item in items]
    except FAILURES as why:
        raise StateFormatError(f"this is not a saved {kind.__name__}: {why}") from why
    many: Any = tuple[kind, ...]  # type: ignore[valid-type]
    return _structure(plain, many)  # type: ignore[no-any-return]


def _structure(plain: Any, kind: type[Any]) -> Any:
    try:
        return _converter().structure(plain, kind)
    except FAILURES as why:
        raise StateFormatError(f"this is not a saved state: {explain(why)}") from why
