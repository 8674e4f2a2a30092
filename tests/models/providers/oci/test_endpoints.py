"""Which region and URL the models use: from arguments and the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.models.providers.oci import OCIChatCompletionsModel, OCIModel, OCIResponsesModel, regions
from locus.models.providers.oci.endpoints import (
    build_oci_openai_base_url,
    resolve_endpoint,
    resolve_openai_base_url,
    resolve_region,
)
from tests.support.oci import profiles

home = profiles.home


def test_the_region_is_the_argument_or_the_environments_or_chicago(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve_region() == "us-chicago-1"
    monkeypatch.setenv("OCI_REGION", "eu-frankfurt-1")
    assert resolve_region() == "eu-frankfurt-1"
    assert resolve_region("sa-saopaulo-1") == "sa-saopaulo-1"
    for wrong in ("evil.com/", "a b", "US-CHICAGO-1", "", "us-chicago", "us-chicago-1."):
        with pytest.raises(ConfigurationError, match=r"^region must .*us-chicago-1"):
            resolve_region(wrong)
    for code in ("ord", "ORD"):
        assert resolve_region(code) == "us-chicago-1"
        monkeypatch.setenv("OCI_REGION", code)
        assert resolve_region() == "us-chicago-1"
    with pytest.raises(ConfigurationError, match=r"^region .* not the unknown short code 'xyz'"):
        resolve_region("xyz")
    monkeypatch.setenv("OCI_REGION", "xyz")
    with pytest.raises(ConfigurationError, match=r"^OCI_REGION must be a region's full name"):
        resolve_region()


@pytest.mark.sdk
def test_every_region_of_the_oci_package_is_accepted() -> None:
    definitions = pytest.importorskip("oci.regions_definitions")
    for name, realm in definitions.REGION_REALMS.items():
        assert resolve_region(name) == name
        assert regions.find_realm_domain(name) == definitions.REALMS[realm]
    assert definitions.REGIONS_SHORT_NAMES.items() <= regions.REGIONS_BY_CODE.items()


@pytest.mark.parametrize(
    ("region", "domain"),
    [
        ("us-chicago-1", "oraclecloud.com"),
        ("mars-base-1", "oraclecloud.com"),
        ("eu-frankfurt-2", "oraclecloud.eu"),
        ("us-gov-ashburn-1", "oraclegovcloud.com"),
        ("uk-gov-london-1", "oraclegovcloud.uk"),
        ("brs", "oraclegovcloud.uk"),
    ],
)
def test_each_realm_has_a_domain_of_its_own(home: Path, region: str, domain: str) -> None:
    host = f"https://inference.generativeai.{resolve_region(region)}.oci.{domain}"
    assert OCIModel("m", region=region).config.service_endpoint == host
    assert build_oci_openai_base_url(region) == f"{host}/openai/v1"
    for cls in (OCIChatCompletionsModel, OCIResponsesModel):
        assert cls("m", api_key="k", region=region).config.base_url == f"{host}/openai/v1"


def test_the_variables_of_the_oci_package_name_unknown_regions(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCI_DEFAULT_REALM", "oraclecloud99.com")
    assert resolve_endpoint(None, "mars-base-1").endswith(".mars-base-1.oci.oraclecloud99.com")
    assert resolve_endpoint(None, "us-ashburn-1").endswith(".oraclecloud.com")
    monkeypatch.setenv(
        "OCI_REGION_METADATA",
        '{"realmKey": "OC98", "realmDomainComponent": "Oraclecloud98.com",'
        ' "regionKey": "MRS2", "regionIdentifier": "mars-base-1"}',
    )
    assert resolve_endpoint(None, "mars-base-1").endswith(".mars-base-1.oci.oraclecloud98.com")
    for wrong in ("{", "[]", '{"regionKey": "MRS"}'):
        monkeypatch.setenv("OCI_REGION_METADATA", wrong)
        with pytest.raises(ConfigurationError, match=r"^OCI_REGION_METADATA must be"):
            resolve_endpoint(None, "mars-base-1")


HOST = "https://inference.generativeai.us-chicago-1.oci.oraclecloud.com"


def test_the_url_is_the_argument_or_the_environments_or_the_regions(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve_endpoint() == HOST
    assert resolve_openai_base_url() == build_oci_openai_base_url("us-chicago-1")
    assert resolve_openai_base_url() == f"{HOST}/openai/v1"
    assert "eu-frankfurt-1" in resolve_endpoint(None, "eu-frankfurt-1")
    assert "eu-frankfurt-1" in resolve_openai_base_url(None, "eu-frankfurt-1")
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:1/", "http://127.0.0.1:1/openai/v1/"):
        monkeypatch.setenv("OCI_ENDPOINT", url)
        assert resolve_endpoint() == "http://127.0.0.1:1"
        assert resolve_openai_base_url() == "http://127.0.0.1:1/openai/v1"
        assert resolve_endpoint("http://[::1]:2/20231130") == "http://[::1]:2"
        assert resolve_openai_base_url("http://[::1]:2") == "http://[::1]:2/openai/v1"
    assert (
        resolve_openai_base_url("https://gateway/oci/openai/v1/") == "https://gateway/oci/openai/v1"
    )
    assert resolve_endpoint("https://gateway/oci") == "https://gateway/oci"
    for wrong in ("gateway", "https://user:secret@gateway"):
        with pytest.raises(ConfigurationError) as exc_info:
            resolve_endpoint(wrong)
        assert "secret" not in str(exc_info.value)


@pytest.mark.parametrize("root", ["https://h", "http://127.0.0.1:1", "https://gateway/oci"])
@pytest.mark.parametrize(
    "path",
    [
        "/20231130",
        "/20231130/actions/chat",
        "/20231130/actions/v1",
        "/20231130/actions/v1/chat",
        "/openai",
        "/openai/v1",
        "/openai/v1/chat/completions",
        "/openai/v1/responses",
    ],
)
@pytest.mark.parametrize("end", ["", "/"])
def test_the_api_path_at_the_end_of_a_url_is_removed(
    home: Path, monkeypatch: pytest.MonkeyPatch, root: str, path: str, end: str
) -> None:
    url = f"{root}{path}{end}"
    assert resolve_endpoint(url) == root
    assert resolve_openai_base_url(url) == f"{root}/openai/v1"
    assert resolve_endpoint(resolve_endpoint(url)) == root
    assert resolve_openai_base_url(resolve_openai_base_url(url)) == f"{root}/openai/v1"
    monkeypatch.setenv("OCI_ENDPOINT", url)
    assert resolve_endpoint() == root
    assert resolve_openai_base_url() == f"{root}/openai/v1"
    assert OCIModel().build_url() == f"{root}/20231130/actions/chat"
    model = OCIChatCompletionsModel("m", profile="A", base_url=url)
    assert model.build_url() == f"{root}/openai/v1/chat/completions"


def test_similar_hosts_and_paths_are_not_changed(home: Path) -> None:
    for url in ("http://openai", "http://20231130", "https://h/my-openai", "https://h/v1"):
        assert resolve_endpoint(url) == url
    assert resolve_openai_base_url("http://openai") == "http://openai/openai/v1"
    assert resolve_openai_base_url("https://h/v1") == "https://h/v1"


@pytest.mark.parametrize("wrong", ["gateway", "https://user:secret@gateway", "https://h?q=secret"])
def test_the_error_for_a_wrong_url_names_its_argument_or_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    def get_error_message(make_model: Any) -> str:
        with pytest.raises(ConfigurationError) as exc_info:
            make_model()
        assert "secret" not in str(exc_info.value)
        return str(exc_info.value)

    message = get_error_message(lambda: OCIModel(service_endpoint=wrong))
    assert message.startswith("service_endpoint ")
    assert "api_key" not in message
    message = get_error_message(lambda: OCIChatCompletionsModel("m", profile="A", base_url=wrong))
    assert message.startswith("base_url ")
    monkeypatch.setenv("OCI_ENDPOINT", wrong)
    for make_model in (OCIModel, lambda: OCIResponsesModel("m", profile="A")):
        message = get_error_message(make_model)
        assert message.startswith("OCI_ENDPOINT ")
        assert "api_key" not in message
        assert "base_url" not in message
