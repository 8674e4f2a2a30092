"""Repairs halves of surrogate pairs, which JSON can escape and no text encoding can write.

A character above U+FFFF may be written in JSON as two escapes, each a half of a surrogate pair. A
half whose other half is missing is ill-formed (the Unicode Standard, section 3.9): it becomes
U+FFFD, the replacement character.
"""

from __future__ import annotations

import re
from typing import Any, Final

REPLACEMENT: Final = "\ufffd"
_HALF: Final = re.compile("[\ud800-\udfff]")


def repair_text(text: str) -> str:
    """Join the pairs in a text, and replace the halves that stand alone."""
    if text.isascii() or _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def repair_json(value: Any) -> Any:
    """Repair each text in a JSON value, the names of members included; returns a copy."""
    if isinstance(value, str):
        return repair_text(value)
    if isinstance(value, dict):
        return {repair_text(name): repair_json(member) for name, member in value.items()}
    return [repair_json(item) for item in value] if isinstance(value, list) else value
