"""What of a state is new since it was last saved, and how a sequence is sealed against damage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from operator import is_
from typing import Any, Final

SEAL_SIZE: Final = 16
NO_SEAL: Final = bytes(SEAL_SIZE)
"""The seal of a sequence with nothing in it."""


def same_beginning(old: Sequence[Any], new: Sequence[Any]) -> int:
    """How many of the items at the beginning are the very same objects.

    Not equal ones: ``1 == True``, and JSON knows the difference.
    """
    if all(map(is_, old, new)):  # ten times as fast as a loop, and what is mostly the case
        return min(len(old), len(new))
    return next(at for at, same in enumerate(map(is_, old, new)) if not same)


def next_seal(before: bytes, body: bytes) -> bytes:
    """The seal of a sequence that is ``body`` longer than the one sealed with ``before``.

    It tells that nothing is missing, altered or in another order. It is no proof against somebody
    who means to alter things: there is no secret in it.
    """
    return blake2b(before + body, digest_size=SEAL_SIZE).digest()


def seals(bodies: Iterable[bytes], before: bytes = NO_SEAL) -> list[bytes]:
    """The seal after each of the items."""
    found = []
    for body in bodies:
        before = next_seal(before, body)
        found.append(before)
    return found
