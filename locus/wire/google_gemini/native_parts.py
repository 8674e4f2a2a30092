"""What Gemini wants to see again of its responses: the signatures of its thoughts.

A signature is a member of a part (``thoughtSignature``), of a call or of a text, and is sent back
with the same part (https://ai.google.dev/gemini-api/docs/thought-signatures). That of a call is in
the native state of the call. If a text or a thought is signed, then all texts and thoughts of the
message are in the message's native state, because parts with a signature are not to be merged.
So they are if there are parts of other kinds among them: images that the model made, code that
Google ran and its results. The next request needs them in their places.
"""

from __future__ import annotations

import re
from typing import Any, Final

from locus.core.messages import Message, RefusalPart, ToolCall
from locus.core.model_family import get_model_family, strip_model_snapshot
from locus.core.native_state_routing import NativeStateRule

WIRE_FORMAT: Final = "google_gemini"
NATIVE_STATE_RULE: Final = NativeStateRule(WIRE_FORMAT, get_model_family)
"""Signatures are for the server and the family of models that made them."""

SIGNATURE: Final = "thoughtSignature"
_PARTS: Final = "parts"
_TEXT_MEMBERS: Final = frozenset({"text", "thought"})
_SIGNED_MODELS: Final = re.compile(r"gemini-(?:[3-9]|[1-9]\d)")
"""Gemini 3 and later: they refuse a message whose first call has no signature."""
_SKIP_VALIDATION: Final = "skip_thought_signature_validator"
"""What Google documents in place of the signature of a call that another model made:
https://ai.google.dev/gemini-api/docs/thought-signatures#faqs."""


def make_call_state(signature: str | None) -> Any:
    """Make the native state of a call; None if it is not signed."""
    return NATIVE_STATE_RULE.make_state({SIGNATURE: signature}) if signature else None


def make_message_state(parts: list[dict[str, Any]]) -> Any:
    """Make the native state of a message.

    None if none of its texts and thoughts is signed, and nothing else is among them.
    """
    if all("text" in part and SIGNATURE not in part for part in parts):
        return None
    return NATIVE_STATE_RULE.make_state({_PARTS: parts})


def get_native_parts(message: Message) -> list[dict[str, Any]] | None:
    """Return the signed texts and thoughts of a message.

    None if there are none, if its text was changed since, or if nothing of it can be seen: such
    a message is not sent.
    """
    state = message.native_state
    if state is None or state.maker.wire_format != WIRE_FORMAT or _PARTS not in state.data:
        return None
    content = message.all_content
    if isinstance(content, tuple) and any(isinstance(part, RefusalPart) for part in content):
        return None
    parts = [dict(part) for part in state.data[_PARTS]]
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    has_more = any("text" not in part for part in parts)
    if text != message.text or not (text.strip() or message.tool_calls or has_more):
        return None
    return [part for part in parts if part.get("text", "").strip() or part.keys() - _TEXT_MEMBERS]


def has_native_parts(message: Message) -> bool:
    """Return whether a message without text has content that only its server knows: an image."""
    return bool(get_native_parts(message))


def find_signatures(model: str, calls: tuple[ToolCall, ...]) -> list[str | None]:
    """Return the signature of each call. Of several calls Gemini signs only the first."""
    signatures: list[str | None] = []
    for call in calls:
        state = call.native_state
        is_own = state is not None and state.maker.wire_format == WIRE_FORMAT
        signatures.append(state.data.get(SIGNATURE) if state is not None and is_own else None)
    if signatures and not any(signatures) and _SIGNED_MODELS.match(strip_model_snapshot(model)):
        signatures[0] = _SKIP_VALIDATION
    return signatures
