"""Makes ``oci``'s signer for a resource principal, as the environment variables specify.

Oracle's services set ``OCI_RESOURCE_PRINCIPAL_VERSION`` and related variables where their code
runs, and ``oci.auth.signers.get_resource_principals_signer`` reads them. Two cases that it accepts
but cannot handle (as of ``oci`` 2.189) are corrected here by small subclasses: in version 2.2, a
passphrase with a key in a file; in version 3.0, a parent's URL with a path, and a leaf resource of
version 2.1.
"""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import urlsplit

_PREFIX: Final = "OCI_RESOURCE_PRINCIPAL_"
_LEAF: Final = "_FOR_LEAF_RESOURCE"
_PARENT: Final = "_FOR_PARENT_RESOURCE"
VERSION_VARIABLE: Final = f"{_PREFIX}VERSION"


def make_resource_principal_signer() -> Any:
    """Make one of ``oci``'s signers. Its constructor fetches the first token.

    :raises Exception: whatever the ``oci`` package raises.
    """
    match os.environ.get(VERSION_VARIABLE):
        case "2.2":
            return _make_ephemeral_signer("")
        case "3.0":
            return _make_nested_signer()
        case _:
            from oci.auth.signers import get_resource_principals_signer

            return get_resource_principals_signer()


def _read_variable(name: str, suffix: str = "") -> str | None:
    """Return the value of one of the environment variables, or None."""
    return os.environ.get(f"{_PREFIX}{name}{suffix}")


def _make_ephemeral_signer(suffix: str) -> Any:
    """Make the signer of version 2.2: the environment names a token and a key, or their files."""
    from oci.auth.signers import EphemeralResourcePrincipalSigner
    from oci.auth.signers import ephemeral_resource_principals_signer as oci_module
    from oci.signer import load_private_key_from_file

    class KeyFileSupplier(oci_module.FileBasedSessionKeySupplier):  # type: ignore[misc]
        def refresh(self) -> None:
            passphrase = self.passphrase_file
            if passphrase is not None and os.path.isabs(passphrase):
                with open(passphrase, encoding="ascii") as file:
                    passphrase = file.read().strip()
            self.private_key = load_private_key_from_file(self.private_key_file, passphrase)
            self.public_key = self.private_key.public_key()

    class EphemeralSigner(EphemeralResourcePrincipalSigner):  # type: ignore[misc]
        def _construct_session_key_supplier(
            self, private_key: str | None = None, private_key_passphrase: str | None = None
        ) -> Any:
            if private_key is not None and os.path.isabs(private_key):
                return KeyFileSupplier(private_key, private_key_passphrase)
            return super()._construct_session_key_supplier(private_key, private_key_passphrase)

    return EphemeralSigner(
        session_token=_read_variable("RPST", suffix),
        private_key=_read_variable("PRIVATE_PEM", suffix),
        private_key_passphrase=_read_variable("PRIVATE_PEM_PASSPHRASE", suffix),
        region=_read_variable("REGION", suffix),
    )


def _make_leaf_signer() -> Any:
    """Make the signer of version 3.0 for the resource that makes the requests."""
    from oci.auth.signers import EphemeralResourcePrincipalV21Signer
    from oci.auth.signers.resource_principals_federation_signer import (
        ResourcePrincipalsFederationSigner,
    )

    endpoints = {
        "resource_principal_token_endpoint": _read_variable("RPT_ENDPOINT", _LEAF),
        "resource_principal_session_token_endpoint": _read_variable("RPST_ENDPOINT", _LEAF),
    }
    version = _read_variable("VERSION", _LEAF)
    match version:
        case "2.2":
            return _make_ephemeral_signer(_LEAF)
        case "2.1" | "2.1.1" | "2.1.2":
            return EphemeralResourcePrincipalV21Signer(
                **endpoints,
                resource_id=_read_variable("RESOURCE_ID", _LEAF),
                tenancy_id=_read_variable("TENANCY_ID", _LEAF),
                private_key=_read_variable("PRIVATE_PEM", _LEAF),
                private_key_passphrase=_read_variable("PRIVATE_PEM_PASSPHRASE", _LEAF),
                rp_version=version,
                region=_read_variable("REGION", _LEAF),
                security_context=_read_variable("SECURITY_CONTEXT", _LEAF),
                resource_principal_token_path=_read_variable("RPT_PATH", _LEAF),
            )
        case "1.1":
            return ResourcePrincipalsFederationSigner(**endpoints, child_resource=True)
        case _:
            raise OSError(f"{VERSION_VARIABLE}{_LEAF} is {version or 'not defined'}")


def _make_nested_signer() -> Any:
    """Make the signer of version 3.0: a resource, its parent, and perhaps its grandparent."""
    from oci.auth.signers.nested_resource_principals_signer import NestedResourcePrincipals

    class NestedSigner(NestedResourcePrincipals):  # type: ignore[misc]
        def make_call(self, method: str, resource_path: str, **kw: Any) -> Any:
            """Move the URL's path into ``resource_path``: oci takes no endpoint with a path."""
            url = urlsplit(f"{self.base_client.endpoint}{resource_path}")
            self.base_client.endpoint = f"{url.scheme}://{url.netloc}"
            path = f"{url.path}?{url.query}" if url.query else url.path
            return super().make_call(method, path, **kw)

    endpoint = {
        "resource_principal_session_token_endpoint": _read_variable("RPST_ENDPOINT", _PARENT)
    }
    parent = NestedSigner(
        resource_principal_rpt_url=_read_variable("RPT_URL", _PARENT),
        sub_resource_rp_signer=_make_leaf_signer(),
        **endpoint,
    )
    grandparent_url = parent.nested_parent_rpt_url
    if grandparent_url is None:
        return parent
    if grandparent_url == parent.resource_principal_token_endpoint:
        raise ValueError("a resource principal is its own parent")
    return NestedSigner(
        resource_principal_rpt_url=grandparent_url,
        sub_resource_rp_signer=parent,
        current_parent_depth=parent.current_parent_depth + 1,
        **endpoint,
    )
