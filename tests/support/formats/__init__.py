"""The wire formats, each described once, for the tests that hold for all of them.

A :class:`Format` has what a test cannot know by itself: a model that uses the format, responses
in it, where a stream of it ends, and what in it is an error. To add a format, write
a subclass in a new module and add an instance to :data:`FORMATS`; the tests of the streaming law
and of faults then run for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.support.formats.anthropic_messages import AnthropicMessages
from tests.support.formats.chat_completions import ChatCompletions
from tests.support.formats.format_base import ERROR_TEXT, Example, Format, Frame
from tests.support.formats.oci_cohere import OCICohere
from tests.support.formats.oci_cohere_v2 import OCICohereV2
from tests.support.formats.oci_generic import OCIGeneric
from tests.support.formats.ollama_chat import OllamaChat
from tests.support.formats.responses import Responses

__all__ = [
    "ERROR_TEXT",
    "FORMATS",
    "Example",
    "Format",
    "Frame",
    "parametrize_formats",
]

FORMATS: tuple[Format, ...] = (
    ChatCompletions(),
    AnthropicMessages(),
    OllamaChat(),
    OCIGeneric(),
    OCICohere(),
    OCICohereV2(),
    Responses(),
)
"""Every wire format."""


def parametrize_formats(
    names: str, cases: Callable[[Format], Iterable[Any]]
) -> pytest.MarkDecorator:
    """Parametrize a test with the cases of every format.

    :param names: the parameters of the test that the values of a case are passed to.
    :param cases: returns the cases of a format.
    """
    single = "," not in names
    return pytest.mark.parametrize(
        ("wire", *names.replace(" ", "").split(",")),
        [
            pytest.param(wire, *([case] if single else case), id=f"{wire.name}-{index}")
            for wire in FORMATS
            for index, case in enumerate(cases(wire))
        ],
    )
