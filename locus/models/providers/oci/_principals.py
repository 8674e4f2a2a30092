"""Credentials of the machine itself: instance principals, resource principals, OKE workloads.

``oci``'s signers know how to get the tokens: from the instance's metadata service and the
federation endpoint, from the endpoints or files that ``OCI_RESOURCE_PRINCIPAL_*`` names (versions
1.1, 2.1, 2.2 and 3.0), or from the cluster's proxymux. One such signer is used for as long as it
works; its token and key are copied after each refresh (see ``_credentials``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._credentials_snapshot import Credentials, make_token_credentials
from locus.models.providers.oci._link_local import connect_directly_to_link_local
from locus.models.providers.oci._profile_credentials import build_auth_service_url
from locus.models.providers.oci._resource_principal_signer import (
    VERSION_VARIABLE,
    make_resource_principal_signer,
)
from locus.models.providers.oci._sdk_errors import translate_sdk_errors


class PrincipalSource:
    """Fetches the tokens of a principal through one of ``oci``'s own signers.

    :param label: names the principal in errors.
    :param make_signer: makes ``oci``'s signer, whose constructor fetches the first token.
    """

    def __init__(self, label: str, make_signer: Callable[[], Any]) -> None:
        self._label = label
        self._make_signer = make_signer
        self._sdk_signer: Any = None

    def fetch_credentials(self, delegation_token: str | None = None) -> Credentials:
        """Fetch a new token.

        :raises ConfigurationError: if this machine has no such principal, or its environment lacks
            something.
        :raises APIError: if a service failed.
        """
        # A signer that failed may be half refreshed, or hold outdated data: the next fetch makes
        # another one.
        signer, self._sdk_signer = self._sdk_signer, None
        with translate_sdk_errors(self._label):
            if signer is None:
                signer = self._make_signer()
            else:
                signer.refresh_security_token()
            token_holder = getattr(signer, "federation_client", signer)
            token = token_holder.security_token.security_token
            private_key = token_holder.session_key_supplier.get_key_pair()["private"]
            credentials = make_token_credentials(
                token, private_key, delegation_token, label=f"{self._label}: its token"
            )
        self._sdk_signer = signer
        return credentials


def make_principal_source(method: str) -> PrincipalSource:
    """Make the source of tokens for an ``auth_type``."""
    if method == "delegation_token":  # it is sent beside the token of the machine's own principal
        method = "resource_principal" if VERSION_VARIABLE in os.environ else "instance_principal"
        return PrincipalSource(f"auth_type='delegation_token', {method}", _SIGNER_FACTORIES[method])
    return PrincipalSource(f"auth_type={method!r}", _SIGNER_FACTORIES[method])


def _make_retry_strategy(max_attempts: int, max_seconds: int, *statuses: int) -> Any:
    """Make a retry strategy for ``oci``'s requests, with fewer retries than its default.

    :param statuses: HTTP statuses to retry after, beside 429 and 5xx.
    """
    from oci.retry import RetryStrategyBuilder

    return (
        RetryStrategyBuilder(retry_max_wait_between_calls_seconds=4)
        .add_max_attempts(max_attempts)
        .add_total_elapsed_time(max_seconds)
        .add_service_error_check(
            service_error_retry_config={status: [] for status in (-1, 429, *statuses)},
            service_error_retry_on_any_5xx=True,
        )
        .get_retry_strategy()
    )


_METADATA_ERROR_TEXT: Final = (
    "Instance principals authentication can only be used on OCI compute instances"
)
"""What ``oci`` adds to an error of the metadata service, and to no other."""


def _make_instance_principal_signer() -> Any:
    """Make ``oci``'s signer for the principal of a compute instance."""
    from oci._vendor.requests.exceptions import RequestException
    from oci.auth.signers import InstancePrincipalsSecurityTokenSigner
    from oci.circuit_breaker import NoCircuitBreakerStrategy
    from oci.exceptions import ServiceError

    connect_directly_to_link_local()
    endpoint = None
    if "OCI_SDK_AUTH_CLIENT_REGION_URL" in os.environ:
        endpoint = f"{build_auth_service_url('')}/v1/x509"
    try:
        return InstancePrincipalsSecurityTokenSigner(
            federation_endpoint=endpoint,
            # A metadata service that is still starting may return 404.
            retry_strategy=_make_retry_strategy(4, 15, 404),
            federation_client_retry_strategy=_make_retry_strategy(3, 60),
            federation_client_circuit_breaker_strategy=NoCircuitBreakerStrategy(),
        )
    except (RequestException, ServiceError) as exc:
        if not any(_METADATA_ERROR_TEXT in str(argument) for argument in exc.args):
            raise
        raise ConfigurationError(
            "the instance's metadata service does not reply, so this is not an OCI compute "
            "instance, or it is a container that may not call the service; elsewhere, use a profile"
        ) from exc


def _make_oke_workload_signer() -> Any:
    """Make ``oci``'s signer for a workload in a Kubernetes cluster (OKE)."""
    from oci.auth.signers import get_oke_workload_identity_resource_principal_signer

    return get_oke_workload_identity_resource_principal_signer(
        retry_strategy=_make_retry_strategy(4, 30)
    )


_SIGNER_FACTORIES: Final[dict[str, Callable[[], Any]]] = {
    "instance_principal": _make_instance_principal_signer,
    "resource_principal": make_resource_principal_signer,
    "oke_workload_identity": _make_oke_workload_signer,
}
