"""No part of a message is lost in silence: each format carries it, drops it by a rule, or refuses.

``accepted_parts`` of a builder say which. What they say is compared with the request, for each
format, role and class of parts.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from locus.core.accepted_parts import PartHandling
from locus.core.errors import ConfigurationError
from locus.core.messages import (
    PART_TYPES,
    BasePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from tests.support.formats import FORMATS, PART_FORMATS, WireFormat
from tests.support.portability_page import read_table
from tests.support.processes import PROJECT_ROOT

USER = Message.user("x")
CALL = ToolCall("1", "f")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

SAMPLES: dict[type[Part], dict[str, tuple[Part, Sequence[str]]]] = {
    TextPart: {"text": (TextPart("zq-text"), ["zq-text"])},
    ImagePart: {
        "image": (
            ImagePart(data=b"zq-image", media_type="image/png"),
            [base64.b64encode(b"zq-image").decode()],
        ),
    },
    RefusalPart: {"refusal": (RefusalPart("zq-refusal"), ["zq-refusal"])},
    ThinkingPart: {
        "unsigned": (ThinkingPart("zq-thinking"), ["zq-thinking"]),
        "signed": (ThinkingPart("zq-thinking", "zq-signature"), ["zq-thinking", "zq-signature"]),
        "redacted": (ThinkingPart(redacted="zq-redacted"), ["zq-redacted"]),
    },
}
"""Parts of each class, with the texts by which the JSON of a request is seen to hold them."""


parametrize_formats = pytest.mark.parametrize("wire", PART_FORMATS, ids=repr)
parametrize_roles = pytest.mark.parametrize("role", list(Role), ids=str)


def build_body(wire: WireFormat, messages: Sequence[Message]) -> Any:
    return json.loads(wire.encode_request(messages, [TOOL]))


def make_conversation(
    role: Role, part: Any, calls: Sequence[ToolCall] = ()
) -> tuple[list[Message], str]:
    """Return a conversation with ``part`` in a message of a role, and the part's position."""
    before = [USER, Message.assistant(None, [CALL])] if role is Role.TOOL else [USER]
    content = [TextPart("so"), part]
    after = [Message("tool", "y", tool_call_id=call.id) for call in calls]
    tool_call_id = CALL.id if role is Role.TOOL else None
    message = Message(role, content, tuple(calls), tool_call_id)
    return [*before, message, *after, USER], f"messages[{len(before)}].content[1]"


def test_each_part_class_has_a_sample() -> None:
    assert set(SAMPLES) == set(PART_TYPES)


@parametrize_formats
@parametrize_roles
@pytest.mark.parametrize(
    ("cls", "sample"), [(cls, sample) for cls, samples in SAMPLES.items() for sample in samples]
)
def test_a_part_is_carried_or_dropped_by_rule_or_refused_by_position(
    wire: WireFormat, role: Role, cls: type[Part], sample: str
) -> None:
    part, marks = SAMPLES[cls][sample]
    handling = wire.accepted_parts.get_handling(role).get(cls)
    if role not in cls.roles:
        assert handling is None
        with pytest.raises(ValueError, match=cls.__name__):
            make_conversation(role, part)
        return
    with_calls = [(), (CALL,)] if role is Role.ASSISTANT else [()]
    for calls in with_calls:
        messages, position = make_conversation(role, part, calls)
        if handling is None:
            with pytest.raises(ConfigurationError) as caught:
                build_body(wire, messages)
            text = str(caught.value)
            assert text.startswith(f"{position} is of the class {cls.__name__}: ")
            assert f"{wire.accepted_parts.format_name} accepts no {cls.plural} in {role}" in text
        else:
            body = json.dumps(build_body(wire, messages))
            assert [mark in body for mark in marks] == [handling.carries(part)] * len(marks)


@parametrize_formats
def test_each_format_takes_text_in_each_role(wire: WireFormat) -> None:
    for role in Role:
        handling = wire.accepted_parts.get_handling(role)
        assert handling[TextPart] is PartHandling.CARRIED


# The table in docs/portability.md.

TABLE_ROWS: dict[tuple[type[Part], str, Role], str] = {
    (ImagePart, "image", Role.USER): "images as bytes, or in a `data:` URL",
    (ImagePart, "image", Role.TOOL): "images in a tool's result",
    (ImagePart, "image", Role.SYSTEM): "images in a system message",
    (ImagePart, "image", Role.ASSISTANT): "images in a response",
    (RefusalPart, "refusal", Role.ASSISTANT): "refusals",
    (ThinkingPart, "signed", Role.ASSISTANT): "thinking with a signature (Anthropic's)",
    (ThinkingPart, "redacted", Role.ASSISTANT): "redacted thinking (Anthropic's)",
    (ThinkingPart, "unsigned", Role.ASSISTANT): "thinking without a signature (Ollama's, OCI's)",
}
"""The rows about parts, by class, sample and role."""


def describe_handling(handling: PartHandling | None, part: Part) -> str:
    """Return the word with which the table's cell has to begin."""
    if handling is None:
        return "raises"
    if not handling.carries(part):
        return "dropped"
    return "as text" if handling is PartHandling.AS_TEXT else "carried"


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@parametrize_roles
def test_the_table_documents_what_is_declared(wire: WireFormat, role: Role) -> None:
    handling = wire.accepted_parts.get_handling(role)
    for cls, samples in SAMPLES.items():
        for sample, (part, _) in samples.items():
            outcome = describe_handling(handling.get(cls), part)
            if title := TABLE_ROWS.get((cls, sample, role)):
                assert read_table()[title][wire.title].startswith(outcome)
            else:  # nothing is dropped or changed but what has a row
                assert outcome in ("raises", "carried")


# A part class that is new to Locus.


@attrs.frozen
class VideoPart(BasePart):
    """A part that no format knows. It has a text, so that it might be taken for a TextPart."""

    tag: ClassVar[str] = "video"
    plural: ClassVar[str] = "videos"

    text: str


@parametrize_formats
@parametrize_roles
def test_a_new_part_class_is_refused_by_every_format_in_every_role(
    wire: WireFormat, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locus.core.messages.PART_TYPES", (*PART_TYPES, VideoPart))
    for calls in [(), (CALL,)] if role is Role.ASSISTANT else [()]:
        messages, position = make_conversation(role, VideoPart("secret"), calls)
        with pytest.raises(ConfigurationError) as caught:
            build_body(wire, messages)
        assert str(caught.value).startswith(f"{position} is of the class VideoPart: ")
        assert f" accepts no videos in {role} messages" in str(caught.value)


NEW_PART_CLASS = """
@attrs.frozen
class VideoPart(BasePart):
    tag: ClassVar[str] = "video"
    plural: ClassVar[str] = "videos"

    text: str


Part: TypeAlias = VideoPart | """


@pytest.mark.thorough
def test_the_type_checker_reports_each_builder_for_a_new_part_class(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    before, after = (
        (PROJECT_ROOT / "locus/core/messages.py").read_text().split("Part: TypeAlias = ")
    )
    changed = tmp_path / "messages.py"
    changed.write_text(before + NEW_PART_CLASS + after)
    result = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "mypy", "--cache-dir", str(tmp_path / "cache")),
            *("--shadow-file", "locus/core/messages.py", str(changed), "locus/wire"),
        ],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in result.stdout.splitlines() if 'to "assert_never"' in line]
    reported = {line.partition(":")[0].removeprefix("locus/wire/") for line in errors}
    assert reported == {
        "anthropic_messages/assistant_content_blocks.py",
        "anthropic_messages/messages.py",
        "chat_completions/request.py",
        "oci_chat/cohere_common.py",  # both of Cohere's formats
        "oci_chat/cohere_v2_request.py",
        "oci_chat/generic_messages.py",
        "ollama_chat/request.py",
        "responses/input_items.py",
    }
