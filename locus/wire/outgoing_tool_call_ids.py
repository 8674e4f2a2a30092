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

import attrs

from locus.core.conversation import IndexedMessage, ToolCallPosition
from locus.core.digest import compute_digest


@attrs.frozen
class ToolCallIdRule:
    """Which ids of tool calls a provider accepts.

    :param pattern: matches a complete id that is accepted.
    :param make_id: makes an accepted id from any other id; different ids give different results.
    """

    pattern: re.Pattern[str]
    make_id: Callable[[str], str]


def compute_call_ids(
    messages: Iterable[IndexedMessage], rule: ToolCallIdRule
) -> Mapping[ToolCallPosition, str]:
    """Return the id of each call by its position. A result has the id at its ``call_position``."""
    ids: dict[ToolCallPosition, str] = {}
    used_ids: set[str] = set()
    for message in messages:
        for index, call in enumerate(message.message.tool_calls):
            call_id = call.id if rule.pattern.fullmatch(call.id) else rule.make_id(call.id)
            attempt = 1
            while call_id in used_ids:
                attempt += 1
                call_id = rule.make_id(f"{call.id} {attempt}")
            used_ids.add(call_id)
            ids[message.position, index] = call_id
    return ids


ANY_ID_RULE = ToolCallIdRule(
    re.compile(r".+", re.DOTALL), lambda call_id: f"call_{compute_digest(call_id)}"
)
"""Accepts every id that is not empty."""
