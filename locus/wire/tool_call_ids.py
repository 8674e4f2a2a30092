"""Ids of tool calls as a provider takes them.

A conversation brings along the ids of whoever began it, and each provider has its own idea of an
id: its alphabet, its length. An id that will do stays as it is. The others are made over, in the
call and in its result alike, and so is one that an earlier call has: no two calls of a conversation
share an id. What an id becomes depends on nothing but the calls before it, so the same conversation
makes the same request, and a longer one begins like the shorter (which prompt caches live on).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

import attrs

from locus.core.conversation import Place, Turn


@attrs.frozen
class IdRule:
    """What ids a provider takes.

    :param fits: matches the whole of an id that will do.
    :param made: another id, made from one that will not. It fits, and another one makes another.
    """

    fits: re.Pattern[str]
    made: Callable[[str], str]


def call_ids(turns: Iterable[Turn], rule: IdRule) -> Mapping[Place, str]:
    """The id of each call under ``rule``. That of a result is at ``turn.answers``."""
    found: dict[Place, str] = {}
    taken: set[str] = set()
    for turn in turns:
        for at, call in enumerate(turn.message.tool_calls):
            identity = call.id if rule.fits.fullmatch(call.id) else rule.made(call.id)
            again = 1
            while identity in taken:
                again += 1
                identity = rule.made(f"{call.id} {again}")
            taken.add(identity)
            found[turn.position, at] = identity
    return found


def checksum(text: str) -> str:
    """Twenty-four hexadecimal digits that stand for ``text``."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:24]


ANY = IdRule(re.compile(r".+", re.DOTALL), lambda identity: f"call_{checksum(identity)}")
"""Every id will do."""
