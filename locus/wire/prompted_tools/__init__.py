"""Tool calling by prompt, for models whose chat template has no tools.

Such a template ignores the ``tools`` of a request. So ``request`` writes the tools, the tool calls
and their results into the text of the conversation, ``llguidance_grammar`` restricts the model's
output to text or tool calls, and ``complete_response`` parses the tool calls from the generated
text, complete or streamed. The requests themselves are chat completions.

A tool call is written as JSON between ``<tool_call>`` and ``</tool_call>``, the format that Hermes,
Qwen and SmolLM2 1.7B were trained on: a model that has seen tool calls at all has most likely seen
these.

The grammar is one of `llguidance <https://github.com/guidance-ai/llguidance>`_, which llama.cpp
uses for a ``grammar`` that begins with ``%llguidance``.
"""

from locus.wire.prompted_tools.parse_tool_calls import (
    PromptedToolsDecoder,
    make_response_with_tool_calls,
)
from locus.wire.prompted_tools.request import PromptedRequest, build_prompted_request

__all__ = [
    "PromptedRequest",
    "PromptedToolsDecoder",
    "build_prompted_request",
    "make_response_with_tool_calls",
]
