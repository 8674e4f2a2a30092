"""Names of models without their snapshot, and the families that they belong to."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_VENDOR_PREFIX: Final = re.compile(
    r"(?:[a-z]{2,6}\.)?(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|mistral|openai|xai)\."
)
"""A vendor before the name, on Oracle Cloud and on Bedrock, there with a region before it."""
_SNAPSHOT_SUFFIX: Final = re.compile(
    r"(?:[-@](?:20\d{6}|20\d\d-\d\d-\d\d)|[-@](?:latest|default)|-v\d+(?::\d+)?)+$"
)
"""A date, ``latest``, or Bedrock's version of a model."""
_FAMILY: Final = re.compile(r"[a-z]+")


@lru_cache(maxsize=256)
def strip_model_snapshot(model: str) -> str:
    """Return the name of a model without vendor and snapshot.

    ``us.anthropic.claude-opus-4-1-20250805-v1:0`` is ``claude-opus-4-1``.
    """
    name = model.lower().rpartition("/")[2]
    name = _VENDOR_PREFIX.sub("", name, count=1)
    return _SNAPSHOT_SUFFIX.sub("", name) or name


@lru_cache(maxsize=256)
def get_model_family(model: str) -> str:
    """Return the family of a model: the first word of its name, such as ``gemini`` or ``gpt``."""
    name = strip_model_snapshot(model)
    match = _FAMILY.match(name)
    return match[0] if match else name
