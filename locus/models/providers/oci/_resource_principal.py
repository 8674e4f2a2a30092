"""Resource principals: which of ``oci``'s signers the environment asks for.

Oracle's services set ``OCI_RESOURCE_PRINCIPAL_VERSION`` and its kin where their code runs.
``oci.auth.signers.get_resource_principals_signer`` knows what they mean. Two forms it has, and
cannot do (as of 2.189), are put right here by small subclasses: in 2.2, a passphrase with a key in
a file; in 3.0, a parent's address with a path, and a leaf of version 2.1.
"""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import urlsplit

_PREFIX: Final = "OCI_RESOURCE_PRINCIPAL_"
_LEAF: Final = "_FOR_LEAF_RESOURCE"
_PARENT: Final = "_FOR_PARENT_RESOURCE"
VERSION: Final = f"{_PREFIX}VERSION"


def resource_principal() -> Any:
    """One of ``oci``'s signers. It fetches its first token as it is made.

    Raises what the package raises.
    """
    match os.environ.get(VERSION):
        case "2.2":
            return _ephemeral("")
        case "3.0":
            return _nested()
        case _:
            from oci.auth.signers import get_resource_principals_signer

            return get_resource_principals_signer()


def _said(name: str, whose: str = "") -> str | None:
    return os.environ.get(f"{_PREFIX}{name}{whose}")


def _ephemeral(whose: str) -> Any:
    """Version 2.2: a token and a key, which the environment holds, or names files of."""
    from oci.auth.signers import EphemeralResourcePrincipalSigner
    from oci.auth.signers import ephemeral_resource_principals_signer as own
    from oci.signer import load_private_key_from_file

    class KeyFile(own.FileBasedSessionKeySupplier):  # type: ignore[misc]
        def refresh(self) -> None:
            passphrase = self.passphrase_file
            if passphrase is not None and os.path.isabs(passphrase):
                with open(passphrase, encoding="ascii") as file:
                    passphrase = file.read().strip()
            self.private_key = load_private_key_from_file(self.private_key_file, passphrase)
            self.public_key = self.private_key.public_key()

    class Ephemeral(EphemeralResourcePrincipalSigner):  # type: ignore[misc]
        def _construct_session_key_supplier(
            self, private_key: str | None = None, private_key_passphrase: str | None = None
        ) -> Any:
            if private_key is not None and os.path.isabs(private_key):
                return KeyFile(private_key, private_key_passphrase)
            return super()._construct_session_key_supplier(private_key, private_key_passphrase)

    return Ephemeral(
        session_token=_said("RPST", whose),
        private_key=_said("PRIVATE_PEM", whose),
        private_key_passphrase=_said("PRIVATE_PEM_PASSPHRASE", whose),
        region=_said("REGION", whose),
    )


def _leaf() -> Any:
    """Version 3.0: the resource that asks."""
    from oci.auth.signers import EphemeralResourcePrincipalV21Signer
    from oci.auth.signers.resource_principals_federation_signer import (
        ResourcePrincipalsFederationSigner,
    )

    endpoints = {
        "resource_principal_token_endpoint": _said("RPT_ENDPOINT", _LEAF),
        "resource_principal_session_token_endpoint": _said("RPST_ENDPOINT", _LEAF),
    }
    version = _said("VERSION", _LEAF)
    match version:
        case "2.2":
            return _ephemeral(_LEAF)
        case "2.1" | "2.1.1" | "2.1.2":
            return EphemeralResourcePrincipalV21Signer(
                **endpoints,
                resource_id=_said("RESOURCE_ID", _LEAF),
                tenancy_id=_said("TENANCY_ID", _LEAF),
                private_key=_said("PRIVATE_PEM", _LEAF),
                private_key_passphrase=_said("PRIVATE_PEM_PASSPHRASE", _LEAF),
                rp_version=version,
                region=_said("REGION", _LEAF),
                security_context=_said("SECURITY_CONTEXT", _LEAF),
                resource_principal_token_path=_said("RPT_PATH", _LEAF),
            )
        case "1.1":
            return ResourcePrincipalsFederationSigner(**endpoints, child_resource=True)
        case _:
            raise OSError(f"{VERSION}{_LEAF} is {version or 'not defined'}")


def _nested() -> Any:
    """Version 3.0: a resource, its parent, and perhaps the parent's own."""
    from oci.auth.signers.nested_resource_principals_signer import NestedResourcePrincipals

    class Nested(NestedResourcePrincipals):  # type: ignore[misc]
        def make_call(self, method: str, resource_path: str, **kw: Any) -> Any:
            """Ask an address in two parts: oci takes no endpoint with a path in it."""
            whole = urlsplit(f"{self.base_client.endpoint}{resource_path}")
            self.base_client.endpoint = f"{whole.scheme}://{whole.netloc}"
            path = f"{whole.path}?{whole.query}" if whole.query else whole.path
            return super().make_call(method, path, **kw)

    said = {"resource_principal_session_token_endpoint": _said("RPST_ENDPOINT", _PARENT)}
    parent = Nested(
        resource_principal_rpt_url=_said("RPT_URL", _PARENT), sub_resource_rp_signer=_leaf(), **said
    )
    above = parent.nested_parent_rpt_url
    if above is None:
        return parent
    if above == parent.resource_principal_token_endpoint:
        raise ValueError("a resource principal is its own parent")
    return Nested(
        resource_principal_rpt_url=above,
        sub_resource_rp_signer=parent,
        current_parent_depth=parent.current_parent_depth + 1,
        **said,
    )
