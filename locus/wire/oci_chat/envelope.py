"""The JSON that wraps every request and response of ``/actions/chat``, whatever the format inside.

A request is ``ChatDetails``: a compartment, the serving mode, and the ``chatRequest``. A response
is ``ChatResult``: the model, and the ``chatResponse``; or it is an error, with ``code`` and
``message``. The names are those of ``oci.generative_ai_inference.models``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from locus.core.call_options import CallOptions
from locus.core.error_body import says_error
from locus.core.errors import APIError
from locus.core.make_status_error import make_status_error
from locus.core.merge_extra_body import merge_members
from locus.wire import provider_json
from locus.wire.oci_chat.error_words import ORACLE_ERROR_WORDS
from locus.wire.provider_json import convert_body_to_text, to_json_builtins
from locus.wire.response_errors import make_incomplete_response_error

ENDPOINT_OCID_PREFIX: Final = "ocid1.generativeaiendpoint."
"""The beginning of the OCID of an endpoint: a model on a dedicated AI cluster."""

CHAT_MEMBER_GROUPS: Final = frozenset({"chatRequest", "streamOptions"})
"""The members of ``extra_body`` whose own members are merged."""
_CHAT_DETAILS_MEMBERS: Final = ("compartmentId", "servingMode", "chatRequest")


class RequestStruct(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A part of a request: ``max_tokens`` becomes ``maxTokens``; default values are left out."""


class StreamOptions(RequestStruct):
    is_include_usage: bool | None = None


class OCIResponseStruct(provider_json.ResponseStruct, rename="camel"):
    """A part of a response, with the same renaming."""


class ChatResult(OCIResponseStruct):
    """A ``ChatResult`` without its ``chatResponse``, which each format adds in a subclass."""

    model_id: str | None = None
    model_version: str | None = None
    code: str | int | None = None
    message: Any = None
    error: Any = None


def is_endpoint_ocid(model: str) -> bool:
    """Return whether ``model`` is the OCID of an endpoint on a dedicated AI cluster."""
    return model.lower().startswith(ENDPOINT_OCID_PREFIX)


def build_serving_mode(model: str) -> dict[str, str]:
    """Build the ``servingMode``: dedicated for an endpoint, on demand for any other model."""
    if is_endpoint_ocid(model):
        return {"servingType": "DEDICATED", "endpointId": model}
    return {"servingType": "ON_DEMAND", "modelId": model}


def build_chat_details(
    call_options: CallOptions, chat_request: RequestStruct, compartment_id: str | None = None
) -> dict[str, Any]:
    """Build the JSON body, made of builtin dictionaries and lists.

    ``config_members`` and ``extra_body`` hold further members of the ``chatRequest``, below and
    above those in it. ``compartmentId`` and ``servingMode`` in them are members of the body, and
    the members of a ``chatRequest`` in them count like the others.

    :param compartment_id: the compartment that is billed. Without it, whoever sends the body has to
        add it.
    :raises ConfigurationError: if a value cannot be written as JSON.
    """
    own_body: dict[str, Any] = {} if compartment_id is None else {"compartmentId": compartment_id}
    own_body["servingMode"] = build_serving_mode(call_options.model)
    body: dict[str, Any] = {}
    request: dict[str, Any] = {}
    for members in (
        call_options.config_members,
        own_body | to_json_builtins(chat_request),
        call_options.extra_body or {},
    ):
        body_members, request_members = _split_members(members)
        body = merge_members(body, body_members)
        request = merge_members(request, request_members, CHAT_MEMBER_GROUPS)
    return {**body, "chatRequest": request} if "chatRequest" not in body else body


def _split_members(members: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the members of the body, and those of its ``chatRequest``."""
    body: dict[str, Any] = {}
    request: dict[str, Any] = {}
    for name, value in members.items():
        if name == "chatRequest" and isinstance(value, Mapping):
            request.update(value)
        elif name in _CHAT_DETAILS_MEMBERS:
            body[name] = value
        else:
            request[name] = value
    return body, request


def raise_for_error(result: ChatResult, body: bytes | str | Mapping[str, Any]) -> None:
    """Raise an error if the response is an error object: ``{"code", "message"}``.

    :raises APIStatusError: if it is one.
    """
    raise_for_error_members(result.code, result.message, result.error, body)


def raise_for_error_members(
    code: str | int | None, message: Any, error: Any, body: bytes | str | Mapping[str, Any]
) -> None:
    """Raise an error if these members of a response, or of a chunk of a stream, describe one.

    Gateways in front of the service send a member ``error`` of their own instead.

    :raises APIStatusError: if they describe one.
    """
    if says_error(error):
        raise make_status_error(
            convert_body_to_text(body),
            error_object=error if isinstance(error, (Mapping, str)) else None,
            error_words=ORACLE_ERROR_WORDS,
        )
    if code or (isinstance(message, str) and message):
        raise make_status_error(convert_body_to_text(body), error_words=ORACLE_ERROR_WORDS)


def make_missing_member_error(member: str, body: bytes | str | Mapping[str, Any]) -> APIError:
    """Make the error for a response without ``member``: the provider's, or one about the body."""

    def make_oracle_error(text: str, error_object: Any) -> APIError:
        return make_status_error(text, error_object=error_object, error_words=ORACLE_ERROR_WORDS)

    return make_incomplete_response_error(f"the response has no {member}", body, make_oracle_error)
