"""Incremental saving: which items are new since the last save, and digests of the saved items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from operator import is_
from typing import Any, Final

DIGEST_SIZE: Final = 16
EMPTY_DIGEST: Final = bytes(DIGEST_SIZE)
"""The digest of an empty sequence."""


def count_identical_leading_items(old: Sequence[Any], new: Sequence[Any]) -> int:
    """Count the items at the beginning of the two sequences that are identical objects.

    Equality is not enough: ``1 == True``, but their JSON differs.
    """
    if all(map(is_, old, new)):  # the usual case, and ten times as fast as a loop
        return min(len(old), len(new))
    return next(index for index, same in enumerate(map(is_, old, new)) if not same)


def extend_digest(digest: bytes, item: bytes) -> bytes:
    """Compute the digest of a sequence with one more item.

    It shows that no item is missing, changed or in another position. It does not protect against
    deliberate changes: it contains no secret.

    :param digest: the digest of the sequence without ``item``.
    """
    return blake2b(digest + item, digest_size=DIGEST_SIZE).digest()


def compute_chained_digests(items: Iterable[bytes], digest: bytes = EMPTY_DIGEST) -> list[bytes]:
    """Compute the digest of the sequence after each of the items.

    :param digest: the digest of the items before these.
    """
    digests = []
    for item in items:
        digest = extend_digest(digest, item)
        digests.append(digest)
    return digests
