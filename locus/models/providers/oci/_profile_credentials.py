"""Makes credentials from a profile: an API signing key, or a session token with its key.

Both are read from their files at every fetch, so that a replaced key or token is noticed. A session
that the ``oci`` command line started can be extended for a day: if the file has no newer token, one
is requested from the auth service, as ``oci session refresh`` does. The new token stays in memory;
the file belongs to the command line.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._config_profile import Profile
from locus.models.providers.oci._credentials_snapshot import Credentials, make_token_credentials
from locus.models.providers.oci._sdk_errors import translate_sdk_errors
from locus.models.providers.oci._tokens import clean_token, format_time, is_jwt, read_token_lifetime

REFRESH_PATH = "/v1/authentication/refresh"
_TIMEOUTS = (10, 60)
"""Seconds for connecting and for reading, the same as in ``oci``'s own federation client."""


def make_api_key_credentials(profile: Profile, key_content: str | None) -> Credentials:
    """Make the credentials of a user's API signing key.

    :param key_content: the private key in PEM, in place of the profile's key file.
    :raises ConfigurationError: if something is missing, malformed or unreadable.
    """
    from oci.config import validate_config
    from oci.signer import Signer

    content = key_content or profile.get("key_content")
    required = ["user", "tenancy", "fingerprint", *([] if content else ["key_file"])]
    missing = [key for key in required if key not in profile]
    if missing:
        raise ConfigurationError(
            f"{profile} lacks {', '.join(missing)}: `oci setup config` writes a complete one, and "
            "`oci session authenticate` one with a session token"
        )
    identity = {key: profile[key] for key in ("user", "tenancy", "fingerprint")}
    with translate_sdk_errors(str(profile)):
        validate_config({"region": "none", "key_file": "some", **identity})
    passphrase = profile.get("pass_phrase")
    key_label = "key_content" if content else f"key_file {profile.get_expanded_path('key_file')}"
    with translate_sdk_errors(f"{profile}: {key_label}"):
        signer = Signer(
            *(identity[key] for key in ("tenancy", "user", "fingerprint")),
            "" if content else profile.get_expanded_path("key_file"),
            passphrase,
            content,
        )
    _check_key_is_rsa(signer.private_key, profile)
    return Credentials(signer)  # the passphrase is never sent, so no response can contain it


def _check_key_is_rsa(private_key: Any, profile: Profile) -> None:
    """Check that the private key is an RSA key."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(private_key, RSAPrivateKey):
        raise ConfigurationError(
            f"{profile}: OCI signs with RSA keys, and this key has another type"
        )


class SessionTokenSource:
    """Fetches the session token of a profile: from its file, then from the auth service."""

    def __init__(self) -> None:
        self._last_read: tuple[str, str] | None = None  # the file's name and text
        self._cached: Credentials | None = None

    def read_or_refresh_credentials(self, profile: Profile, key_content: str | None) -> Credentials:
        """Read the token file; if its token is not new, get another from the auth service.

        :raises ConfigurationError: if there is no token, or it has expired.
        :raises APIError: if the auth service failed.
        """
        if "security_token_file" not in profile:
            raise ConfigurationError(
                f"{profile} has no security_token_file: `oci session authenticate` makes one"
            )
        token = self._read_token(profile)
        private_key = self._read_private_key(profile, key_content)
        read = (profile["security_token_file"], token)
        if read == self._last_read and self._cached is not None:
            self._cached = self._fetch_refreshed_credentials(profile, self._cached, private_key)
        else:
            expires_at = read_token_lifetime(token)[1]
            if expires_at is not None and expires_at <= time.time():
                raise ConfigurationError(
                    f"{profile}: the session expired at {format_time(expires_at)}: "
                    f"{_format_login_hint(profile)}"
                )
            self._cached, self._last_read = make_token_credentials(token, private_key), read
        return self._cached

    def _read_token(self, profile: Profile) -> str:
        """Read the session token from the profile's file."""
        path = profile.get_expanded_path("security_token_file")
        hint = _format_login_hint(profile)
        with (
            translate_sdk_errors(f"{profile}: security_token_file", hint),
            open(path, encoding="ascii") as file,
        ):
            token = clean_token(file.read(), f"{profile}: security_token_file {path}", hint)
        if not is_jwt(token):
            raise ConfigurationError(f"{profile}: {path} holds no token: {hint}")
        return token

    def _read_private_key(self, profile: Profile, content: str | None) -> Any:
        """Read the private key that the session token was issued for."""
        from oci.signer import load_private_key, load_private_key_from_file

        passphrase = profile.get("pass_phrase")
        content = content or profile.get("key_content")
        if content is None and "key_file" not in profile:
            raise ConfigurationError(f"{profile} lacks key_file: {_format_login_hint(profile)}")
        with translate_sdk_errors(f"{profile}: its key"):
            if content is not None:
                private_key = load_private_key(content, passphrase)
            else:
                private_key = load_private_key_from_file(profile["key_file"], passphrase)
        _check_key_is_rsa(private_key, profile)
        return private_key

    def _fetch_refreshed_credentials(
        self, profile: Profile, cached: Credentials, private_key: Any
    ) -> Credentials:
        """Send the old token to the auth service, and return credentials with the new one."""
        from oci._vendor import requests

        region = profile.get("region") or os.environ.get("OCI_REGION")
        if region is None:
            raise ConfigurationError(f"{profile} lacks region: {_format_login_hint(profile)}")
        token = cached.signer.api_key.removeprefix("ST$")
        with translate_sdk_errors("refreshing the session", _format_login_hint(profile)):
            response = requests.post(
                f"{build_auth_service_url(region)}{REFRESH_PATH}",
                data=json.dumps({"currentToken": token}).encode(),
                headers={"content-type": "application/json"},
                auth=cached.signer,
                timeout=_TIMEOUTS,
            )
            if response.status_code != 200:
                from oci.exceptions import ServiceError

                raise ServiceError(
                    response.status_code, response.reason, response.headers, response.reason
                )
            new_token = response.json()["token"]
        label = f"{profile}: the session's new token"
        return make_token_credentials(new_token, private_key, label=label)


def build_auth_service_url(region: str) -> str:
    """Build the URL of a region's auth service, or use ``OCI_SDK_AUTH_CLIENT_REGION_URL``.

    The variable is that of Oracle's Go SDK; private realms need it.
    """
    from oci.regions import endpoint_for

    configured = os.environ.get("OCI_SDK_AUTH_CLIENT_REGION_URL")
    return configured.rstrip("/") if configured else str(endpoint_for("auth", region))


def _format_login_hint(profile: Profile) -> str:
    """Format the advice how to begin another session."""
    return f"`oci session authenticate --profile-name {profile.name}` begins another session"
