"""Assigns ids to tool calls that the provider of the request accepts.

The ids in a conversation come from the provider that wrote the calls, and providers differ in which
characters and lengths they allow. An id that is allowed stays unchanged. Other ids are replaced, in
the call and in its result, and so is an id that an earlier call already has: all calls of a
conversation get different ids. A new id depends only on the call and the calls before it. So the
same conversation always gives the same request, and a longer conversation begins with the same
request as the shorter one, which prompt caches need.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from locus.core.conversation import IndexedMessage, ToolCallPosition
from locus.core.digest import compute_digest
from locus.core.messages import ToolCall
from locus.core.native_state import ISSUED_ID
from locus.core.native_state_routing import NativeStateRule


@attrs.frozen
class ToolCallIdRule:
    """Which ids of tool calls a provider accepts.

    :param pattern: matches a complete id that is accepted.
    :param make_id: makes an accepted id from any other id; different ids give different results.
    :param accepts_issued: whether an id that the provider itself has issued is accepted in any
        form.
    """

    pattern: re.Pattern[str]
    make_id: Callable[[str], str]
    accepts_issued: bool = True

    def is_accepted(self, call: ToolCall, wire_format: str | None) -> bool:
        """Return whether the provider accepts the id of a call."""
        if self.pattern.fullmatch(call.id):
            return True
        state = call.native_state
        return (
            self.accepts_issued
            and state is not None
            and state.maker.wire_format == wire_format
            and state.data.get(ISSUED_ID) == call.id
        )


def compute_call_ids(
    messages: Iterable[IndexedMessage], rule: ToolCallIdRule, wire_format: str | None = None
) -> Mapping[ToolCallPosition, str]:
    """Return the id of each call by its position. A result has the id at its ``call_position``.

    :param wire_format: the format whose native state the calls may have. An unusual id that the
        provider has issued itself is in that state, and stays unchanged.
    """
    ids: dict[ToolCallPosition, str] = {}
    used_ids: set[str] = set()
    attempts: dict[str, int] = {}  # for each repeated id: a conversation may have thousands of one
    for message in messages:
        for index, call in enumerate(message.message.tool_calls):
            call_id = call.id if rule.is_accepted(call, wire_format) else rule.make_id(call.id)
            while call_id in used_ids:
                attempt = attempts[call.id] = attempts.get(call.id, 1) + 1
                call_id = rule.make_id(f"{call.id} {attempt}")
            used_ids.add(call_id)
            ids[message.position, index] = call_id
    return ids


_COMMON_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,40}")
"""Ids that nearly every provider accepts."""


def get_unusual_id_member(call_id: str) -> dict[str, str]:
    """Return the id that a provider has issued as a member of the call's native state.

    Empty if the id needs none, because the provider accepts it from anybody.
    """
    return {ISSUED_ID: call_id} if call_id and not _COMMON_ID.fullmatch(call_id) else {}


def with_issued_id(call: ToolCall, issued_id: str | None, rule: NativeStateRule) -> ToolCall:
    """Return the call; if its id is an unusual one that its provider has issued, with that noted.

    :param issued_id: the id that the provider has sent, if any.
    """
    member = get_unusual_id_member(issued_id or "")
    if not member or call.id != issued_id:
        return call
    return attrs.evolve(call, native_state=rule.make_state(member))


ANY_ID_RULE = ToolCallIdRule(
    re.compile(r".+", re.DOTALL), lambda call_id: f"call_{compute_digest(call_id)}"
)
"""Accepts every id that is not empty."""
