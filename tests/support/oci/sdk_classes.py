"""Checks JSON for OCI with the ``oci`` package's own model classes.

The package deserializes JSON into its classes and drops members that they do not know, maps unknown
enum values to ``UNKNOWN_ENUM_VALUE``, and converts numbers to strings. So if a body is unchanged
after a round trip through the classes, it contains nothing that they do not know.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest


@cache
def _get_base_client() -> Any:
    oci = pytest.importorskip("oci")

    class NoSigner(oci.auth.signers.SecurityTokenSigner):  # type: ignore[misc]
        """A signer for a client that never sends."""

        def __init__(self) -> None:
            pass

    client = oci.generative_ai_inference.GenerativeAiInferenceClient(
        {}, signer=NoSigner(), service_endpoint="http://127.0.0.1:1"
    )
    return client.base_client


def deserialize(body: Any, class_name: str) -> Any:
    """Convert ``body`` to an object of a class of ``oci.generative_ai_inference.models``."""
    return _get_base_client().deserialize_response_data(json.dumps(body).encode(), class_name)


def serialize(value: Any) -> Any:
    """Convert an object of those classes to the JSON that the package would send."""
    return json.loads(json.dumps(_get_base_client().sanitize_for_serialization(value)))


def check_round_trip(body: Any, class_name: str = "ChatDetails") -> None:
    """Check that ``body`` is unchanged after a round trip through the class."""
    round_trip = serialize(deserialize(body, class_name))
    assert is_same_json(round_trip, body), (round_trip, body)


def is_same_json(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal. 1 and 1.0 are, but ``true`` equals neither."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(is_same_json(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(is_same_json, a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)
