"""``ErrorBody``: what an error body says, in whatever form a server gives it.

One parser reads the error bodies of all providers:

- OpenAI's ``{"error": {"message", "type", "code"}}``, which Google wraps in a list and OpenRouter
  fills with the words of another provider (``metadata.raw``);
- Anthropic's ``{"type": "error", "error": {…}, "request_id"}``;
- Ollama's ``{"error": "text"}``, and xAI's and TGI's, with ``code`` or ``error_type`` beside it;
- ``{"code", "message"}`` (Oracle, Alibaba), ``{"detail"}`` (FastAPI), ``{"errors": […]}``
  (Cloudflare), ``{"message"}`` and ``{"__type", "message"}`` (Amazon);
- ``{"error_code", "error_msg"}`` (Baidu), ``{"base_resp": {"status_code", "status_msg"}}``
  (MiniMax), ``{"code", "msg", "success": false}`` (Zhipu's gateway).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

_MESSAGE_NAMES: Final = (
    *("message", "detail", "msg", "error_msg", "error_message", "errorMessage", "status_msg"),
    *("Message", "faultstring", "description", "error_description", "title"),
)
_CODE_NAMES: Final = ("code", "error_code", "status", "type", "error_type", "__type", "reason")
_STATUS_NAMES: Final = ("code", "status", "status_code", "statusCode", "http_code", "error_code")
_ERROR_NAMES: Final = ("error", "errors", "base_resp", "fault", "detail")
"""The members that wrap the error."""
_CERTAIN_NAMES: Final = ("error_msg", "error_message", "errorMessage", "error_code")
"""The members that only an error has."""

# https://platform.minimax.io/docs/api-reference/errorcode
_MINIMAX_STATUSES: Final = {
    1000: 500,
    1001: 504,
    1002: 429,
    1004: 401,
    1008: 402,
    1013: 500,
    1024: 500,
    1033: 500,
    1039: 429,
    1041: 429,
    2013: 400,
    2049: 401,
    2056: 429,
}
_MINIMAX_FILTERS: Final = frozenset({1026, 1027})
# https://cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh
_BAIDU_STATUSES: Final = {
    2: 503,
    4: 429,
    6: 403,
    13: 401,
    14: 401,
    17: 429,
    18: 429,
    100: 401,
    110: 401,
    111: 401,
    336000: 500,
    336003: 400,
    336100: 503,
    336501: 429,
    336502: 429,
}


@attrs.frozen
class ErrorBody:
    """The content of a provider's error body.

    :param message: the provider's explanation; empty if it gives none.
    :param codes: the provider's names for the error, the most exact one first.
    :param status_code: the HTTP status that the body itself names.
    :param request_id: the id of the request that the body names.
    :param is_certain: whether the body is an error whatever its HTTP status is. Else it only has
        a member like ``message``, which other JSON may have, too.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    status_code: int | None = None
    request_id: str | None = None
    is_certain: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the body says nothing: a placeholder that some servers send without an error."""
        return not (self.message or self.codes or self.status_code)

    @classmethod
    def parse(cls, body: Any) -> ErrorBody:
        """Read an error body that was decoded from JSON, or is text."""
        if isinstance(body, list) and len(body) == 1:  # Google's compatible endpoint
            body = body[0]
        if not isinstance(body, Mapping):
            return cls(_to_message(body))
        members = list(_iter_error_members(body))
        message = next(filter(None, map(_find_message, members)), "")
        inner_message = next(filter(None, map(_find_inner_message, members)), "")
        if inner_message and inner_message not in message:
            message = f"{message}: {inner_message}" if message else inner_message
        codes: dict[str, None] = {}
        for member in members:
            codes.update(dict.fromkeys(_find_codes(member)))
        request_id = body.get("request_id")
        return cls(
            message,
            tuple(codes),
            next(filter(None, map(_find_status, members)), None),
            request_id if isinstance(request_id, str) else None,
            _is_certain(body),
        )


def _iter_error_members(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Iterate over the mappings that describe the error, the inner ones first."""
    for name in _ERROR_NAMES:
        wrapped = body.get(name)
        if isinstance(wrapped, list) and wrapped and isinstance(wrapped[0], Mapping):
            wrapped = wrapped[0]
        if isinstance(wrapped, Mapping) and wrapped:
            inner = wrapped.get("innererror") or wrapped.get("inner_error")  # Azure's
            if isinstance(wrapped.get("error"), (Mapping, str)):  # a gateway wrapped it again
                yield from _iter_error_members(wrapped)
            yield wrapped
            if isinstance(inner, Mapping):
                yield inner
    yield body


def _find_message(member: Mapping[str, Any]) -> str:
    for name in ("error", *_MESSAGE_NAMES):
        value = member.get(name)
        if name == "error" and not isinstance(value, str):
            continue
        if name in ("detail", "message") and isinstance(value, list):  # FastAPI's
            return _to_message(value) if value else ""
        if value and (isinstance(value, str) or (name == "detail" and isinstance(value, Mapping))):
            return _to_message(value)
    return ""


def _find_inner_message(member: Mapping[str, Any]) -> str:
    """Return what the provider behind a gateway said (OpenRouter's ``metadata.raw``), or what the
    model wrote and Groq could not read as a call or as JSON."""
    generation = member.get("failed_generation")
    if generation:
        return _to_message(generation)
    metadata = member.get("metadata")
    if not isinstance(metadata, Mapping):
        return ""
    raw = metadata.get("raw")
    if isinstance(raw, str):
        try:
            raw = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return _to_message(raw)
    if isinstance(raw, (Mapping, list)) and raw:
        return ErrorBody.parse(raw).message or _to_message(raw)
    reasons = metadata.get("reasons")  # why OpenRouter's moderation refused
    return _to_message(reasons) if reasons else ""


def _find_codes(member: Mapping[str, Any]) -> Iterator[str]:
    for name in _CODE_NAMES:
        value = member.get(name)
        if isinstance(value, bool) or _to_status(value) is not None:
            continue
        if isinstance(value, (str, int)) and value and value != "error":
            yield to_loggable_text(str(value))
    status_code = member.get("status_code")  # MiniMax's
    if isinstance(status_code, int) and status_code and _to_status(status_code) is None:
        if status_code in _MINIMAX_FILTERS:
            yield "content_filter"
        yield str(status_code)


def _find_status(member: Mapping[str, Any]) -> int | None:
    for name in _STATUS_NAMES:
        status = _to_status(member.get(name))
        if status is not None:
            return status
    for name, statuses in (("status_code", _MINIMAX_STATUSES), ("error_code", _BAIDU_STATUSES)):
        value = member.get(name)
        if isinstance(value, int) and value in statuses:
            return statuses[value]
    return None


def _to_status(value: Any) -> int | None:
    """Return the HTTP error status that a value is, as a number or as text; else None."""
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    is_status = isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600
    return value if is_status else None


def _is_certain(body: Mapping[str, Any]) -> bool:
    for name in ("error", "errors"):
        wrapped = body.get(name)
        if isinstance(wrapped, Mapping):
            if not ErrorBody.parse(wrapped).is_empty:
                return True
        elif wrapped:
            return True
    base_resp = body.get("base_resp")
    if isinstance(base_resp, Mapping) and base_resp.get("status_code") not in (0, "0", None):
        return True
    return (
        body.get("success") is False
        or body.get("type") == "error"
        or any(body.get(name) for name in _CERTAIN_NAMES)
        or bool(body.get("code") and (body.get("message") or body.get("msg")))
        or bool(body.get("detail"))
    )


_TAGS: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.S | re.I)
_LOOKS_LIKE_HTML: Final = re.compile(r"\s*<(!doctype|html|head|body|h\d|title|center)\b", re.I)


def _to_message(value: Any) -> str:
    """Convert a JSON value, or a text body, to text for a reader. Of a web page, it is the text."""
    if value is None:
        return ""
    text = to_loggable_text(value)
    if _LOOKS_LIKE_HTML.match(text):
        text = " ".join(html.unescape(_TAGS.sub(" ", text[:20_000])).split()) or text
    return text.strip()


def to_loggable_text(value: Any) -> str:
    """Convert a JSON value to text that every encoding can represent."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode(errors="replace").decode()  # half a surrogate pair could not be logged


def says_error(error: Any) -> bool:
    """Return whether the member ``error`` of a response says that there was one.

    Some servers send the member with every response: an object without words, or an empty text.
    """
    if isinstance(error, list):
        return any(map(says_error, error))
    return bool(error) and not ErrorBody.parse({"error": error}).is_empty
