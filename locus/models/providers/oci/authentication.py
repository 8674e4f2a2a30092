"""``OCIAuth``: which credentials sign the requests, as a value made of a model's arguments.

Nothing here imports the ``oci`` package or uses the network, so that creating a model stays cheap.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._config_profile import DEFAULT_CONFIG_FILE, DEFAULT_PROFILE
from locus.models.providers.oci._tokens import clean_token

AUTH_TYPES: Final = (
    "instance_principal",
    "resource_principal",
    "security_token",
    "delegation_token",
    "oke_workload_identity",
)
"""The values of ``auth_type=`` that every OCI model takes."""
KEY_HINT: Final = (
    "check the profile and that its key is known to OCI, that a policy lets its group or dynamic "
    "group use generative-ai-family, and the clock of this machine"
)
"""What a user should check after an authentication error."""
_PROFILE_METHOD: Final = "profile"
_ALIASES: Final = {"api_key": _PROFILE_METHOD, "session_token": "security_token"}
"""Older names. With ``api_key`` the profile decides, since it may contain a session token."""
_METHODS_WITH_PROFILE: Final = (_PROFILE_METHOD, "security_token")
"""The methods that need a profile."""
_METHODS_READING_PROFILE: Final = (*_METHODS_WITH_PROFILE, "delegation_token")
"""The methods that read a profile, or may read one."""


class OCIAuthType(StrEnum):
    """Whose credentials sign. For the first three, the entries of the profile decide."""

    API_KEY = "api_key"
    SECURITY_TOKEN = "security_token"
    SESSION_TOKEN = "session_token"
    INSTANCE_PRINCIPAL = "instance_principal"
    RESOURCE_PRINCIPAL = "resource_principal"
    DELEGATION_TOKEN = "delegation_token"
    OKE_WORKLOAD_IDENTITY = "oke_workload_identity"


@attrs.frozen(cache_hash=True)
class OCIAuth:
    """Which credentials sign. Equal values share a signer.

    :param method: ``"profile"``, where the profile's entries decide, or one of ``AUTH_TYPES``.
    :param profile: the section of ``config_file``; None is ``DEFAULT``.
    :param config_file: the path of the config file, found as the ``oci`` package finds it: if the
        default does not exist, ``OCI_CONFIG_FILE`` names another.
    :param key_content: the private key itself, in PEM, in place of the profile's ``key_file``.
    :param delegation_token: the token itself; else ``OCI_DELEGATION_TOKEN``, else the file that
        ``OCI_DELEGATION_TOKEN_FILE`` or the profile's ``delegation_token_file`` names.
    """

    method: str = _PROFILE_METHOD
    profile: str | None = None
    config_file: str = DEFAULT_CONFIG_FILE
    key_content: str | None = attrs.field(default=None, repr=False)
    delegation_token: str | None = attrs.field(default=None, repr=False)

    @property
    def profile_name(self) -> str:
        """The profile's name, ``DEFAULT`` if none is set."""
        return self.profile or DEFAULT_PROFILE

    @property
    def needs_profile(self) -> bool:
        """Whether the credentials are those of a profile."""
        return self.method in _METHODS_WITH_PROFILE

    def __str__(self) -> str:
        """The name of the credentials in errors."""
        if self.needs_profile:
            return f"the profile {self.profile_name} of {self.config_file}"
        return f"auth_type={self.method!r}"


def resolve_auth(
    *,
    profile: str | None = None,
    auth_type: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
    key_content: str | None = None,
    delegation_token: str | None = None,
) -> OCIAuth:
    """Choose the credentials that a model's arguments and the environment name.

    Values of ``OCIAuthType`` are strings too. If ``OCI_PROFILE`` names the profile, it is read now:
    the result contains the name, and is not equal to one with another name.

    :raises ConfigurationError: if ``auth_type`` is unknown, a value has the wrong type, or a token
        cannot be sent.
    """
    if auth_type is not None:
        name = getattr(auth_type, "value", auth_type)
        methods = {**_ALIASES, **dict(zip(AUTH_TYPES, AUTH_TYPES, strict=True))}
        if not isinstance(name, str) or name not in methods:
            raise ConfigurationError(
                f"auth_type must be one of {', '.join(AUTH_TYPES)}, not {name!r}; for an API key "
                "or a session token of ~/.oci/config, pass the profile"
            )
        method = methods[name]
    else:
        method = _PROFILE_METHOD
    arguments: dict[str, Any] = {
        "profile": profile,
        "key_content": key_content,
        "delegation_token": delegation_token,
    }
    for name, value in arguments.items():
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
        if value is not None and not value.strip():
            raise ConfigurationError(f"{name} is empty")
    if delegation_token is not None:
        arguments["delegation_token"] = clean_token(delegation_token, "delegation_token")
    if method in _METHODS_READING_PROFILE:
        arguments["profile"] = profile or os.environ.get("OCI_PROFILE") or None
    path = DEFAULT_CONFIG_FILE if config_file is None else os.fspath(config_file)
    if not isinstance(path, str) or not path:
        raise ConfigurationError("config_file must be the path of a file")
    return OCIAuth(method, config_file=path, **arguments)
