"""The ``oci`` package's own classes as the judge of what Locus writes to OCI, and reads from it.

The package deserialises JSON into its classes and drops what they do not know, maps words it does
not know to ``UNKNOWN_ENUM_VALUE``, and makes strings of numbers. So a body that comes out of the
classes as it went in holds nothing they cannot say.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest


@cache
def _client() -> Any:
    oci = pytest.importorskip("oci")

    class Unsigned(oci.auth.signers.SecurityTokenSigner):  # type: ignore[misc]
        """A signer for a client that never sends."""

        def __init__(self) -> None:
            pass

    client = oci.generative_ai_inference.GenerativeAiInferenceClient(
        {}, signer=Unsigned(), service_endpoint="http://127.0.0.1:1"
    )
    return client.base_client


def understood(body: Any, kind: str) -> Any:
    """The object of a class of ``oci.generative_ai_inference.models`` that ``body`` stands for."""
    return _client().deserialize_response_data(json.dumps(body).encode(), kind)


def written(value: Any) -> Any:
    """An object of those classes as the JSON that the package would send."""
    return json.loads(json.dumps(_client().sanitize_for_serialization(value)))


def check_accepted(body: Any, kind: str = "ChatDetails") -> None:
    """The class ``kind`` can say all of ``body``, and nothing in other words."""
    again = written(understood(body, kind))
    assert same(again, body), (again, body)


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, and true is neither."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
