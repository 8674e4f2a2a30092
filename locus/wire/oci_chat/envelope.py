"""What every request of ``/actions/chat`` and its answer are wrapped in, whatever stands inside.

A request is ``ChatDetails``: a compartment, how the model is served, and the ``chatRequest``. An
answer is ``ChatResult``: the model, and the ``chatResponse``; or it is an error, a ``code`` and a
``message``. The names are those of ``oci.generative_ai_inference.models``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from locus.core.error_factory import make_status_error
from locus.core.errors import ConfigurationError, ResponseParseError
from locus.wire import json
from locus.wire.json import text_of

ENDPOINT: Final = "ocid1.generativeaiendpoint."
"""How the ids of endpoints begin: models on a dedicated AI cluster."""

_MEMBERS: Final = ("compartmentId", "servingMode", "chatRequest")


class Written(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A shape that is written: ``max_tokens`` as ``maxTokens``; defaults are left out."""


class StreamOptions(Written):
    is_include_usage: bool | None = None


class Read(json.Read, rename="camel"):
    """A shape that is read, in the same spelling."""


class Wrapped(Read):
    """A ``ChatResult`` without its ``chatResponse``, which each format declares for itself."""

    model_id: str | None = None
    model_version: str | None = None
    code: str | int | None = None
    message: Any = None
    error: Any = None


def is_endpoint(model: str) -> bool:
    """Whether ``model`` is the OCID of an endpoint on a dedicated AI cluster."""
    return model.lower().startswith(ENDPOINT)


def serving_mode(model: str) -> dict[str, str]:
    """How ``model`` is served: an endpoint is dedicated, a model's name or OCID on demand."""
    if is_endpoint(model):
        return {"servingType": "DEDICATED", "endpointId": model}
    return {"servingType": "ON_DEMAND", "modelId": model}


def chat_details(
    model: str,
    chat_request: Written,
    compartment_id: str | None = None,
    extra_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The JSON body, as plain dictionaries and lists.

    :param compartment_id: who pays; without it, whoever sends the body has to put it in.
    :param extra_body: further members of the ``chatRequest``, which win over those there;
        ``compartmentId`` and ``servingMode`` among them go where they belong, and a
        ``chatRequest`` is one more mapping of such members.
    :raises ConfigurationError: something in it has no place in JSON.
    """
    request: dict[str, Any] = msgspec.to_builtins(chat_request, enc_hook=plain)
    body: dict[str, Any] = {} if compartment_id is None else {"compartmentId": compartment_id}
    body |= {"servingMode": serving_mode(model), "chatRequest": request}
    for name, value in (extra_body or {}).items():
        if name == "chatRequest" and isinstance(value, Mapping):
            request |= value
        elif name in _MEMBERS:
            body[name] = value
        else:
            request[name] = value
    return body


def plain(value: Any) -> Any:
    """What ``msgspec`` cannot write by itself: mappings of any kind."""
    if isinstance(value, Mapping):
        return dict(value)
    raise ConfigurationError(
        f"the request cannot be written as JSON: {type(value).__name__} has no place in it"
    )


def check(result: Wrapped, body: bytes | str | Mapping[str, Any]) -> None:
    """Refuse an answer that is an error: ``{"code", "message"}``.

    :raises APIStatusError: it is one.
    """
    check_members(result.code, result.message, result.error, body)


def check_members(
    code: str | int | None, message: Any, error: Any, body: bytes | str | Mapping[str, Any]
) -> None:
    """The same for an event of a stream, by those of its members that may say so.

    Gateways before the service send an ``error`` of their own instead.

    :raises APIStatusError: it is one.
    """
    if error:
        raise make_status_error(
            text_of(body), error=error if isinstance(error, (Mapping, str)) else None
        )
    if code or (isinstance(message, str) and message):
        raise make_status_error(text_of(body))


def without(what: str, body: bytes | str | Mapping[str, Any]) -> ResponseParseError:
    """The error for an answer that lacks ``what``, with the body quoted."""
    return ResponseParseError(f"the answer has no {what}", body=text_of(body))
