"""The region that a model uses, where the caller names none: the environment's, the profile's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.models.providers.oci import (
    OCIChatCompletionsModel,
    OCIModel,
    OCIResponsesModel,
    credentials_region,
)
from tests.support.oci import profiles
from tests.support.oci.profiles import write_profile

home = profiles.home

OPENAI_STYLE = pytest.mark.parametrize("cls", [OCIChatCompletionsModel, OCIResponsesModel])


@pytest.fixture(autouse=True)
def _no_warning_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_region, "_warned", set())


def test_oci_model_uses_the_region_of_its_profile(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(home, region="sa-saopaulo-1")
    write_profile(home, "CODE", region="fra")
    write_profile(home, "WRONG", region="nowhere/")
    model = OCIModel("m")
    assert model.config.region == "sa-saopaulo-1"
    assert ".sa-saopaulo-1." in model.config.service_endpoint
    assert OCIModel("m", profile_name="CODE").config.region == "eu-frankfurt-1"
    with pytest.raises(ConfigurationError, match="the region of the profile WRONG"):
        OCIModel("m", profile_name="WRONG")
    assert OCIModel("m", profile_name="MISSING").config.region == "us-chicago-1"
    assert OCIModel("m", region="eu-milan-1").config.region == "eu-milan-1"
    monkeypatch.setenv("OCI_REGION", "uk-london-1")
    assert OCIModel("m").config.region == "uk-london-1"


def test_a_copy_with_another_profile_uses_its_region(home: Path) -> None:
    write_profile(home, region="sa-saopaulo-1")
    write_profile(home, "B", region="eu-milan-1")
    copy = OCIModel("m").copy(profile_name="B")
    assert copy.config.region == "eu-milan-1"
    assert copy == OCIModel("m", profile_name="B")
    chosen = OCIModel("m", region="uk-london-1").copy(profile_name="B")
    assert chosen.config.region == "uk-london-1"
    assert OCIModel("m").copy(max_tokens=5).config.region == "sa-saopaulo-1"


def test_oci_model_uses_the_region_of_a_resource_principal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(home, region="sa-saopaulo-1")
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_REGION", "phx")
    assert OCIModel("m", auth_type="resource_principal").config.region == "us-phoenix-1"


@OPENAI_STYLE
def test_another_region_of_the_profile_is_a_warning_given_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, cls: Any
) -> None:
    write_profile(home, region="sa-saopaulo-1")
    with pytest.warns(UserWarning, match="us-chicago-1, the default, and not sa-saopaulo-1") as got:
        assert cls("m", profile="DEFAULT").config.region == "us-chicago-1"
    assert got[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls("m", profile="DEFAULT")


@OPENAI_STYLE
def test_a_region_that_was_chosen_is_no_reason_to_warn(
    home: Path, monkeypatch: pytest.MonkeyPatch, cls: Any
) -> None:
    write_profile(home, region="sa-saopaulo-1")
    write_profile(home, "SAME", region="ORD")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls("m", profile="DEFAULT", region="us-chicago-1")
        cls("m", profile="DEFAULT", base_url="https://gateway/oci")
        cls("m", profile="SAME")
        cls("m", profile="MISSING")
        cls("m", api_key="k")
        monkeypatch.setenv("OCI_REGION", "us-chicago-1")
        cls("m", profile="DEFAULT")
