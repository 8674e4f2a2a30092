"""Credentials that a machine has by itself: instance and resource principals, OKE workloads.

``oci``'s signers know where the tokens come from: the instance's metadata service and the
federation endpoint, the endpoints or files that ``OCI_RESOURCE_PRINCIPAL_*`` names (versions 1.1,
2.1, 2.2 and 3.0), or the cluster's proxymux. One of them is kept for as long as it works; what it
holds is copied out after each refresh (see ``_credentials``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._credentials import Credentials, explained, of_token
from locus.models.providers.oci._profile_credentials import auth_endpoint
from locus.models.providers.oci._resource_principal import VERSION, resource_principal


class Principal:
    """A source of tokens: one of ``oci``'s own signers for principals.

    :param what: what an error calls it.
    :param make: makes the signer, which gets its first token as it is made.
    """

    def __init__(self, what: str, make: Callable[[], Any]) -> None:
        self._what = what
        self._make = make
        self._issuer: Any = None

    def fetch(self, delegation_token: str | None = None) -> Credentials:
        """A new token.

        :raises ConfigurationError: this is no such machine, or its environment lacks something.
        :raises APIError: a service failed.
        """
        # A failure may leave it half refreshed, or with what is no longer true: make another then.
        issuer, self._issuer = self._issuer, None
        with explained(self._what):
            if issuer is None:
                issuer = self._make()
            else:
                issuer.refresh_security_token()
            holder = getattr(issuer, "federation_client", issuer)
            token = holder.security_token.security_token
            key = holder.session_key_supplier.get_key_pair()["private"]
            credentials = of_token(token, key, delegation_token, where=f"{self._what}: its token")
        self._issuer = issuer
        return credentials


def principal(kind: str) -> Principal:
    """The principal that an ``auth_type`` stands for."""
    if kind == "delegation_token":  # it rides on whatever principal the machine has
        kind = "resource_principal" if VERSION in os.environ else "instance_principal"
        return Principal(f"auth_type='delegation_token', {kind}", _MAKERS[kind])
    return Principal(f"auth_type={kind!r}", _MAKERS[kind])


def _patience(attempts: int, seconds: int, *statuses: int) -> Any:
    """How often ``oci`` tries by itself. Less than it would: callers wait, and try again too."""
    from oci.retry import RetryStrategyBuilder

    return (
        RetryStrategyBuilder(retry_max_wait_between_calls_seconds=4)
        .add_max_attempts(attempts)
        .add_total_elapsed_time(seconds)
        .add_service_error_check(
            service_error_retry_config={status: [] for status in (-1, 429, *statuses)},
            service_error_retry_on_any_5xx=True,
        )
        .get_retry_strategy()
    )


_HINT: Final = "Instance principals authentication can only be used on OCI compute instances"
"""What ``oci`` adds to an error of the metadata service, and to no other."""


def _instance() -> Any:
    from oci._vendor.requests.exceptions import RequestException
    from oci.auth.signers import InstancePrincipalsSecurityTokenSigner as Instance
    from oci.circuit_breaker import NoCircuitBreakerStrategy
    from oci.exceptions import ServiceError

    endpoint = None
    if "OCI_SDK_AUTH_CLIENT_REGION_URL" in os.environ:
        endpoint = f"{auth_endpoint('')}/v1/x509"
    try:
        return Instance(
            federation_endpoint=endpoint,
            # A metadata service that has only begun may answer 404.
            retry_strategy=_patience(4, 15, 404),
            federation_client_retry_strategy=_patience(3, 60),
            federation_client_circuit_breaker_strategy=NoCircuitBreakerStrategy(),
        )
    except (RequestException, ServiceError) as error:
        if not any(_HINT in str(said) for said in error.args):
            raise
        raise ConfigurationError(
            "the instance's metadata service does not answer, so this is no OCI compute instance, "
            "or a container on one that may not ask it; elsewhere, use a profile"
        ) from error


def _oke() -> Any:
    from oci.auth.signers import get_oke_workload_identity_resource_principal_signer

    return get_oke_workload_identity_resource_principal_signer(retry_strategy=_patience(4, 30))


_MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "instance_principal": _instance,
    "resource_principal": resource_principal,
    "oke_workload_identity": _oke,
}
