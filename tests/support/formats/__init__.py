"""The wire formats, each described once, for the tests that hold for all of them.

A :class:`Format` says what a test cannot know by itself: which model speaks the format, how an
answer looks in it, where a stream of it ends, and what in it is an error. To add a format, write
a subclass in a file of its own and put an instance into :data:`FORMATS`; the tests of the
streaming law and of faults then run for it. What is special to one format has tests elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.support.formats.anthropic_messages import AnthropicMessages
from tests.support.formats.chat_completions import ChatCompletions
from tests.support.formats.description import SLOW, Example, Format, Frame
from tests.support.formats.oci_cohere import OCICohere
from tests.support.formats.oci_cohere_v2 import OCICohereV2
from tests.support.formats.oci_generic import OCIGeneric
from tests.support.formats.ollama_chat import OllamaChat
from tests.support.formats.responses import Responses

__all__ = [
    "FORMATS",
    "SLOW",
    "Example",
    "Format",
    "Frame",
    "every_case",
    "every_format",
    "every_model",
    "formats_environment",
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

every_format = pytest.mark.parametrize("wire", FORMATS, ids=[wire.name for wire in FORMATS])
"""For tests of bytes alone."""

every_model = pytest.mark.parametrize(
    "wire", [pytest.param(wire, id=wire.name, marks=wire.marks) for wire in FORMATS]
)
"""For tests that send something."""


def every_case(names: str, cases: Callable[[Format], Iterable[Any]]) -> pytest.MarkDecorator:
    """Each of its own ``cases`` for every format; ``names`` are those of a case's values."""
    single = "," not in names
    return pytest.mark.parametrize(
        ("wire", *names.replace(" ", "").split(",")),
        [
            pytest.param(wire, *([case] if single else case), id=f"{wire.name}-{at}")
            for wire in FORMATS
            for at, case in enumerate(cases(wire))
        ],
    )


@pytest.fixture
def formats_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.MonkeyPatch:
    """An environment that says nothing about any provider, nor about proxies.

    The home directory is one of this test run, where a format's models may keep what they need.
    """
    variables = tuple(name for wire in FORMATS for name in wire.variables)
    for name in list(os.environ):
        if name.startswith(variables) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    return monkeypatch
