"""``local:`` models: what is special to their requests, with tools in the prompt and without."""

from __future__ import annotations

from typing import Any, ClassVar

from locus.core.conversation import validate_messages
from locus.models import local
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.prompted_tools import build_prompted_request
from locus.wire.prompted_tools.request import ACCEPTED_PARTS, PROMPTED_TOOLS_OPTION_RULES
from tests.support.formats.chat_completions import ChatCompletions


class PromptedToolsBuilder:
    """Builds the requests of ``local:`` models whose tools are described in the prompt."""

    option_rules = PROMPTED_TOOLS_OPTION_RULES
    accepted_parts = ACCEPTED_PARTS

    def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
        prompted = build_prompted_request(messages, tools, options)
        return ChatCompletionsBuilder().build(prompted.messages, (), **prompted.options)


class PromptedTools(ChatCompletions):
    """Chat completions, where the tools of a request are a part of its prompt."""

    name = "prompted_tools"
    title = "local, tools in the prompt"
    builder = PromptedToolsBuilder()
    base_options: ClassVar = {"model": "smollm2"}
    moves_result_images = False
    option_samples: ClassVar = {"parallel_tool_calls": True}  # it does False without the option
    sent_options: ClassVar = {
        **ChatCompletions.sent_options,
        "response_format": {"grammar": ..., "messages": ...},
        "tool_choice": {"grammar": ..., "messages": ...},
        "parallel_tool_calls": {"grammar": ...},
    }


class LocalBuilder(ChatCompletionsBuilder):
    """Builds the requests of ``local:`` models, which take text only."""

    accepted_parts: ClassVar = local.ACCEPTED_PARTS

    def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
        messages = validate_messages(messages, accepted_parts=self.accepted_parts)
        return super().build(messages, tools, **options)


class Local(ChatCompletions):
    """Chat completions of a model that takes text only."""

    name = title = "local"
    builder = LocalBuilder()
