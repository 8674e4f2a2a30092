"""``AcceptedParts``: what a format declares about parts of messages, and the check against it."""

from __future__ import annotations

import pickle

import pytest

from locus.core.accepted_parts import TEXT_PARTS_ONLY, AcceptedParts, PartHandling
from locus.core.conversation import validate_messages
from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
)

IMAGE = ImagePart(url="https://x")
CARRIED = PartHandling.CARRIED


def get_refusal(accepted_parts: AcceptedParts | None, *messages: Message) -> str:
    with pytest.raises(ConfigurationError) as caught:
        validate_messages(messages, accepted_parts=accepted_parts)
    return str(caught.value)


def test_by_default_a_format_accepts_text_only() -> None:
    text = Message.user(["a", TextPart("b")])
    assert validate_messages([text]) == (text,)
    for message in (Message.user([IMAGE]), Message.assistant(["so", RefusalPart("no")])):
        with pytest.raises(ConfigurationError, match=r"messages\[1\]\.content\[\d\]"):
            validate_messages([text, message])
    assert AcceptedParts() == TEXT_PARTS_ONLY


def test_none_accepts_every_part() -> None:
    messages = Message.user([IMAGE]), Message.assistant(["so", ThinkingPart("hm")])
    assert validate_messages(messages, accepted_parts=None) == messages


def test_a_refusal_names_position_class_format_role_and_what_to_do() -> None:
    user_only = AcceptedParts("Acme", user={TextPart: CARRIED, ImagePart: CARRIED})
    assert get_refusal(user_only, Message.user([IMAGE]), Message.system(["a", "b", IMAGE])) == (
        "messages[1].content[2] is of the class ImagePart: Acme accepts no images in system "
        "messages, only in user messages. Put it into a user message, or leave it out"
    )
    tool_only = AcceptedParts("Acme", tool={ImagePart: CARRIED}, system={ImagePart: CARRIED})
    assert get_refusal(tool_only, Message.user([IMAGE])) == (
        "messages[0].content[0] is of the class ImagePart: Acme accepts no images in user "
        "messages, only in system and tool messages. Leave it out, or use a model whose format "
        "accepts it"
    )
    advised = AcceptedParts("Acme", advice=FrozenDict({ImagePart: "Use Acme 2"}))
    assert get_refusal(advised, Message.user([IMAGE])) == (
        "messages[0].content[0] is of the class ImagePart: Acme accepts no images in user "
        "messages. Use Acme 2"
    )
    assert "this model's format accepts no images" in get_refusal(
        TEXT_PARTS_ONLY, Message.user([IMAGE])
    )


def test_an_invalid_conversation_is_reported_before_a_refused_part() -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*neither text nor tool calls"):
        validate_messages([Message.user([IMAGE]), Message.assistant()])


@pytest.mark.parametrize(
    ("handling", "unsigned", "signed", "redacted"),
    [
        (PartHandling.CARRIED, True, True, True),
        (PartHandling.AS_TEXT, True, True, True),
        (PartHandling.CARRIED_IF_SIGNED, False, True, True),
        (PartHandling.CARRIED_IF_UNSIGNED, True, False, False),
        (PartHandling.DROPPED, False, False, False),
    ],
)
def test_the_signature_decides_which_thinking_is_carried(
    handling: PartHandling, unsigned: bool, signed: bool, redacted: bool
) -> None:
    assert handling.carries(ThinkingPart("hm")) is unsigned
    assert handling.carries(ThinkingPart("hm", "seal")) is signed
    assert handling.carries(ThinkingPart(redacted="dark")) is redacted


def test_a_declaration_is_immutable_and_can_be_pickled_and_hashed() -> None:
    original = {TextPart: CARRIED}
    declared = AcceptedParts("Acme", user=original)
    original[ImagePart] = CARRIED  # type: ignore[index]
    assert list(declared.get_handling(Role.USER)) == [TextPart]
    assert pickle.loads(pickle.dumps(declared)) == declared
    assert hash(declared) == hash(AcceptedParts("Acme"))
