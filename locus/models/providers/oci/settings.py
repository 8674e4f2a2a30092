"""Where Oracle's requests go and which credentials sign them, as values.

Nothing here imports the ``oci`` package or touches the network, so that making a model stays
cheap. The three models call:

- :func:`auth_of`: ``profile=``, ``auth_type=`` and ``config_file=`` as an :class:`OCIAuth`, which
  is what ``_signing.signer_for`` takes;
- :func:`compartment_of`: the compartment of a request; it may read the profile, a small file that
  is kept until it changes, so call it when a request is built and not when a model is made;
- :func:`region_of`, :func:`endpoint_of` and :func:`openai_base_url_of`: where to send.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.models.native.openai import check_base_url
from locus.models.providers.oci._profile import DEFAULT_CONFIG_FILE, DEFAULT_PROFILE, read_profile

DEFAULT_OCI_GENAI_REGION: Final = "us-chicago-1"
"""The region that is asked where nobody says another: the first to have every model."""

AUTH_TYPES: Final = (
    "instance_principal",
    "resource_principal",
    "security_token",
    "delegation_token",
    "oke_workload_identity",
)
"""What ``auth_type=`` may be on every OCI model."""
_PROFILE: Final = "profile"
_SAME: Final = {"api_key": _PROFILE, "session_token": "security_token"}
"""Older names. Of an API key it is the profile's shape that decides: it may hold a session."""
_REGION: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@attrs.frozen(cache_hash=True)
class OCIAuth:
    """Which credentials sign. Equal values share a signer.

    :param kind: ``"profile"``, where the profile's shape decides, or one of ``AUTH_TYPES``.
    :param profile: the section of ``config_file``; None is ``OCI_PROFILE`` if that is set, else
        ``DEFAULT``, at the time the credentials are read.
    :param config_file: as the ``oci`` package finds it: where the default does not exist,
        ``OCI_CONFIG_FILE`` names another.
    :param key_content: the private key itself, in PEM, instead of the profile's ``key_file``.
    :param delegation_token: the token itself; else ``OCI_DELEGATION_TOKEN``, else the file that
        ``OCI_DELEGATION_TOKEN_FILE`` or the profile's ``delegation_token_file`` names.
    """

    kind: str = _PROFILE
    profile: str | None = None
    config_file: str = DEFAULT_CONFIG_FILE
    key_content: str | None = attrs.field(default=None, repr=False)
    delegation_token: str | None = attrs.field(default=None, repr=False)

    @property
    def section(self) -> str:
        """The profile's name."""
        return self.profile or os.environ.get("OCI_PROFILE") or DEFAULT_PROFILE

    def __str__(self) -> str:
        """What the credentials are called in an error."""
        if self.kind in (_PROFILE, "security_token"):
            return f"the profile {self.section} of {self.config_file}"
        return f"auth_type={self.kind!r}"


def auth_of(
    *,
    profile: str | None = None,
    auth_type: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
    key_content: str | None = None,
    delegation_token: str | None = None,
) -> OCIAuth:
    """The credentials that a model's arguments name. ``OCIAuthType`` values are strings too.

    :raises ConfigurationError: an unknown ``auth_type`` or a value of the wrong type.
    """
    if auth_type is not None:
        word = getattr(auth_type, "value", auth_type)
        known = {**_SAME, **{name: name for name in AUTH_TYPES}}
        if not isinstance(word, str) or word not in known:
            raise ConfigurationError(
                f"auth_type must be one of {', '.join(AUTH_TYPES)}, not {word!r}; for an API key "
                "or a session token of ~/.oci/config, pass the profile"
            )
        kind = known[word]
    else:
        kind = _PROFILE
    said: dict[str, Any] = {
        "profile": profile,
        "key_content": key_content,
        "delegation_token": delegation_token,
    }
    for name, value in said.items():
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
        if value is not None and not value.strip():
            raise ConfigurationError(f"{name} is empty")
    file = DEFAULT_CONFIG_FILE if config_file is None else os.fspath(config_file)
    if not isinstance(file, str) or not file:
        raise ConfigurationError("config_file must be the path of a file")
    return OCIAuth(kind, config_file=file, **said)


def compartment_given(compartment_id: str | None) -> str | None:
    """The compartment that was said, here or in the environment; None leaves it to the profile.

    :raises ConfigurationError: it is no string.
    """
    if compartment_id is not None and not isinstance(compartment_id, str):
        raise ConfigurationError(
            f"compartment_id must be a string, not {type(compartment_id).__name__}"
        )
    environ = os.environ
    return (
        compartment_id or environ.get("OCI_COMPARTMENT") or environ.get("OCI_COMPARTMENT_ID")
    ) or None


def compartment_of(compartment_id: str | None, auth: OCIAuth | None) -> str:
    """The compartment of a request: what was said, else the environment, else the tenancy.

    :param auth: whose profile names the tenancy; None where a bearer token is sent.
    :raises ConfigurationError: there is none, or the profile cannot be read.
    """
    given = compartment_given(compartment_id)
    if given:
        return given
    if auth is not None and auth.kind in (_PROFILE, "security_token"):
        profile = read_profile(auth.config_file, auth.section)
        if profile.get("tenancy"):
            return profile["tenancy"]
    raise ConfigurationError(
        "OCI wants to know the compartment: pass compartment_id=, or set OCI_COMPARTMENT"
    )


def region_of(region: str | None = None) -> str:
    """The region: what was said, else ``OCI_REGION``, else ``us-chicago-1``.

    :raises ConfigurationError: it cannot be a region's name.
    """
    if region is None:
        region = os.environ.get("OCI_REGION") or DEFAULT_OCI_GENAI_REGION
    if not isinstance(region, str) or not _REGION.fullmatch(region):
        raise ConfigurationError(f"region must be a name such as us-chicago-1, not {region!r}")
    return region


def endpoint_of(service_endpoint: str | None = None, region: str | None = None) -> str:
    """The root of the inference service, without a path of its own: for OCI's own chat format.

    ``service_endpoint``, else ``OCI_ENDPOINT``, else the region's. An address that was made for
    the OpenAI-style models, or that carries the version of the API, is taken for its root.

    :raises ConfigurationError: it is no http(s) address.
    """
    given = service_endpoint or os.environ.get("OCI_ENDPOINT")
    if not given:
        return f"https://inference.generativeai.{region_of(region)}.oci.oraclecloud.com"
    return check_base_url(given).removesuffix("/openai/v1").removesuffix("/20231130").rstrip("/")


def openai_base_url_of(base_url: str | None = None, region: str | None = None) -> str:
    """The root of OCI's OpenAI-style API.

    ``base_url`` as it is, else that of :func:`endpoint_of`; ``/openai/v1`` is added to an address
    without a path.

    :raises ConfigurationError: it is no http(s) address.
    """
    if base_url:
        given = check_base_url(base_url)
        if given.partition("://")[2].count("/"):
            return given
        return f"{given}/openai/v1"
    return f"{endpoint_of(None, region)}/openai/v1"


def build_oci_openai_base_url(region: str) -> str:
    """The root of the OpenAI-style API of one region of Oracle's commercial cloud."""
    return f"https://inference.generativeai.{region_of(region)}.oci.oraclecloud.com/openai/v1"
