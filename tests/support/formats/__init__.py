"""The record of each wire format (:class:`~locus.testing.formats.WireFormat`).

To add a format, write a record in a new module and add an instance to :data:`FORMATS`; the shipped
suites, and the tests here that take the fixture ``wire``, then run for it.
"""

from __future__ import annotations

from locus.testing.formats import WireFormat
from tests.support.formats.anthropic_messages import AnthropicMessages
from tests.support.formats.chat_completions import ChatCompletions
from tests.support.formats.cohere_chat import CohereChat
from tests.support.formats.oci_cohere import OCICohere
from tests.support.formats.oci_cohere_v2 import OCICohereV2
from tests.support.formats.oci_generic import OCIGeneric
from tests.support.formats.ollama_chat import OllamaChat
from tests.support.formats.prompted_tools import Local, PromptedTools
from tests.support.formats.responses import Responses

__all__ = ["FORMATS", "FORMATS_BY_NAME", "PART_FORMATS", "REQUEST_FORMATS", "WireFormat"]

FORMATS: tuple[WireFormat, ...] = (
    ChatCompletions(),
    AnthropicMessages(),
    OllamaChat(),
    CohereChat(),
    OCIGeneric(),
    OCICohere(),
    OCICohereV2(),
    Responses(),
)
"""Every wire format."""

FORMATS_BY_NAME: dict[str, WireFormat] = {wire.name: wire for wire in FORMATS}

REQUEST_FORMATS: tuple[WireFormat, ...] = (*FORMATS, PromptedTools())
"""Every wire format, and those that differ from one of them in their requests only."""

PART_FORMATS: tuple[WireFormat, ...] = (*REQUEST_FORMATS, Local())
"""These, and one that differs only in the parts of messages that it takes."""
