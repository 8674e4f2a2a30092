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
from locus.models.providers.oci._credentials import check_token
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
_PROFILED: Final = (_PROFILE, "security_token", "delegation_token")
"""The kinds for which a profile may say something."""
_REGION: Final = re.compile(r"[a-z]+(-[a-z0-9]+)*-\d+")
_SHORT_REGION: Final = re.compile(r"[a-z]{3}", re.I)
_OWN_PATH: Final = re.compile(
    r"(?<!/)(/20231130(/actions(/chat)?)?|/openai(/v1(/chat(/completions)?|/responses)?)?)+$"
)
"""What Oracle's own addresses have after the root, wherever they were copied from."""


@attrs.frozen(cache_hash=True)
class OCIAuth:
    """Which credentials sign. Equal values share a signer.

    :param kind: ``"profile"``, where the profile's shape decides, or one of ``AUTH_TYPES``.
    :param profile: the section of ``config_file``; None is ``DEFAULT``.
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
        return self.profile or DEFAULT_PROFILE

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

    Where ``OCI_PROFILE`` names the profile, it does so now: the value holds the name, and with
    another name it is another value.

    :raises ConfigurationError: an unknown ``auth_type``, a value of the wrong type, or a token that
        cannot be sent.
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
    if delegation_token is not None:
        said["delegation_token"] = check_token(delegation_token, "delegation_token")
    if kind in _PROFILED:
        said["profile"] = profile or os.environ.get("OCI_PROFILE") or None
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

    :raises ConfigurationError: it cannot be a region's name. A short code is none.
    """
    name = "region"
    if region is None:
        name, region = "OCI_REGION", os.environ.get("OCI_REGION") or DEFAULT_OCI_GENAI_REGION
    if isinstance(region, str) and _REGION.fullmatch(region):
        return region
    short = isinstance(region, str) and _SHORT_REGION.fullmatch(region)
    raise ConfigurationError(
        f"{name} must be a region's {'whole ' if short else ''}name, such as us-chicago-1, "
        f"not {'the short code ' if short else ''}{region!r}"
    )


def endpoint_of(service_endpoint: str | None = None, region: str | None = None) -> str:
    """The root of the inference service, without a path of its own: for OCI's own chat format.

    ``service_endpoint``, else ``OCI_ENDPOINT``, else the region's. An address that goes on into one
    of the two APIs (``/openai/v1``, ``/20231130/actions/chat``) is taken for its root.

    :raises ConfigurationError: it is no http(s) address.
    """
    if service_endpoint:
        return _OWN_PATH.sub("", _address(service_endpoint, "service_endpoint"))
    given = os.environ.get("OCI_ENDPOINT")
    if given:
        return _OWN_PATH.sub("", _address(given, "OCI_ENDPOINT"))
    return f"https://inference.generativeai.{region_of(region)}.oci.oraclecloud.com"


def openai_base_url_of(base_url: str | None = None, region: str | None = None) -> str:
    """The root of OCI's OpenAI-style API.

    ``base_url``, else that of :func:`endpoint_of`. ``/openai/v1`` is added to an address without a
    path, and put where one goes on into either API; another path, a gateway's say, stays as it is.

    :raises ConfigurationError: it is no http(s) address.
    """
    if not base_url:
        return f"{endpoint_of(None, region)}/openai/v1"
    given = _address(base_url, "base_url")
    root = _OWN_PATH.sub("", given)
    if root == given and "/" in given.partition("://")[2]:
        return given
    return f"{root}/openai/v1"


def _address(url: str, name: str) -> str:
    """The address, without a slash at its end; ``name`` is what an error calls it."""
    try:
        return check_base_url(url)
    except ConfigurationError as error:
        said = str(error).removeprefix("base_url")
        if name != "base_url":  # it may be for a model that has no such argument
            said = said.removesuffix(": pass api_key=")
        raise ConfigurationError(f"{name}{said}") from None


def build_oci_openai_base_url(region: str) -> str:
    """The root of the OpenAI-style API of one region of Oracle's commercial cloud."""
    return f"https://inference.generativeai.{region_of(region)}.oci.oraclecloud.com/openai/v1"
