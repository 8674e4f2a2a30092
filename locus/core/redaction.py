"""Removes secrets from texts that a user or a log may show."""

from __future__ import annotations

from collections.abc import Iterable


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
