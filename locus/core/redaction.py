"""Removes secrets from texts that a user or a log may show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_SECRET_NAME: Final = re.compile("auth|cookie|credential|key|passw|secret|signature|token", re.I)
MIN_SECRET_LENGTH: Final = 6
"""Shorter texts may be part of ordinary words."""


def find_secrets_in_headers(headers: Mapping[str, str]) -> Iterator[str]:
    """Find the credentials in the headers of a request: whole values, and what follows a scheme."""
    for name, value in headers.items():
        if _SECRET_NAME.search(name):
            for secret in (value, value.partition(" ")[2]):
                if len(secret) >= MIN_SECRET_LENGTH:
                    yield secret


def find_secrets_in_members(value: Any) -> Iterator[str]:
    """Find the credentials in members of a JSON body: what a remote MCP server is called with."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            pending += item.values()
            yield from find_secrets_in_headers(
                {str(name): text for name, text in item.items() if isinstance(text, str)}
            )
        elif isinstance(item, (list, tuple)):
            pending += item


def hide_secrets(value: Any) -> Any:
    """Return a copy of members of a JSON body for a repr, with ``***`` for the credentials."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(hide_secrets, value))
    if not isinstance(value, Mapping):
        return value
    return {
        name: "***"
        if isinstance(member, str) and _SECRET_NAME.search(str(name))
        else hide_secrets(member)
        for name, member in value.items()
    }


def redact_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret in ``text`` by ``***``.

    A secret that was cut off is removed, too, where the text ends in its beginning, or where an
    ellipsis follows its beginning.
    """
    known = set(secrets)
    # A library may quote a secret that it cannot send, by the repr() of the text or of its bytes.
    quoted = {repr(secret)[1:-1] for secret in known}
    quoted |= {repr(secret.encode(errors="replace"))[2:-1] for secret in known}
    for secret in sorted(filter(None, known | quoted), key=len, reverse=True):
        text = text.replace(secret, "***")
        for length in range(len(secret) - 1, 3, -1):
            beginning = secret[:length]
            text = text.replace(f"{beginning}…", "***…")
            if text.endswith(beginning):
                text = text[:-length] + "***"
    return text
