"""How the two OpenAI-style models of OCI get in: one of three ways, the same for both.

A profile, a principal (``auth_type=``), or an API key of the Generative AI service, which is sent
as a bearer token. The first two sign every request.
"""

from __future__ import annotations

import os
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.models.base import ModelConfig
from locus.models.providers.oci._credentials import check_token
from locus.models.providers.oci._profile import DEFAULT_CONFIG_FILE
from locus.models.providers.oci.settings import (
    AUTH_TYPES,
    OCIAuth,
    auth_of,
    compartment_given,
    compartment_of,
    openai_base_url_of,
    region_of,
)
from locus.transport.http_call import check_headers

COMPARTMENT_HEADER: Final = "opc-compartment-id"
KEY_HINT: Final = (
    "check the profile and that its key is known to OCI, that a policy lets its group or dynamic "
    "group use generative-ai-family, and the clock of this machine"
)


def path_of(config_file: str | os.PathLike[str] | None) -> str:
    """Where profiles are.

    :raises ConfigurationError: it is no path.
    """
    path = config_file or DEFAULT_CONFIG_FILE
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str):
        raise ConfigurationError(f"config_file must be a path, not {type(path).__name__}")
    return path


def check_texts(**said: Any) -> None:
    """Refuse arguments that are no text, or blank, without showing one: it may be a secret.

    :raises ConfigurationError: names the argument.
    """
    for name, value in said.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
        if value != value.strip():
            raise ConfigurationError(f"{name} has white space at its ends")


def base_url_in_region(config: Any) -> str:
    """The address of a config that was given none."""
    return openai_base_url_of(None, config.region)


@attrs.frozen(slots=False)  # a class has one base with slots: the config of its wire format
class AccessConfig(ModelConfig):
    """Where an OpenAI-style model of OCI is asked, and as whom: the fields that both have.

    :param profile: a section of ``config_file``: an API key, or a session token.
    :param auth_type: a principal: ``"instance_principal"``, ``"resource_principal"``,
        ``"security_token"``, ``"delegation_token"`` or ``"oke_workload_identity"``.
    :param api_key: a key of the Generative AI service, sent as a bearer token. Never shown.
    :param compartment_id: the OCID of the compartment; else ``OCI_COMPARTMENT``, else
        ``OCI_COMPARTMENT_ID``, else the profile's tenancy, all at the time of a request.
    :param region: where the service is asked; else ``OCI_REGION``, else ``us-chicago-1``.
    :param config_file: where profiles are.
    :param delegation_token: the token of ``auth_type="delegation_token"``; else
        ``OCI_DELEGATION_TOKEN``. Never shown.
    :param base_url: the API's root; else ``OCI_ENDPOINT``, else the region's.
    """

    region: str = attrs.field(default=None, converter=region_of)
    profile: str | None = None
    auth_type: str | None = None
    compartment_id: str | None = None
    config_file: str = attrs.field(default=DEFAULT_CONFIG_FILE, converter=path_of)
    api_key: str | None = attrs.field(default=None, repr=False)
    delegation_token: str | None = attrs.field(default=None, repr=False)
    base_url: str = attrs.field(
        default=attrs.Factory(base_url_in_region, takes_self=True), converter=openai_base_url_of
    )


def check_access(config: AccessConfig, made: str) -> None:
    """Refuse a config that names no way in, or several.

    :param made: the name of the class that is made, for the error.
    :raises ConfigurationError: shows the ways.
    """
    ways = {name: getattr(config, name) for name in ("profile", "auth_type", "api_key")}
    given = [f"{name}=" for name, value in ways.items() if value]
    if len(given) != 1:
        raise _unclear(f"got {' and '.join(given) or 'none of them'}", made)
    if not config.auth_type:
        return
    try:
        auth_of(auth_type=config.auth_type)
    except ConfigurationError as error:
        raise _unclear(str(error), made) from None
    word = str(getattr(config.auth_type, "value", config.auth_type))
    if word == "api_key":
        raise _unclear(f"an API key is a profile's, not auth_type={word!r}", made)
    if word not in AUTH_TYPES:
        raise _unclear(f"auth_type={word!r} is OCIModel's older name of 'security_token'", made)
    if compartment_given(config.compartment_id) is None:
        raise _unclear("auth_type= needs compartment_id=, or OCI_COMPARTMENT", made)


def _unclear(why: str, made: str) -> ConfigurationError:
    return ConfigurationError(
        f"{made} wants exactly one of profile=, auth_type= and api_key=; {why}. The ways:\n"
        f'  {made}("openai.gpt-4.1", profile="DEFAULT")  # a section of ~/.oci/config\n'
        f'  {made}("openai.gpt-4.1", auth_type="instance_principal", '
        f'compartment_id="ocid1.compartment…")  # on OCI; or {", ".join(AUTH_TYPES[1:])}\n'
        f'  {made}("openai.gpt-4.1", api_key="…")  # a key of the Generative AI service'
    )


def auth_for(config: AccessConfig) -> OCIAuth | None:
    """The credentials that sign, or None where a bearer token goes instead."""
    if config.api_key:
        return None
    return auth_of(
        profile=config.profile,
        auth_type=config.auth_type,
        config_file=config.config_file,
        delegation_token=config.delegation_token,
    )


def check_config(config: AccessConfig) -> None:
    """Refuse values that cannot work, whichever way in they are for.

    :raises ConfigurationError: names one.
    """
    check_texts(
        profile=config.profile,
        api_key=config.api_key,
        compartment_id=config.compartment_id,
        delegation_token=config.delegation_token,
    )
    for name in ("api_key", "delegation_token"):
        if getattr(config, name):
            check_token(getattr(config, name), name)
    if config.compartment_id:
        check_headers({COMPARTMENT_HEADER: config.compartment_id})


def headers_for(config: AccessConfig) -> dict[str, str]:
    """The headers that every request has, before it is signed or given its bearer token.

    :raises ConfigurationError: a signed request has no compartment, or the profile cannot be read.
    """
    auth = auth_for(config)
    if auth is None:
        compartment = compartment_given(config.compartment_id)
    else:
        compartment = compartment_of(config.compartment_id, auth)
    headers = {COMPARTMENT_HEADER: compartment} if compartment else {}
    check_headers(headers)
    return headers
