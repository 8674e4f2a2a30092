"""Checks the ``thinking`` parameter against what the model accepts, before anything is sent.

Claude 4.6 and later think adaptively, Claude 4.6 and earlier think within a budget of tokens, and
Claude before 3.7 does not think (Anthropic's pages "Extended thinking", "Adaptive thinking" and its
migration guides). Models that are not Claude, on other servers, are sent what the caller set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from locus.core.errors import ConfigurationError
from locus.core.frozendict import to_frozen_dict
from locus.wire.anthropic_messages.model_capabilities import (
    is_claude,
    supports_adaptive_thinking,
    supports_thinking,
    supports_thinking_budget,
)

ThinkingConfig = Mapping[str, Any] | None

MIN_BUDGET: Final = 1024
"""The smallest budget that the API accepts."""


def normalize_thinking(thinking: Any) -> ThinkingConfig:
    """Convert a mapping, a budget in tokens, or a type to the API's ``thinking`` parameter.

    :raises ConfigurationError: if it is something else.
    """
    if thinking is None:
        return None
    if isinstance(thinking, str):
        return to_frozen_dict({"type": thinking})
    if isinstance(thinking, int) and not isinstance(thinking, bool):
        return to_frozen_dict({"type": "enabled", "budget_tokens": thinking})
    if isinstance(thinking, Mapping) and isinstance(thinking.get("type"), str):
        return to_frozen_dict(thinking)
    raise ConfigurationError(
        f"thinking takes a number of tokens, 'adaptive', or the API's own mapping; not {thinking!r}"
    )


def is_thinking_enabled(thinking: Any) -> bool:
    """Return whether a value of the parameter lets the model think."""
    return isinstance(thinking, Mapping) and thinking.get("type") != "disabled"


def check_thinking(
    thinking: ThinkingConfig, model: str, max_tokens: int, *, is_interleaved: bool
) -> None:
    """Check that a model accepts a value of the parameter.

    :param max_tokens: the limit of the response, thinking included.
    :param is_interleaved: whether the model may think between tool calls as well. A budget is then
        for all thinking of a turn, and may exceed ``max_tokens``.
    :raises ConfigurationError: if it does not; the message says what to do.
    """
    if thinking is None or not is_claude(model):
        return
    type_, budget = thinking.get("type"), thinking.get("budget_tokens")
    if type_ in ("enabled", "adaptive") and not supports_thinking(model):
        raise ConfigurationError(f"thinking: {model} does not think; leave it out")
    if type_ == "adaptive" and not supports_adaptive_thinking(model):
        raise ConfigurationError(
            f"thinking='adaptive': {model} takes a number of tokens instead, such as thinking=2000"
        )
    if type_ != "enabled":
        return
    if not supports_thinking_budget(model):
        raise ConfigurationError(
            f"thinking={budget!r}: {model} takes no number of tokens; use thinking='adaptive'"
        )
    if not isinstance(budget, int) or budget < MIN_BUDGET:
        raise ConfigurationError(
            f"thinking={budget!r}: the smallest number of tokens that the API accepts is "
            f"{MIN_BUDGET}"
        )
    if budget >= max_tokens and not is_interleaved:
        raise ConfigurationError(
            f"max_tokens={max_tokens} includes the thinking, so it must be greater than "
            f"thinking={budget}: set max_tokens={budget + max_tokens}, or think less"
        )
