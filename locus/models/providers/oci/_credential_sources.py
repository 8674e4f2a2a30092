"""Where the credentials of an ``OCIAuth`` come from: its profile's files, or a principal."""

from __future__ import annotations

import os
import time

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._credentials import Credentials, check_token, clock
from locus.models.providers.oci._principals import Principal, principal
from locus.models.providers.oci._profile import DEFAULT_PROFILE, Profile, read_profile
from locus.models.providers.oci._profile_credentials import Session, api_key
from locus.models.providers.oci.settings import OCIAuth


class Source:
    """Fetches credentials, one caller at a time."""

    def __init__(self, auth: OCIAuth) -> None:
        self._auth = auth
        self._session = Session()
        self._principals: dict[str, Principal] = {}

    def after_fork(self) -> Source:
        """The same for a forked child, without the locks and connections of ``oci``'s signers."""
        child = Source(self._auth)
        child._session = self._session
        return child

    def fetch(self) -> Credentials:
        """The newest credentials. Reads files, may ask a service, and imports ``oci``.

        :raises ConfigurationError: the extra is not installed, or something is missing, unreadable
            or expired; says what.
        :raises APIError: a service failed.
        """
        try:
            import oci.signer  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                'requests to OCI are signed by Oracle\'s package: pip install "locus-llm[oci]"'
            ) from None
        auth = self._auth
        profile = None
        kind = auth.kind
        if kind == "profile":
            profile = read_profile(auth.config_file, auth.section)
            kind = profile.kind
        elif kind == "security_token":
            profile = read_profile(auth.config_file, auth.section)
        if profile is not None and kind == "api_key":
            return api_key(profile, auth.key_content)
        if profile is not None and kind == "security_token":
            return self._session.fetch(profile, auth.key_content)
        delegation_token = self._delegation_token(profile) if kind == "delegation_token" else None
        if kind not in self._principals:
            self._principals[kind] = principal(kind)
        credentials = self._principals[kind].fetch(delegation_token)
        if credentials.expires is not None and credentials.expires <= time.time():
            raise ConfigurationError(
                f"{auth}: the token expired at {clock(credentials.expires)}; if it is new, this "
                "computer's clock is wrong"
            )
        return credentials

    def _delegation_token(self, profile: Profile | None) -> str:
        """The token that lets this machine act for a user; Cloud Shell renews the file.

        :raises ConfigurationError: there is none, or it cannot be sent.
        """
        environ = os.environ
        if self._auth.delegation_token:
            return check_token(self._auth.delegation_token, "delegation_token")
        token = environ.get("OCI_DELEGATION_TOKEN")
        if token:
            return check_token(token, "OCI_DELEGATION_TOKEN")
        path = environ.get("OCI_DELEGATION_TOKEN_FILE")
        if not path:
            profile = profile or self._profile_if_any()
            path = profile.get("delegation_token_file") if profile is not None else None
        if not path:
            raise ConfigurationError(
                "auth_type='delegation_token' wants a delegation token: set OCI_DELEGATION_TOKEN, "
                "or OCI_DELEGATION_TOKEN_FILE, or delegation_token_file in the profile"
            )
        try:
            with open(os.path.expanduser(path), encoding="ascii") as file:
                return check_token(file.read(), f"the delegation token {path}")
        except OSError as error:
            raise ConfigurationError(f"the delegation token {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path} holds no delegation token") from None

    def _profile_if_any(self) -> Profile | None:
        auth = self._auth
        try:
            return read_profile(auth.config_file, auth.section)
        except ConfigurationError:
            if auth.profile not in (None, DEFAULT_PROFILE):
                raise
            return None  # it was not asked for by name
