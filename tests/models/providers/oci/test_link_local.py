"""A machine's metadata service is reached directly, whatever proxy the environment names."""

from __future__ import annotations

import pytest

from locus.models.providers.oci._link_local import (
    connect_directly_to_link_local,
    is_link_local_url,
)


@pytest.mark.parametrize(
    ("url", "is_link_local"),
    [
        ("http://169.254.169.254/opc/v2/identity/cert.pem", True),
        ("http://169.254.0.1:8080/", True),
        ("http://[fd00:c1::a9fe:a9fe]/opc/v2", True),
        ("http://[fe80::1]/", True),
        ("http://169.254.169.254.example.com/", False),
        ("https://auth.us-chicago-1.oraclecloud.com/v1/x509", False),
        ("http://[fd00::1]/", False),
        ("http://10.0.0.1/", False),
        ("no url", False),
    ],
)
def test_link_local_addresses_are_recognized(url: str, is_link_local: bool) -> None:
    assert is_link_local_url(url) is is_link_local


@pytest.mark.sdk
def test_only_link_local_addresses_are_reached_without_the_proxy(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    requests = pytest.importorskip("oci._vendor.requests")
    proxy = "http://127.0.0.1:9"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        clean_environment.setenv(name, proxy)
    for _ in range(2):  # a second time changes nothing
        connect_directly_to_link_local()
    with requests.Session() as session:

        def find_proxies(url: str) -> dict[str, str]:
            settings = session.merge_environment_settings(url, {}, None, None, None)
            return dict(settings["proxies"])

        assert find_proxies("http://169.254.169.254/opc/v2") == {}
        assert find_proxies("http://169.253.169.254/opc/v2")["http"] == proxy
        assert find_proxies("https://auth.us-ashburn-1.oraclecloud.com")["https"] == proxy
        clean_environment.setenv("NO_PROXY", "example.com")
        assert find_proxies("http://example.com") == {}
