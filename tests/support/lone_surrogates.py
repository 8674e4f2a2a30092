"""What becomes of a text with halves of surrogate pairs, worked out apart from the library."""

from __future__ import annotations

import json
import re


def replace_lone_surrogates(text: str) -> str:
    """Join the pairs of a text, as JSON does, and replace each half that stands alone by U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", json.loads(json.dumps(text)))
