"""``OpenAICompatibleConfig``: what the two models of OCI's OpenAI-compatible API have in common.

Both authenticate in one of three ways: with a profile, with a principal (``auth_type=``), or with
an API key of the Generative AI service, which is sent as a bearer token. The first two sign every
request.
"""

from __future__ import annotations

import os
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.models.config import ModelConfig
from locus.models.keyed_model import ApiKey
from locus.models.providers.oci._config_profile import DEFAULT_CONFIG_FILE
from locus.models.providers.oci._string_arguments import check_stripped_strings, to_config_path
from locus.models.providers.oci._tokens import clean_token
from locus.models.providers.oci.authentication import AUTH_TYPES, OCIAuth, resolve_auth
from locus.models.providers.oci.compartment import (
    COMPARTMENT_HEADER,
    find_configured_compartment,
    resolve_compartment,
)
from locus.models.providers.oci.endpoints import resolve_openai_base_url, resolve_region
from locus.transport.http_request import check_headers

PROJECT_HEADERS: Final = ("openai-project", "opc-project-id")
"""The names of a project's header: OpenAI's, which the service documents, and Oracle's own."""
CONVERSATION_STORE_HEADER: Final = "opc-conversation-store-id"


def _resolve_project(project: str | None) -> str | None:
    """Return the argument, else ``OCI_GENAI_PROJECT``, else None."""
    if project is not None and not isinstance(project, str):
        raise ConfigurationError(f"project must be a string, not {type(project).__name__}")
    return project or os.environ.get("OCI_GENAI_PROJECT") or None


def build_regional_base_url(config: Any) -> str:
    """Build the API's root URL in the region of ``config``."""
    return resolve_openai_base_url(None, config.region)


@attrs.frozen(slots=False)  # only one base of a class can have slots: its wire format's config
class OpenAICompatibleConfig(ModelConfig):
    """Region, URL and credentials of a model of OCI's OpenAI-compatible API.

    :param profile: a section of ``config_file``: an API key, or a session token.
    :param auth_type: a principal: ``"instance_principal"``, ``"resource_principal"``,
        ``"security_token"``, ``"delegation_token"`` or ``"oke_workload_identity"``.
    :param api_key: a key of the Generative AI service, sent as a bearer token, or a function that
        returns one, blocking or async, and is asked for each request. Never shown.
    :param compartment_id: the OCID of the compartment; else ``OCI_COMPARTMENT``, else
        ``OCI_COMPARTMENT_ID``, else the profile's tenancy, all at the time of a request.
    :param region: the region of the service, or its short code; else ``OCI_REGION``, else
        ``us-chicago-1``, whatever the region of the profile.
    :param config_file: the path of the file with the profiles.
    :param delegation_token: the token of ``auth_type="delegation_token"``; else
        ``OCI_DELEGATION_TOKEN``. Never shown.
    :param base_url: the API's root URL; else ``OCI_ENDPOINT``, else the region's.
    :param project: the OCID of the project that requests belong to; else ``OCI_GENAI_PROJECT``.
        The models take it as ``project_ocid``, too.
    :param conversation_store_id: the OCID of the store that has the conversations, where it is not
        the project's own.
    """

    region: str = attrs.field(default=None, converter=resolve_region)
    profile: str | None = None
    auth_type: str | None = None
    compartment_id: str | None = None
    config_file: str = attrs.field(default=DEFAULT_CONFIG_FILE, converter=to_config_path)
    api_key: ApiKey | None = attrs.field(default=None, repr=False)
    delegation_token: str | None = attrs.field(default=None, repr=False)
    base_url: str = attrs.field(
        default=attrs.Factory(build_regional_base_url, takes_self=True),
        converter=resolve_openai_base_url,
    )
    project: str | None = attrs.field(default=None, converter=_resolve_project)
    conversation_store_id: str | None = None

    @property
    def project_ocid(self) -> str | None:
        """The project, under its older name."""
        return self.project

    def build_project_headers(self) -> dict[str, str]:
        """Build the headers that name the project and the store of the conversations, if any."""
        headers = dict.fromkeys(PROJECT_HEADERS, self.project) if self.project else {}
        if self.conversation_store_id:
            headers[CONVERSATION_STORE_HEADER] = self.conversation_store_id
        return headers


def check_auth_arguments(config: OpenAICompatibleConfig, class_name: str) -> None:
    """Check that a config has exactly one way to authenticate.

    :param class_name: the name of the model's class, for the error.
    :raises ConfigurationError: if it has none or several; the message shows the three ways.
    """
    names = [f"{name}=" for name in ("profile", "auth_type", "api_key") if getattr(config, name)]
    if len(names) != 1:
        raise _make_auth_error(f"got {' and '.join(names) or 'none of them'}", class_name)
    if not config.auth_type:
        return
    try:
        resolve_auth(auth_type=config.auth_type)
    except ConfigurationError as exc:
        raise _make_auth_error(str(exc), class_name) from None
    auth_type = str(getattr(config.auth_type, "value", config.auth_type))
    if auth_type == "api_key":
        raise _make_auth_error(
            f"an API key is a profile's, not auth_type={auth_type!r}", class_name
        )
    if auth_type not in AUTH_TYPES:
        raise _make_auth_error(
            f"auth_type={auth_type!r} is OCIModel's older name of 'security_token'", class_name
        )
    if find_configured_compartment(config.compartment_id) is None:
        raise _make_auth_error("auth_type= needs compartment_id=, or OCI_COMPARTMENT", class_name)


def _make_auth_error(problem: str, class_name: str) -> ConfigurationError:
    """Make the error that shows the three ways to authenticate."""
    return ConfigurationError(
        f"{class_name} needs exactly one of profile=, auth_type= and api_key=; {problem}. "
        "The ways:\n"
        f'  {class_name}("openai.gpt-4.1", profile="DEFAULT")  # a section of ~/.oci/config\n'
        f'  {class_name}("openai.gpt-4.1", auth_type="instance_principal", '
        f'compartment_id="ocid1.compartment…")  # on OCI; or {", ".join(AUTH_TYPES[1:])}\n'
        f'  {class_name}("openai.gpt-4.1", api_key="…")  # a key of the Generative AI service'
    )


def find_signing_auth(config: OpenAICompatibleConfig) -> OCIAuth | None:
    """Return which credentials sign, or None if a bearer token is sent in their place."""
    if config.api_key:
        return None
    return resolve_auth(
        profile=config.profile,
        auth_type=config.auth_type,
        config_file=config.config_file,
        delegation_token=config.delegation_token,
    )


def check_strings_and_headers(config: OpenAICompatibleConfig) -> None:
    """Check the values that have to be correct however the model authenticates.

    :raises ConfigurationError: if a value is not valid; the message names it.
    """
    check_stripped_strings(
        profile=config.profile,
        api_key=None if callable(config.api_key) else config.api_key,
        compartment_id=config.compartment_id,
        delegation_token=config.delegation_token,
        project=config.project,
        conversation_store_id=config.conversation_store_id,
    )
    check_headers(config.build_project_headers())
    for name in ("api_key", "delegation_token"):
        if getattr(config, name) and not callable(getattr(config, name)):
            clean_token(getattr(config, name), name)
    if config.compartment_id:
        check_headers({COMPARTMENT_HEADER: config.compartment_id})


def build_compartment_headers(config: OpenAICompatibleConfig) -> dict[str, str]:
    """Build the header with the compartment, which every request has before it is signed.

    :raises ConfigurationError: if a signed request has no compartment, or the profile cannot be
        read.
    """
    auth = find_signing_auth(config)
    if auth is None:
        compartment = find_configured_compartment(config.compartment_id)
    else:
        compartment = resolve_compartment(config.compartment_id, auth)
    headers = {COMPARTMENT_HEADER: compartment} if compartment else {}
    check_headers(headers)
    return headers
