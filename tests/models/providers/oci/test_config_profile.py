"""Profiles of ``~/.oci/config``: read as the ``oci`` package reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._config_profile import Profile, find_config_file, read_profile
from tests.support.oci import profiles
from tests.support.oci.profiles import write_profile

home = profiles.home


KEY_ENTRIES = {"user": "u", "tenancy": "t", "fingerprint": "f", "key_file": "k"}


@pytest.mark.parametrize(
    ("inherited", "entries", "auth_method"),
    [
        ({}, KEY_ENTRIES, "api_key"),
        ({}, {**KEY_ENTRIES, "security_token_file": "s"}, "security_token"),
        (KEY_ENTRIES, {"security_token_file": "s", "key_file": "k2"}, "security_token"),
        ({**KEY_ENTRIES, "security_token_file": "s"}, {"region": "r"}, "security_token"),
        # A token belongs to its key: a profile with its own key does not use an inherited token.
        ({"security_token_file": "s", "key_file": "k"}, KEY_ENTRIES, "api_key"),
        ({}, {**KEY_ENTRIES, "security_token_file": ""}, "api_key"),
        (
            {},
            {"authentication_type": "instance_principal", "delegation_token_file": "d"},
            "delegation_token",
        ),
        ({}, {"authentication_type": "Instance_Principal"}, "instance_principal"),
        ({}, {"authentication_type": "resource_principal"}, "resource_principal"),
    ],
)
def test_the_entries_of_a_profile_decide_the_authentication_method(
    home: Path, inherited: dict[str, str], entries: dict[str, str], auth_method: str
) -> None:
    write_profile(home, **inherited)
    write_profile(home, "OWN", **entries)
    assert read_profile("~/.oci/config", "OWN").auth_method == auth_method


def test_profiles_inherit_from_default_and_are_read_again_when_they_change(home: Path) -> None:
    file = write_profile(home, tenancy="t", region="here", key_file="~/key.pem")
    write_profile(home, "B", region="there")
    profile = read_profile("~/.oci/config", "B")
    assert dict(profile) == {"tenancy": "t", "region": "there", "key_file": "~/key.pem"}
    assert profile.get_expanded_path("key_file") == str(home / "key.pem")
    assert profile.own_keys == {"region"}
    file.write_text("[B]\nregion = elsewhere\n")
    assert dict(read_profile("~/.oci/config", "B")) == {"region": "elsewhere"}


@pytest.mark.sdk
@pytest.mark.parametrize("name", ["DEFAULT", "B", "percent"])
def test_profiles_have_the_values_that_the_oci_package_reads(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pytest.importorskip("oci.config")
    (home / "key.pem").write_text("")
    file = write_profile(home, tenancy="t", user="u", key_file="~/key.pem", pass_phrase="p%s w; x")
    write_profile(home, "B", region="there", User="other")
    write_profile(home, "percent", fingerprint="%(user)s")
    for path in ("~/.oci/config", str(file)):
        expected = config.from_file(path, name)
        profile = read_profile(path, name)
        assert dict(profile) == {key: expected[key] for key in profile}
        assert set(expected) - set(profile) <= {
            "log_requests",
            "additional_user_agent",
            "pass_phrase",
        }
    file.rename(home / "moved")
    monkeypatch.setenv("OCI_CONFIG_FILE", "~/moved")
    expected = config.from_file(profile_name=name)
    assert dict(read_profile("~/.oci/config", name)) == {
        key: expected[key] for key in read_profile("~/.oci/config", name)
    }


def test_the_config_file_is_found_as_the_oci_package_finds_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_config_file("~/.oci/config") == str(home / ".oci" / "config")
    (home / ".oraclebmc").mkdir()
    (home / ".oraclebmc" / "config").write_text("")
    assert find_config_file("~/.oci/config") == str(home / ".oraclebmc" / "config")
    monkeypatch.setenv("OCI_CONFIG_FILE", "~/named")
    assert find_config_file("~/.oci/config") == str(home / "named")
    assert find_config_file("~/mine") == str(home / "mine")
    write_profile(home, region="r")
    assert find_config_file("~/.oci/config") == str(home / ".oci" / "config")


def test_missing_values_come_from_the_command_lines_environment_variables(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCI_CLI_USER", "env user")
    monkeypatch.setenv("OCI_CLI_KEY_CONTENT", "env key")
    monkeypatch.setenv("OCI_CLI_FINGERPRINT", "env fingerprint")
    write_profile(home, user="file user", key_file="k")
    assert dict(read_profile("~/.oci/config", "DEFAULT")) == {
        "user": "file user",
        "key_file": "k",
        "fingerprint": "env fingerprint",
    }
    with pytest.raises(ConfigurationError, match="no OCI config file"):
        read_profile("/nowhere/config", "DEFAULT")  # the tenancy is missing
    monkeypatch.setenv("OCI_CLI_TENANCY", "env tenancy")
    profile = read_profile("/nowhere/config", "DEFAULT")
    assert (profile["user"], profile["key_content"], profile.auth_method) == (
        "env user",
        "env key",
        "api_key",
    )
    assert str(profile) == "the profile DEFAULT of the environment"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[A]\nuser = u\n\n[B]\nuser = v\n", "no profile DEFAULT in .*; there are: A, B"),
        ("", "there are: none"),
        ("[DEFAULT]\nkey_content = secret\n", "holds key_content, which must not be in a file"),
        ("user = secret\n", "config, line 1: this is not an OCI config file"),
        ("[DEFAULT]\nuser = u\nsecret\n", "config, line 3: this is not an OCI config file"),
        ("[DEFAULT]\nuser = u\nuser = secret\n", "config, line 3: this is not"),
        (b"[DEFAULT]\nuser = secret \xff\n", "config: this is not an OCI config file"),
    ],
)
def test_an_invalid_config_file_is_an_error_without_secrets(
    home: Path, text: str | bytes, message: str
) -> None:
    file = home / ".oci" / "config"
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=message) as exc_info:
        read_profile("~/.oci/config", "DEFAULT")
    assert "secret" not in str(exc_info.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~/.oci/config", r"no OCI config file at .*\.oci/config: `oci setup config`"),
        ("/nowhere", "no OCI config file at /nowhere"),
    ],
)
def test_the_error_for_a_missing_config_file_names_its_path(
    home: Path, path: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_profile(path, "DEFAULT")


def test_a_config_file_that_cannot_be_read_is_an_error(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_profile(str(home), "DEFAULT")


def test_a_profile_is_a_mapping() -> None:
    profile = Profile("A", "file", {"user": "u"}, frozenset())
    assert list(profile) == ["user"]
    assert len(profile) == 1
    assert profile.get("region") is None
