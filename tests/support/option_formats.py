"""The wire formats as the tests of options need them, and a sample value for each option.

To add a format, add an entry to :data:`OPTION_FORMATS`; to add an option, a value to
:data:`SAMPLE_VALUES`. The tests in ``tests/wire/test_option_rules.py`` then run for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from locus.core.option_rules import OptionRules
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.prompted_tools import build_prompted_request
from locus.wire.prompted_tools.request import PROMPTED_TOOLS_OPTION_RULES
from locus.wire.provider_json import encode_json
from tests.support.genuine_responses import PROVIDERS

LOOK_TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
SAMPLE_VALUES: Mapping[str, Any] = {
    "max_tokens": 77,
    "temperature": 0.25,
    "top_p": 0.5,
    "stop": ["END"],
    "seed": 3,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "zq", "schema": {"type": "object", "title": "zq"}},
    },
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "timeout": 7.5,
    "extra_headers": {"x-zq": "1"},
    "extra_body": {"zq": {"deep": 1}},
    "provider_state": {"previous_response_id": "resp_zq"},
}
"""A value for each option that no request without it contains, and that a refusal names."""


class PromptedToolsBuilder:
    """Builds the requests of ``local:`` models whose tools are described in the prompt."""

    option_rules = PROMPTED_TOOLS_OPTION_RULES

    def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
        prompted = build_prompted_request(messages, tools, options)
        return ChatCompletionsBuilder().build(prompted.messages, (), **prompted.options)


@attrs.frozen
class OptionFormat:
    """A wire format, by its builder.

    :param column: the format's column in ``docs/options.md``.
    :param builder: the ``RequestBuilder``.
    :param base_options: the options that every request of the tests has.
    :param samples: the values that differ from :data:`SAMPLE_VALUES`.
    """

    column: str
    builder: Any
    base_options: Mapping[str, Any]
    samples: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def rules(self) -> OptionRules | None:
        """What the format declares about options; None if nothing."""
        return getattr(self.builder, "option_rules", None)

    def get_sample(self, keyword: str) -> Any:
        """Return a value for an option.

        :raises AssertionError: if there is none; the message says where to add it.
        """
        assert keyword in SAMPLE_VALUES, f"add a value of {keyword} to SAMPLE_VALUES"
        return self.samples.get(keyword, SAMPLE_VALUES[keyword])

    def build_body(self, tools: Sequence[Any] = (LOOK_TOOL,), **options: Any) -> dict[str, Any]:
        """Build the body of a request with one tool, as the server decodes it."""
        built = self.builder.build("x", tools, **{**self.base_options, **options})
        body: dict[str, Any] = json.loads(encode_json(built))
        return body


_IDS = {
    "chat completions": "chat_completions",
    "Anthropic": "anthropic_messages",
    "Ollama": "ollama_chat",
    "OCI generic": "oci_generic",
    "OCI Cohere": "oci_cohere",
    "OCI Cohere v2": "oci_cohere_v2",
    "Responses": "responses",
}
_MODELS = {"Responses": "gpt-4o"}
"""Models other than those of ``PROVIDERS``: reasoning models accept no sampling parameters."""

OPTION_FORMATS: dict[str, OptionFormat] = {
    _IDS.get(column, column): OptionFormat(
        column,
        provider.builder,
        {**provider.options, "model": _MODELS.get(column, provider.options["model"])},
    )
    for column, provider in PROVIDERS.items()
} | {
    "prompted_tools": OptionFormat(
        "local, tools in the prompt",
        PromptedToolsBuilder(),
        {"model": "smollm2"},
        {"parallel_tool_calls": True},  # False is what the format does without the option
    )
}
"""The formats, by their names in the ids of tests."""
