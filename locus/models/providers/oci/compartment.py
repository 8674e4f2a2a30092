"""Finds the compartment of a request, and names the header that carries it."""

from __future__ import annotations

import os
from typing import Final

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._config_profile import read_profile
from locus.models.providers.oci.authentication import OCIAuth

COMPARTMENT_HEADER: Final = "opc-compartment-id"


def find_configured_compartment(compartment_id: str | None) -> str | None:
    """Return the compartment from the argument or the environment, or None.

    None means that the profile has to name it; :func:`resolve_compartment` reads the profile.

    :raises ConfigurationError: if ``compartment_id`` is not a string.
    """
    if compartment_id is not None and not isinstance(compartment_id, str):
        raise ConfigurationError(
            f"compartment_id must be a string, not {type(compartment_id).__name__}"
        )
    environ = os.environ
    return (
        compartment_id or environ.get("OCI_COMPARTMENT") or environ.get("OCI_COMPARTMENT_ID")
    ) or None


def resolve_compartment(compartment_id: str | None, auth: OCIAuth | None) -> str:
    """Choose the compartment of a request: the argument, else the environment, else the tenancy.

    It may read the profile, a small file that is cached until it changes. So it is called when a
    request is built, and not when a model is created.

    :param auth: names the profile with the tenancy; None if a bearer token is sent.
    :raises ConfigurationError: if there is no compartment, or the profile cannot be read.
    """
    configured = find_configured_compartment(compartment_id)
    if configured:
        return configured
    if auth is not None and auth.needs_profile:
        profile = read_profile(auth.config_file, auth.profile_name)
        if profile.get("tenancy"):
            return profile["tenancy"]
    raise ConfigurationError(
        "OCI needs the compartment: pass compartment_id=, or set OCI_COMPARTMENT"
    )
