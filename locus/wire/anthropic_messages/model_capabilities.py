"""Which request parameters a Claude model supports, derived from its name.

The newer models reject parameters that the older ones accept, and the API does not announce which.
A name contains the family and the version (``claude-opus-4-7``, ``claude-3-5-haiku-latest``,
``us.anthropic.claude-opus-4-1-20250805-v1:0``, ``anthropic/claude-opus-4.7``), and each of these
limits is a version, the same in every family. A Claude model whose version cannot be parsed counts
as the newest. A model that is not a Claude, on somebody's own server, is assumed to support all
that the oldest models support.

The limits are those of Anthropic's migration guides for Opus 4.7, Opus 4.8, Sonnet 5, Fable 5.1
and Opus 5.5.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from locus.core.model_family import get_model_family, strip_model_snapshot

# A date, such as 20250514, is not a minor version.
_VERSION: Final = re.compile(
    r"claude-(?:[a-z]+-)?v?(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2})(?!\d))?"
)
_MYTHOS_5_1: Final = re.compile(r"mythos-5[-.]1(?!\d)")
_UNKNOWN_CLAUDE_VERSION: Final = (999, 0)
_NOT_CLAUDE_VERSION: Final = (0, 0)


@lru_cache(maxsize=256)
def _parse_claude_version(model: str) -> tuple[int, int]:
    """Parse the version in the name of a Claude model, such as ``(4, 7)``."""
    model = model.lower()
    match = _VERSION.search(model)
    if match is None:
        return _UNKNOWN_CLAUDE_VERSION if "claude" in model else _NOT_CLAUDE_VERSION
    return int(match["major"]), int(match["minor"] or 0)


def supports_sampling(model: str) -> bool:
    """Return whether ``temperature`` and ``top_p`` may be sent.

    Claude 4.7 and later reject them.
    """
    return _parse_claude_version(model) < (4, 7)


def supports_forced_tool_choice(model: str) -> bool:
    """Return whether ``tool_choice`` may force a tool call. Claude 5.1 and later reject that."""
    return _parse_claude_version(model) < (5, 1)


def accepts_unsigned_thinking(model: str) -> bool:
    """Return whether thinking without a signature may be sent back: to no Claude model."""
    return _parse_claude_version(model) == _NOT_CLAUDE_VERSION


def checks_thinking_history(model: str) -> bool:
    """Return whether thinking is accepted only after the conversation that it was made in.

    Claude 5.1 and later check that, except Mythos 5.1:
    https://platform.claude.com/docs/en/build-with-claude/preserved-thinking.
    """
    return _parse_claude_version(model) >= (5, 1) and not _MYTHOS_5_1.search(model.lower())


def get_thinking_model(model: str) -> str:
    """Return what of a model's name its thinking is bound to.

    That of Claude is bound to the model, of whatever date. Other servers of this format accept
    thinking of models of the same family.
    """
    if _parse_claude_version(model) == _NOT_CLAUDE_VERSION:
        return get_model_family(model)
    return strip_model_snapshot(model)


def supports_inline_system_messages(model: str) -> bool:
    """Return whether system messages may stand among the others.

    Claude 4.8 was the first with this.
    """
    return (4, 8) <= _parse_claude_version(model) < _UNKNOWN_CLAUDE_VERSION


def is_claude(model: str) -> bool:
    """Return whether the name is that of a Claude model, of whatever version."""
    return _parse_claude_version(model) != _NOT_CLAUDE_VERSION


def supports_thinking(model: str) -> bool:
    """Return whether the model can think before it responds. Claude 3.7 was the first."""
    return _parse_claude_version(model) >= (3, 7)


def supports_adaptive_thinking(model: str) -> bool:
    """Return whether the model decides itself how much to think. Claude 4.6 was the first."""
    return _parse_claude_version(model) >= (4, 6)


def supports_thinking_budget(model: str) -> bool:
    """Return whether the thinking may have a budget in tokens. Claude 4.7 and later reject that.

    A Claude model whose version cannot be parsed may be any: the API then decides.
    """
    version = _parse_claude_version(model)
    return version < (4, 7) or version == _UNKNOWN_CLAUDE_VERSION


def supports_output_config(model: str) -> bool:
    """Return whether ``output_config.format`` can make a response fit a schema: from 4.5 on."""
    return _parse_claude_version(model) >= (4, 5)


def rejects_forced_tool_choice(model: str) -> bool:
    """Return whether the model is known to reject a ``tool_choice`` that forces a call."""
    return (5, 1) <= _parse_claude_version(model) < _UNKNOWN_CLAUDE_VERSION


def rejects_prefill(model: str) -> bool:
    """Return whether the model is known not to continue an assistant message: from 4.6 on."""
    return (4, 6) <= _parse_claude_version(model) < _UNKNOWN_CLAUDE_VERSION
