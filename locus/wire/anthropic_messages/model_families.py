"""What a Claude model takes, told by its name.

The newer models refuse parameters that the older ones take, and the API does not say in advance
which. A name says the family and the version (``claude-opus-4-7``, ``claude-3-5-haiku-latest``,
``us.anthropic.claude-opus-4-1-20250805-v1:0``, ``anthropic/claude-opus-4.7``), and each of these
limits is a version, the same in every family. A Claude of no version that can be read counts as
the newest. What is no Claude at all, on somebody's own server, takes everything that always was.

The limits are those of Anthropic's migration guides for Opus 4.7, Opus 4.8, Sonnet 5, Fable 5.1
and Opus 5.5.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

# A date, such as 20250514, is no minor version.
_VERSION: Final = re.compile(
    r"claude-(?:[a-z]+-)?v?(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2})(?!\d))?"
)
_NEWEST: Final = (999, 0)
_OTHER: Final = (0, 0)


@lru_cache(maxsize=256)
def _version(model: str) -> tuple[int, int]:
    model = model.lower()
    found = _VERSION.search(model)
    if found is None:
        return _NEWEST if "claude" in model else _OTHER
    return int(found["major"]), int(found["minor"] or 0)


def takes_sampling(model: str) -> bool:
    """Whether ``temperature`` and ``top_p`` may be sent. No Claude from 4.7 on takes them."""
    return _version(model) < (4, 7)


def takes_forced_tools(model: str) -> bool:
    """Whether ``tool_choice`` may demand a call. No Claude from 5.1 on can be made to."""
    return _version(model) < (5, 1)


def takes_system_turns(model: str) -> bool:
    """Whether a system message may stand among the others. Claude 4.8 was the first."""
    return (4, 8) <= _version(model) < _NEWEST
