"""``ReasoningRecord``: what reflexion, grounding and GSAR need when a thread is resumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from locus.core.frozendict import FrozenDict, make_frozen_copy, to_frozen_dict


def _to_frozen_json(value: Mapping[str, Any] | None) -> FrozenDict[str, Any] | None:
    """Copy a JSON mapping, so that later changes to it have no effect; None stays None."""
    if value is None:
        return None
    return to_frozen_dict(make_frozen_copy(to_frozen_dict(value, "a record of reasoning")))


def _validate_count(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"ReasoningRecord.{field.name} is an integer, not {value!r}")


def _to_text_tuple(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.frozen
class ReasoningRecord:
    """What an agent has found out about its own work since the last words of the user.

    :param reflected_iteration: the number of the model call whose tool calls were looked at last,
        to assess them or not; 0 if none were.
    :param grounding: the last grounding report, as JSON; None if there is none.
    :param gsar: the GSAR evaluation so far, as JSON; None if there is none.
    :param grounding_iteration: the number of the model call whose answer ``grounding`` is about; 0
        if there is none.
    :param gsar_iteration: the same for ``gsar``.
    :param round_count: how many rounds of tool calls reflexion has looked at.
    :param round_digests: what the last of them called, as digests. The rounds themselves may have
        been summarized since.
    """

    reflected_iteration: int = attrs.field(default=0, validator=_validate_count)
    grounding: Mapping[str, Any] | None = attrs.field(default=None, converter=_to_frozen_json)
    gsar: Mapping[str, Any] | None = attrs.field(default=None, converter=_to_frozen_json)
    grounding_iteration: int = attrs.field(default=0, validator=_validate_count)
    gsar_iteration: int = attrs.field(default=0, validator=_validate_count)
    round_count: int = attrs.field(default=0, validator=_validate_count)
    round_digests: tuple[str, ...] = attrs.field(default=(), converter=_to_text_tuple)
