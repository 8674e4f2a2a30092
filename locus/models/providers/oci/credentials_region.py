"""Finds the region that the credentials of a model belong to: a profile's, or a principal's."""

from __future__ import annotations

import os
import warnings
from typing import Final

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._config_profile import read_profile
from locus.models.providers.oci.authentication import OCIAuth
from locus.models.providers.oci.endpoints import normalize_region

_PRINCIPAL_REGION_VARIABLE: Final = "OCI_RESOURCE_PRINCIPAL_REGION"
_warned: Final[set[tuple[str, str, str, str]]] = set()


def find_credentials_region(auth: OCIAuth) -> str | None:
    """Return the region of a profile or of a resource principal; None if it names none.

    It may read the file with the profiles, which is cached until it changes. A profile that cannot
    be read names no region here: the first request reports it. The region of a compute instance is
    known to its metadata service only, which is not asked.

    :raises ConfigurationError: if the region is not valid.
    """
    if not auth.needs_profile:
        region = os.environ.get(_PRINCIPAL_REGION_VARIABLE)
        return normalize_region(region, _PRINCIPAL_REGION_VARIABLE) if region else None
    try:
        profile = read_profile(auth.config_file, auth.profile_name)
    except ConfigurationError:
        return None
    region = profile.get("region")
    return normalize_region(region, f"the region of {profile}") if region else None


def warn_of_other_region(auth: OCIAuth, region: str, stacklevel: int) -> None:
    """Warn once if a model uses ``region`` by default, and its credentials name another one.

    :param stacklevel: that of :func:`warnings.warn`, as seen from the caller.
    """
    own_region = find_credentials_region(auth)
    key = (auth.config_file, auth.profile_name, own_region or region, region)
    if own_region in (None, region) or key in _warned:
        return
    _warned.add(key)
    warnings.warn(
        f"the region is {region}, the default, and not {own_region}, that of {auth}: pass region= "
        "or set OCI_REGION to choose one",
        stacklevel=stacklevel + 1,
    )
