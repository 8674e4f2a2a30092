"""No part of a message is lost in silence: each format carries it, drops it by a rule, or refuses.

``accepted_parts`` of a builder say which. What they say is compared with the request, for each
role and class of parts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from itertools import product
from typing import Any, ClassVar, Final

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
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.wire_format import WireFormat

USER = Message.user("x")
CALL = ToolCall("1", "f")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

SAMPLES: Final[dict[type[Part], dict[str, tuple[Part, Sequence[str]]]]] = {
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


each_role = pytest.mark.parametrize("role", list(Role), ids=str)


def build_body(wire: WireFormat, messages: Sequence[Message]) -> Any:
    return json.loads(wire.encode_request(messages, [TOOL]))


def make_conversation(
    role: Role, part: Any, calls: Sequence[ToolCall] = (), *, alone: bool = False
) -> tuple[list[Message], str]:
    """Return a conversation with ``part`` in a message of a role, and the part's position.

    :param alone: whether the message has no other part.
    """
    before = [USER, Message.assistant(None, [CALL])] if role is Role.TOOL else [USER]
    content = [part] if alone else [TextPart("so"), part]
    after = [Message("tool", "y", tool_call_id=call.id) for call in calls]
    tool_call_id = CALL.id if role is Role.TOOL else None
    message = Message(role, content, tuple(calls), tool_call_id)
    position = f"messages[{len(before)}].content[{content.index(part)}]"
    return [*before, message, *after, USER], position


def test_each_part_class_has_a_sample() -> None:
    assert set(SAMPLES) == set(PART_TYPES)


@each_role
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
    for calls, alone in product(with_calls, (False, True)):
        if alone and not (part.is_content or calls):
            continue  # thinking alone is no message
        messages, position = make_conversation(role, part, calls, alone=alone)
        if handling is None:
            with pytest.raises(ConfigurationError) as caught:
                build_body(wire, messages)
            text = str(caught.value)
            assert text.startswith(f"{position} is of the class {cls.__name__}: ")
            assert f"{wire.accepted_parts.format_name} accepts no {cls.plural} in {role}" in text
        else:
            body = json.dumps(build_body(wire, messages))
            assert [mark in body for mark in marks] == [handling.carries(part)] * len(marks)


def test_each_format_takes_text_in_each_role(wire: WireFormat) -> None:
    for role in Role:
        handling = wire.accepted_parts.get_handling(role)
        assert handling[TextPart] is PartHandling.CARRIED


# A part class that is new to Locus.


@attrs.frozen
class VideoPart(BasePart):
    """A part that no format knows. It has a text, so that it might be taken for a TextPart."""

    tag: ClassVar[str] = "video"
    plural: ClassVar[str] = "videos"

    text: str


@each_role
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
