"""Upgrades the JSON of a saved state from before the agent's own records had fields.

Earlier versions of Locus stored these records in the caller's metadata, under ``"locus"``::

    {"server_knows": 4, "server": "…", "server_system": "…",
     "empty_answer_after": 4, "asked_again": [1, 4]}

:func:`move_records_out_of_metadata` moves them into fields of the state. Today ``"locus"`` is a
name like any other in the caller's metadata. A state whose metadata has it is saved with the member
``records_in_metadata: false``, so that nothing is moved when it is loaded.
"""

from __future__ import annotations

from typing import Any, Final

_RECORDS: Final = "locus"
_MARK: Final = "records_in_metadata"
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
