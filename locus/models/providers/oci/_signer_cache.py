"""The signers of this process: models with equal credentials share one signer."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Final

from locus.models.providers.oci._refreshing_signer import OCISigner
from locus.models.providers.oci.authentication import OCIAuth

MAX_CACHED_SIGNERS: Final = 256
"""How many signers are cached. Each delegation token has its own, and a server may see many."""
_cached_signers: OrderedDict[OCIAuth, OCISigner] = OrderedDict()  # least recently used first
_cache_lock = threading.Lock()


def get_signer(auth: OCIAuth) -> OCISigner:
    """Return the signer of this process for these credentials; make it if there is none.

    The least recently used signer leaves the cache when there are more than
    ``MAX_CACHED_SIGNERS``. Nothing is read here, and ``oci`` is not imported: the signer does both
    in ``ensure_ready()``.
    """
    with _cache_lock:
        signer = _cached_signers.get(auth)
        if signer is None:
            signer = _cached_signers[auth] = OCISigner(auth)
            if len(_cached_signers) > MAX_CACHED_SIGNERS:
                _cached_signers.popitem(last=False)
        _cached_signers.move_to_end(auth)
    return signer


def _replace_lock_after_fork() -> None:
    """In a forked child, replace the lock, which another thread of the parent may hold."""
    global _cache_lock
    _cache_lock = threading.Lock()  # another thread of the parent may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_lock_after_fork)
