"""``OCIConfig``: the configuration of ``OCIModel``, the model in OCI's own chat format."""

from __future__ import annotations

import os
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.models.config import ModelConfig
from locus.models.providers.oci._config_profile import DEFAULT_CONFIG_FILE, DEFAULT_PROFILE
from locus.models.providers.oci._string_arguments import check_stripped_strings, to_config_path
from locus.models.providers.oci.authentication import OCIAuth, OCIAuthType, resolve_auth
from locus.models.providers.oci.compartment import COMPARTMENT_HEADER
from locus.models.providers.oci.credentials_region import find_credentials_region
from locus.models.providers.oci.endpoints import (
    DEFAULT_OCI_GENAI_REGION,
    find_environment_region,
    resolve_endpoint,
    resolve_region,
)
from locus.transport.http_request import check_headers

API_FORMATS: Final = ("GENERIC", "COHERE", "COHEREV2")
"""The values of ``api_format=``: OCI's request formats."""


def build_regional_endpoint(config: Any) -> str:
    """Build the service's root URL in the region of ``config``."""
    return resolve_endpoint(None, config.region)


def find_default_region(config: Any) -> str:
    """Return ``OCI_REGION``, else the region of the profile or principal, else ``us-chicago-1``."""
    region = find_environment_region() or find_credentials_region(config.resolve_auth())
    return region or DEFAULT_OCI_GENAI_REGION


def _resolve_auth_type(auth_type: str | None) -> OCIAuthType:
    """Return the argument, else ``OCI_AUTH_TYPE``, else ``api_key``."""
    if auth_type is not None and not isinstance(auth_type, str):
        raise ConfigurationError(
            f"auth_type must be one of {', '.join(OCIAuthType)}; not {auth_type!r}"
        )
    name = auth_type or os.environ.get("OCI_AUTH_TYPE") or OCIAuthType.API_KEY
    try:
        return OCIAuthType(name)
    except ValueError:
        raise ConfigurationError(
            f"auth_type must be one of {', '.join(OCIAuthType)}, not {name!r}"
        ) from None


def _resolve_profile_name(name: str | None) -> str:
    """Return the argument, else ``OCI_PROFILE``, else ``DEFAULT``."""
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(f"profile_name must be a name; not {name!r}")
    return name or os.environ.get("OCI_PROFILE") or DEFAULT_PROFILE


def _validate_api_format(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and value not in API_FORMATS:
        raise ConfigurationError(f"{field.name} is one of {', '.join(API_FORMATS)}, not {value!r}")


@attrs.frozen
class OCIConfig(ModelConfig):
    """The options of this model besides those of :class:`~locus.models.config.ModelConfig`.

    :param compartment_id: the OCID of the compartment; else ``OCI_COMPARTMENT``, else
        ``OCI_COMPARTMENT_ID``, else the profile's tenancy, all at the time of a request.
    :param profile_name: a section of ``config_file``; else ``OCI_PROFILE``, else ``DEFAULT``.
    :param auth_type: an :class:`OCIAuthType`; else ``OCI_AUTH_TYPE``, else ``api_key``.
    :param config_file: the path of the file with the profiles.
    :param region: the region of the service, or its short code; else ``OCI_REGION``, else that of
        the profile or the resource principal, else ``us-chicago-1``.
    :param service_endpoint: the service's root URL; else ``OCI_ENDPOINT``, else the region's.
    :param delegation_token: the token of ``auth_type="delegation_token"``; else
        ``OCI_DELEGATION_TOKEN``. Never shown.
    :param api_format: ``"GENERIC"``, ``"COHERE"`` or ``"COHEREV2"``, where the model's name does
        not decide it: on a dedicated AI cluster, or for a model that needs the newer Cohere format.
    :param stream_usage: ask for token counts at the end of a stream.
    """

    compartment_id: str | None = None
    profile_name: str = attrs.field(default=None, converter=_resolve_profile_name)
    auth_type: OCIAuthType = attrs.field(default=None, converter=_resolve_auth_type)
    config_file: str = attrs.field(default=DEFAULT_CONFIG_FILE, converter=to_config_path)
    delegation_token: str | None = attrs.field(default=None, repr=False)
    region: str = attrs.field(
        default=attrs.Factory(find_default_region, takes_self=True), converter=resolve_region
    )
    service_endpoint: str = attrs.field(
        default=attrs.Factory(build_regional_endpoint, takes_self=True), converter=resolve_endpoint
    )
    api_format: str | None = attrs.field(default=None, validator=_validate_api_format)
    stream_usage: bool = True

    def __attrs_post_init__(self) -> None:
        check_stripped_strings(
            compartment_id=self.compartment_id,
            profile_name=self.profile_name,
            delegation_token=self.delegation_token,
        )
        if self.compartment_id:
            check_headers({COMPARTMENT_HEADER: self.compartment_id})

    @property
    def model_id(self) -> str:
        """The model's name, or the OCID of an endpoint."""
        return self.model

    @property
    def format(self) -> str:
        """The format of requests: ``api_format``, else the one for the model's name."""
        is_command_r = self.model.lower().startswith("cohere.command-r")
        return self.api_format or ("COHERE" if is_command_r else "GENERIC")

    def resolve_auth(self) -> OCIAuth:
        """Return which credentials sign the requests."""
        return resolve_auth(
            profile=self.profile_name,
            auth_type=self.auth_type,
            config_file=self.config_file,
            delegation_token=self.delegation_token,
        )
