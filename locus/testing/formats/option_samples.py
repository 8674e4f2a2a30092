"""A sample value for each option of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LOOK_TOOL: Final = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
SAMPLE_VALUES: Final[Mapping[str, Any]] = {
    "max_tokens": 77,
    "temperature": 0.25,
    "top_p": 0.5,
    "stop": ["END"],
    "seed": 3,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "reasoning_effort": "low",
    "verbosity": "low",
    "n": 2,
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"50256": -100},
    "modalities": ["text", "audio"],
    "prediction": {"type": "content", "content": "zq"},
    "service_tier": "flex",
    "store": True,
    "metadata": {"zq": "1"},
    "user": "zq-user",
    "prompt_cache_key": "zq-key",
    "safety_identifier": "zq-person",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "zq", "schema": {"type": "object", "title": "zq"}},
    },
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "timeout": 7.5,
    "deadline": 70.5,
    "extra_headers": {"x-zq": "1"},
    "extra_body": {"zq": {"deep": 1}},
    "provider_state": {"previous_response_id": "resp_zq"},
}
"""A value for each option that no request without it contains, and that a refusal names."""
