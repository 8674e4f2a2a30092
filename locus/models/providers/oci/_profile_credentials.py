"""Credentials that stand in a profile: an API key, or a session token with its key.

Both are read from their files again whenever they are asked for, so that a key or token which
somebody has replaced is found. A session that the ``oci`` command line began can be prolonged for
a day; ``oci session refresh`` asks the auth service to do so, and so does this module when the
file has nothing newer. The new token is kept in memory: the file is the command line's.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._credentials import (
    Credentials,
    check_token,
    clock,
    explained,
    is_token,
    life_of,
    of_token,
)
from locus.models.providers.oci._profile import Profile

REFRESH_PATH = "/v1/authentication/refresh"
_TIMEOUTS = (10, 60)
"""Seconds for connecting and for reading, as ``oci``'s own federation client has them."""


def api_key(profile: Profile, key_content: str | None) -> Credentials:
    """The credentials of a user's API key.

    :raises ConfigurationError: what is missing, malformed or unreadable.
    """
    from oci.config import validate_config
    from oci.signer import Signer

    content = key_content or profile.get("key_content")
    wanted = ["user", "tenancy", "fingerprint", *([] if content else ["key_file"])]
    missing = [key for key in wanted if key not in profile]
    if missing:
        raise ConfigurationError(
            f"{profile} lacks {', '.join(missing)}: `oci setup config` writes a whole one, and "
            "`oci session authenticate` one with a session token"
        )
    shape = {key: profile[key] for key in ("user", "tenancy", "fingerprint")}
    with explained(str(profile)):
        validate_config({"region": "none", "key_file": "some", **shape})
    passphrase = profile.get("pass_phrase")
    where = "key_content" if content else f"key_file {profile.path('key_file')}"
    with explained(f"{profile}: {where}"):
        signer = Signer(
            *(shape[key] for key in ("tenancy", "user", "fingerprint")),
            "" if content else profile.path("key_file"),
            passphrase,
            content,
        )
    _check_rsa(signer.private_key, profile)
    return Credentials(signer)  # the passphrase stays here, so no answer can hold it


def _check_rsa(key: Any, profile: Profile) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(f"{profile}: OCI signs with RSA keys, and this is another kind")


class Session:
    """A session token: what its file says, and what the auth service made of it since."""

    def __init__(self) -> None:
        self._read: tuple[str, str] | None = None  # the file's name and text
        self._held: Credentials | None = None

    def fetch(self, profile: Profile, key_content: str | None) -> Credentials:
        """The file's token if that is new, else one that the auth service gives for the old.

        :raises ConfigurationError: there is no token, or it has expired.
        :raises APIError: the auth service failed.
        """
        if "security_token_file" not in profile:
            raise ConfigurationError(
                f"{profile} has no security_token_file: `oci session authenticate` makes one"
            )
        token, key = self._token(profile), self._key(profile, key_content)
        read = (profile["security_token_file"], token)
        if read == self._read and self._held is not None:
            self._held = self._prolonged(profile, self._held, key)
        else:
            expires = life_of(token)[1]
            if expires is not None and expires <= time.time():
                raise ConfigurationError(
                    f"{profile}: the session expired at {clock(expires)}: {_again(profile)}"
                )
            self._held, self._read = of_token(token, key), read
        return self._held

    def _token(self, profile: Profile) -> str:
        path = profile.path("security_token_file")
        hint = _again(profile)
        with (
            explained(f"{profile}: security_token_file", hint),
            open(path, encoding="ascii") as file,
        ):
            token = check_token(file.read(), f"{profile}: security_token_file {path}", hint)
        if not is_token(token):
            raise ConfigurationError(f"{profile}: {path} holds no token: {hint}")
        return token

    def _key(self, profile: Profile, content: str | None) -> Any:
        from oci.signer import load_private_key, load_private_key_from_file

        passphrase = profile.get("pass_phrase")
        content = content or profile.get("key_content")
        if content is None and "key_file" not in profile:
            raise ConfigurationError(f"{profile} lacks key_file: {_again(profile)}")
        with explained(f"{profile}: its key"):
            if content is not None:
                key = load_private_key(content, passphrase)
            else:
                key = load_private_key_from_file(profile["key_file"], passphrase)
        _check_rsa(key, profile)
        return key

    def _prolonged(self, profile: Profile, held: Credentials, key: Any) -> Credentials:
        from oci._vendor import requests

        region = profile.get("region") or os.environ.get("OCI_REGION")
        if region is None:
            raise ConfigurationError(f"{profile} lacks region: {_again(profile)}")
        token = held.signer.api_key.removeprefix("ST$")
        with explained("refreshing the session", _again(profile)):
            answer = requests.post(
                f"{auth_endpoint(region)}{REFRESH_PATH}",
                data=json.dumps({"currentToken": token}).encode(),
                headers={"content-type": "application/json"},
                auth=held.signer,
                timeout=_TIMEOUTS,
            )
            if answer.status_code != 200:
                from oci.exceptions import ServiceError

                raise ServiceError(answer.status_code, answer.reason, answer.headers, answer.reason)
            new = answer.json()["token"]
        return of_token(new, key, where=f"{profile}: the session's new token")


def auth_endpoint(region: str) -> str:
    """The auth service of a region; ``OCI_SDK_AUTH_CLIENT_REGION_URL`` names another.

    The variable is that of Oracle's Go SDK; private realms need it.
    """
    from oci.regions import endpoint_for

    named = os.environ.get("OCI_SDK_AUTH_CLIENT_REGION_URL")
    return named.rstrip("/") if named else str(endpoint_for("auth", region))


def _again(profile: Profile) -> str:
    return f"`oci session authenticate --profile-name {profile.name}` begins another session"
