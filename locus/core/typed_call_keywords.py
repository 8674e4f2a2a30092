"""``CallKeywords``: the keywords of a call, for type checkers and editors.

The methods that call a model declare ``**kwargs: Unpack[CallKeywords]`` (PEP 692), so a misspelt
keyword and a value of a wrong type are errors before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict


class CallKeywords(TypedDict, total=False):
    """The keywords of a call: those of :class:`~locus.core.call_options.CallOptions`."""

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: str | Iterable[str] | None
    stop_sequences: str | Iterable[str] | None
    seed: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    reasoning_effort: str | None
    verbosity: str | None
    n: int | None
    logprobs: bool | None
    top_logprobs: int | None
    logit_bias: Mapping[str, float] | None
    modalities: str | Iterable[str] | None
    prediction: Mapping[str, Any] | None
    service_tier: str | None
    store: bool | None
    metadata: Mapping[str, Any] | None
    user: str | None
    prompt_cache_key: str | None
    safety_identifier: str | None
    response_format: Mapping[str, Any] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    timeout: float | None
    deadline: float | None
    extra_headers: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None
    provider_state: Mapping[str, Any] | None
