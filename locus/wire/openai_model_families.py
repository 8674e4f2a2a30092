"""Which options OpenAI's models accept, derived from their names, whoever serves them.

The names come from OpenAI itself (``gpt-5.2``), from gateways and clouds (``openai.gpt-5``,
``azure/gpt-5``, ``openrouter/openai/o3``, ``us.openai.gpt-5``), from fine-tuning
(``ft:o4-mini:…``), and in capitals. A name that tells nothing counts as that of a model with all
options; what a server then refuses is left out by ``locus.core.refused_parameters``.

Sources: the parameters in OpenAI's reference of "Create chat completion" and its guides "Reasoning
models" and "Using GPT-5.2"; https://github.com/huggingface/smolagents/issues/1671 (``stop``);
https://github.com/vercel/ai/issues/5609 (search models).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from locus.core.option_rules import NOT_WHILE_REASONING, OptionRules, Refused

_PREFIX: Final = r"(?:[\w.@-]+/)*(?:ft:)?(?:(?:[a-z]{2,6}\.)?openai[./])?"
"""The ways to the model that gateways and clouds put before its name."""
_REASONING_MODELS: Final = re.compile(
    _PREFIX + r"(?:o(?P<series>[1-9]\d*)|gpt-(?P<major>[5-9]|[12]\d)(?!\d)(?:\.(?P<minor>\d+))?)"
    r"(?![a-z\d])(?!-chat(?![a-z]))"
)
"""The reasoning families: o1, o3, o4, gpt-5 and their successors. gpt-5-chat-latest does not
reason; gpt-5.1-chat-latest and later do."""
_SEARCH_MODELS: Final = re.compile(
    _PREFIX + r"gpt-[\w.]+(?:-mini)?-search(?:-preview|-api)?(?![a-z])"
)
"""Models that search before each response."""

_SAMPLING_OPTIONS: Final = frozenset(
    {"temperature", "top_p", "frequency_penalty", "presence_penalty"}
)
_NOT_WHILE_SEARCHING: Final = Refused(
    "accepts none for a model that searches",
    remedy="leave it out, or pass it in extra_body to send it all the same",
    by_model=True,
)


@lru_cache(maxsize=256)
def _match_reasoning_model(model: str) -> re.Match[str] | None:
    return _REASONING_MODELS.match(model.lower())


def is_reasoning_model(model: str) -> bool:
    """Return whether ``model`` belongs to a family that reasons before it responds.

    Such a model takes ``max_completion_tokens``, and no sampling options while it reasons.
    """
    return _match_reasoning_model(model) is not None


@lru_cache(maxsize=256)
def is_search_model(model: str) -> bool:
    """Return whether ``model`` is one of those that search, and accept no sampling options."""
    return _SEARCH_MODELS.match(model.lower()) is not None


def find_unsupported_options(model: str, options: Mapping[str, Any]) -> frozenset[str]:
    """Return the options that a model does not accept, as far as its name tells.

    :param options: the options of the call; with the effort ``"none"`` a model does not reason.
    """
    if is_search_model(model):
        return _SAMPLING_OPTIONS | {"n", "logprobs", "top_logprobs", "logit_bias", "seed"}
    if not is_reasoning_model(model) or _find_effort(options) == "none":
        return frozenset()
    return _SAMPLING_OPTIONS if _accepts_stop(model) else _SAMPLING_OPTIONS | {"stop"}


def adapt_rules_to_model(rules: OptionRules, options: Mapping[str, Any]) -> OptionRules:
    """Return the rules with those options refused that the model of a call does not accept."""
    model = options.get("model")
    unsupported = find_unsupported_options(model, options) if isinstance(model, str) else ()
    if not unsupported:
        return rules
    return _refuse_options(
        rules,
        frozenset(unsupported),
        _NOT_WHILE_SEARCHING if is_search_model(str(model)) else NOT_WHILE_REASONING,
    )


@lru_cache(maxsize=64)
def _refuse_options(
    rules: OptionRules, unsupported: frozenset[str], refusal: Refused
) -> OptionRules:
    refused = {
        name: refusal
        for name in unsupported
        if name in rules and not isinstance(rules[name], Refused)
    }
    for name in ("frequency_penalty", "presence_penalty"):
        if name in refused:
            refused[name] = Refused(refusal.reason, (0,), refusal.remedy, by_model=True)
    return rules.evolve(**refused)


def _find_effort(options: Mapping[str, Any]) -> Any:
    """Return the effort that a call asks for, by its option or in ``extra_body``."""
    extra_body = options.get("extra_body") or {}
    if isinstance(extra_body, Mapping):
        if "reasoning_effort" in extra_body:
            return extra_body["reasoning_effort"]
        reasoning = extra_body.get("reasoning")
        if isinstance(reasoning, Mapping) and "effort" in reasoning:
            return reasoning["effort"]
    return options.get("reasoning_effort")


def _accepts_stop(model: str) -> bool:
    """Return whether a reasoning model accepts ``stop``: o1, and gpt-5.5 and later."""
    match = _match_reasoning_model(model)
    if match is None:
        return False
    if match["series"]:
        return match["series"] == "1"
    return (int(match["major"]), int(match["minor"] or 0)) >= (5, 5)
