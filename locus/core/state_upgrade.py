"""Upgrades the JSON of saved states and messages of earlier versions of Locus.

**The agent's records.** Earlier versions of Locus stored these records in the caller's metadata,
under ``"locus"``::

    {"server_knows": 4, "server": "…", "server_system": "…",
     "empty_answer_after": 4, "asked_again": [1, 4]}

:func:`move_records_out_of_metadata` moves them into fields of the state. Today ``"locus"`` is a
name like any other in the caller's metadata. A state whose metadata has it is saved with the member
``records_in_metadata: false``, so that nothing is moved when it is loaded.

**Native state.** What a provider wants to see again was stored in the metadata of its message:
Anthropic's blocks under ``"blocks"``, the items of the responses API under ``"output_items"``, the
plan of Cohere's models under ``"tool_plan"``. :func:`move_native_state_out_of_metadata` moves them
into the message's ``native_state``. Today these are names like any other: a message whose metadata
has one of them is saved with the member ``native_state``, null if it has none.
"""

from __future__ import annotations

from typing import Any, Final

_RECORDS: Final = "locus"
_MARK: Final = "records_in_metadata"
_NATIVE_STATE: Final = "native_state"
_WIRE_FORMATS: Final = {
    "blocks": ("anthropic_messages", "blocks"),
    "output_items": ("responses", "items"),
    "tool_plan": ("oci_cohere_v2", "tool_plan"),
}
"""The names in the metadata of messages, and today's wire format and member of its native state."""
_NAMES: Final = ("server_knows", "server", "server_system", "empty_answer_after", "asked_again")


def add_current_metadata_mark(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a state, marked as current if its metadata have the name of old records.

    :param document: the state, as :func:`~locus.core.state_json.encode_state` is about to save it.
    """
    if _RECORDS in document.get("metadata", ()):
        return {**document, _MARK: False}
    return document


def move_records_out_of_metadata(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of an older state, with the agent's records as fields of their own.

    Records that are not what the agent wrote are dropped, as if they were not there.

    :param document: the state, as :func:`~locus.core.state_json.decode_state` has read it.
    """
    metadata = document.get("metadata")
    if document.get(_MARK) is False or not isinstance(metadata, dict):
        return document
    records = metadata.get(_RECORDS)
    if not isinstance(records, dict) or not any(name in records for name in _NAMES):
        return document  # "locus" is the caller's own
    others = {name: value for name, value in records.items() if name not in _NAMES}
    metadata = {name: value for name, value in metadata.items() if name != _RECORDS}
    if others:
        metadata[_RECORDS] = others
    return {**_convert_records_to_fields(records), **document, "metadata": metadata}


def _convert_records_to_fields(records: dict[str, Any]) -> dict[str, Any]:
    """Convert old records to the fields of a state that hold them today."""
    fields: dict[str, Any] = {}
    knowledge: dict[str, Any] = {}
    if _is_integer(records.get("server_knows")):
        knowledge["messages"] = records["server_knows"]
    # A value that is not a string was never a digest. As a string it does not equal one, either.
    if "server" in records:
        knowledge["server"] = str(records["server"])
    if "server_system" in records:
        knowledge["system_prompt"] = str(records["server_system"])
    if knowledge:
        fields["server_knowledge"] = knowledge
    if _is_integer(records.get("empty_answer_after")):
        fields["empty_response_after"] = records["empty_answer_after"]
    retries = records.get("asked_again")
    if isinstance(retries, list) and len(retries) == 2 and all(map(_is_integer, retries)):
        fields["output_retries"] = {"count": retries[0], "message_count": retries[1]}
    return fields


def _is_integer(value: Any) -> bool:
    return type(value) is int


def mark_message_as_current_format(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a message, marked as current if its metadata have an old name.

    :param document: the message, as it is about to be saved.
    """
    if _NATIVE_STATE not in document and any(
        name in document.get("metadata", ()) for name in _WIRE_FORMATS
    ):
        return {**document, _NATIVE_STATE: None}
    return document


def move_native_state_out_of_metadata(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of an older message, with its native state in a field of its own.

    What Locus has not written itself stays where it is.

    :param document: the message, as it was read.
    """
    metadata = document.get("metadata")
    if (
        _NATIVE_STATE in document
        or document.get("role") != "assistant"
        or not isinstance(metadata, dict)
    ):
        return document
    for name, (wire_format, member) in _WIRE_FORMATS.items():
        value = metadata.get(name)
        if _is_native_state(value):
            others = {other: metadata[other] for other in metadata if other != name}
            state = {"maker": {"wire_format": wire_format}, "data": {member: value}}
            return {**document, "metadata": others, _NATIVE_STATE: state}
    return document


def _is_native_state(value: Any) -> bool:
    """Return whether a value is what Locus has stored: text, or objects that have a type."""
    if isinstance(value, str):
        return bool(value)
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and isinstance(item.get("type"), str) for item in value)
    )
