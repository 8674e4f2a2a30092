"""``CredentialSource``: fetches credentials for an ``OCIAuth``, from a profile or a principal."""

from __future__ import annotations

import os
import time

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._config_profile import DEFAULT_PROFILE, Profile, read_profile
from locus.models.providers.oci._credentials_snapshot import Credentials
from locus.models.providers.oci._principals import PrincipalSource, make_principal_source
from locus.models.providers.oci._profile_credentials import (
    SessionTokenSource,
    make_api_key_credentials,
)
from locus.models.providers.oci._tokens import clean_token, format_time
from locus.models.providers.oci.authentication import OCIAuth


class CredentialSource:
    """Fetches credentials. Not thread-safe: its caller holds a lock."""

    def __init__(self, auth: OCIAuth) -> None:
        self._auth = auth
        self._session_source = SessionTokenSource()
        self._principal_sources: dict[str, PrincipalSource] = {}

    def make_copy_after_fork(self) -> CredentialSource:
        """Make a copy for a forked child, without locks and connections of ``oci``'s signers."""
        child = CredentialSource(self._auth)
        child._session_source = self._session_source
        return child

    def fetch_credentials(self) -> Credentials:
        """Fetch the newest credentials. Read files, call a service if needed, import ``oci``.

        :raises ConfigurationError: if the extra is not installed, or if something is missing,
            unreadable or expired; the message names it.
        :raises APIError: if a service failed.
        """
        try:
            import oci.signer  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                'requests to OCI are signed by Oracle\'s package: pip install "locus-llm[oci]"'
            ) from None
        auth = self._auth
        profile = None
        method = auth.method
        if method == "profile":
            profile = read_profile(auth.config_file, auth.profile_name)
            method = profile.auth_method
        elif method == "security_token":
            profile = read_profile(auth.config_file, auth.profile_name)
        if profile is not None and method == "api_key":
            return make_api_key_credentials(profile, auth.key_content)
        if profile is not None and method == "security_token":
            return self._session_source.read_or_refresh_credentials(profile, auth.key_content)
        delegation_token = None
        if method == "delegation_token":
            delegation_token = self._read_delegation_token(profile)
        if method not in self._principal_sources:
            self._principal_sources[method] = make_principal_source(method)
        credentials = self._principal_sources[method].fetch_credentials(delegation_token)
        if credentials.expires_at is not None and credentials.expires_at <= time.time():
            raise ConfigurationError(
                f"{auth}: the token expired at {format_time(credentials.expires_at)}; if it is "
                "new, this computer's clock is wrong"
            )
        return credentials

    def _read_delegation_token(self, profile: Profile | None) -> str:
        """Read the token that lets this machine act for a user. Cloud Shell renews its file.

        :raises ConfigurationError: if there is no token, or it cannot be sent.
        """
        environ = os.environ
        if self._auth.delegation_token:
            return clean_token(self._auth.delegation_token, "delegation_token")
        token = environ.get("OCI_DELEGATION_TOKEN")
        if token:
            return clean_token(token, "OCI_DELEGATION_TOKEN")
        path = environ.get("OCI_DELEGATION_TOKEN_FILE")
        if not path:
            profile = profile or self._find_optional_profile()
            path = profile.get("delegation_token_file") if profile is not None else None
        if not path:
            raise ConfigurationError(
                "auth_type='delegation_token' needs a delegation token: set OCI_DELEGATION_TOKEN, "
                "or OCI_DELEGATION_TOKEN_FILE, or delegation_token_file in the profile"
            )
        try:
            with open(os.path.expanduser(path), encoding="ascii") as file:
                return clean_token(file.read(), f"the delegation token {path}")
        except OSError as exc:
            raise ConfigurationError(f"the delegation token {path}: {exc.strerror}") from exc
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path} holds no delegation token") from None

    def _find_optional_profile(self) -> Profile | None:
        """Read the profile; return None if it cannot be read and the user did not name it."""
        auth = self._auth
        try:
            return read_profile(auth.config_file, auth.profile_name)
        except ConfigurationError:
            if auth.profile not in (None, DEFAULT_PROFILE):
                raise
            return None
