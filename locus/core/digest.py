"""Computes short digests of texts, for ids and for comparisons."""

from __future__ import annotations

import hashlib


def compute_digest(text: str) -> str:
    """Return the first 24 hexadecimal digits of the SHA-256 digest of ``text``."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:24]
