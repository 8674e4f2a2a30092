"""Which credentials, compartment, region and address: from arguments, environment and profiles.

None of it needs the ``oci`` package, but where that is installed it says what a profile means.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.models.providers.oci import OCIChatCompletionsModel, OCIModel, OCIResponsesModel
from locus.models.providers.oci._profile import Profile, config_path, read_profile
from locus.models.providers.oci._signing import OCISigner, signer_for
from locus.models.providers.oci.settings import (
    AUTH_TYPES,
    OCIAuth,
    auth_of,
    build_oci_openai_base_url,
    compartment_of,
    endpoint_of,
    openai_base_url_of,
    region_of,
)
from tests.support import runtimes
from tests.support.oci import profiles
from tests.support.oci.profiles import write_profile
from tests.support.runtimes import script

home = profiles.home


# -- which credentials -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({}, "profile"),
        ({"profile": "A"}, "profile"),
        ({"auth_type": "api_key"}, "profile"),
        ({"auth_type": "session_token"}, "security_token"),
        *(({"auth_type": name}, name) for name in AUTH_TYPES),
    ],
)
def test_arguments_name_the_kind_of_credentials(said: dict[str, str], kind: str) -> None:
    assert auth_of(**said).kind == kind
    assert auth_of(**said) == auth_of(**said)


@pytest.mark.parametrize("wrong", ["instance", "", "PROFILE", "profile", 3])
def test_an_unknown_auth_type_lists_those_there_are(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="oke_workload_identity"):
        auth_of(auth_type=wrong)


@pytest.mark.parametrize("said", [{"profile": 3}, {"profile": " "}, {"config_file": ""}])
def test_values_that_cannot_be_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        auth_of(**said)


def test_secrets_do_not_show_and_everything_pickles(home: Path) -> None:
    auth = auth_of(key_content="secret key", delegation_token="secret-token", profile="A")
    assert "secret" not in f"{auth} {auth!r}"
    assert pickle.loads(pickle.dumps(auth)) == auth
    assert hash(pickle.loads(pickle.dumps(auth))) == hash(auth)
    write_profile(home, pass_phrase="hush hush", user="u")
    assert "hush" not in f"{read_profile('~/.oci/config', 'DEFAULT')!r}"


def test_the_profile_is_the_argument_or_the_environments(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert auth_of().section == "DEFAULT"
    monkeypatch.setenv("OCI_PROFILE", "OTHER")
    assert auth_of().section == "OTHER"
    assert auth_of(profile="MINE").section == "MINE"


@pytest.mark.parametrize("kind", ["api_key", "security_token", "delegation_token"])
def test_another_profile_in_the_environment_is_another_value(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    before = auth_of(auth_type=kind)
    monkeypatch.setenv("OCI_PROFILE", "OTHER")
    assert auth_of(auth_type=kind) != before
    assert signer_for(auth_of(auth_type=kind)) is not signer_for(before)
    assert auth_of(auth_type=kind) == auth_of(auth_type=kind, profile="OTHER")
    monkeypatch.setenv("OCI_PROFILE", "")
    assert auth_of(auth_type=kind) == before


def test_a_principal_has_no_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = auth_of(auth_type="instance_principal")
    monkeypatch.setenv("OCI_PROFILE", "OTHER")
    assert auth_of(auth_type="instance_principal") == before


@pytest.mark.parametrize("kind", [OCIChatCompletionsModel, OCIResponsesModel])
def test_an_older_name_of_the_other_class_is_refused(home: Path, kind: Any) -> None:
    said = {"compartment_id": "ocid1.compartment.x"}
    with pytest.raises(ValueError, match="'session_token' is OCIModel's older name of 'security"):
        kind("m", auth_type="session_token", **said)
    with pytest.raises(ValueError, match="an API key is a profile's"):
        kind("m", auth_type="api_key", **said)
    model = kind("m", auth_type="security_token", **said)
    with pytest.raises(ValueError, match="older name"):
        model.copy(auth_type="session_token")
    assert OCIModel(auth_type="session_token").config.auth().kind == "security_token"


# -- profiles ----------------------------------------------------------------------------------

KEY = {"user": "u", "tenancy": "t", "fingerprint": "f", "key_file": "k"}


@pytest.mark.parametrize(
    ("inherited", "own", "kind"),
    [
        ({}, KEY, "api_key"),
        ({}, {**KEY, "security_token_file": "s"}, "security_token"),
        (KEY, {"security_token_file": "s", "key_file": "k2"}, "security_token"),
        ({**KEY, "security_token_file": "s"}, {"region": "r"}, "security_token"),
        # A token goes with its key: one's own key does without the other section's token.
        ({"security_token_file": "s", "key_file": "k"}, KEY, "api_key"),
        ({}, {**KEY, "security_token_file": ""}, "api_key"),
        (
            {},
            {"authentication_type": "instance_principal", "delegation_token_file": "d"},
            "delegation_token",
        ),
        ({}, {"authentication_type": "Instance_Principal"}, "instance_principal"),
        ({}, {"authentication_type": "resource_principal"}, "resource_principal"),
    ],
)
def test_the_shape_of_a_profile_decides(
    home: Path, inherited: dict[str, str], own: dict[str, str], kind: str
) -> None:
    write_profile(home, **inherited)
    write_profile(home, "OWN", **own)
    assert read_profile("~/.oci/config", "OWN").kind == kind


def test_profiles_inherit_from_default_and_are_read_as_they_change(home: Path) -> None:
    file = write_profile(home, tenancy="t", region="here", key_file="~/key.pem")
    write_profile(home, "B", region="there")
    profile = read_profile("~/.oci/config", "B")
    assert dict(profile) == {"tenancy": "t", "region": "there", "key_file": "~/key.pem"}
    assert profile.path("key_file") == str(home / "key.pem")
    assert profile.own == {"region"}
    file.write_text("[B]\nregion = elsewhere\n")
    assert dict(read_profile("~/.oci/config", "B")) == {"region": "elsewhere"}


@pytest.mark.sdk
@pytest.mark.parametrize("name", ["DEFAULT", "B", "percent"])
def test_profiles_say_what_the_oci_package_reads_in_them(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pytest.importorskip("oci.config")
    (home / "key.pem").write_text("")
    file = write_profile(home, tenancy="t", user="u", key_file="~/key.pem", pass_phrase="p%s w; x")
    write_profile(home, "B", region="there", User="other")
    write_profile(home, "percent", fingerprint="%(user)s")
    for how in ("~/.oci/config", str(file)):
        theirs = config.from_file(how, name)
        ours = read_profile(how, name)
        assert dict(ours) == {key: theirs[key] for key in ours}
        assert set(theirs) - set(ours) <= {"log_requests", "additional_user_agent", "pass_phrase"}
    file.rename(home / "moved")
    monkeypatch.setenv("OCI_CONFIG_FILE", "~/moved")
    theirs = config.from_file(profile_name=name)
    assert dict(read_profile("~/.oci/config", name)) == {
        key: theirs[key] for key in read_profile("~/.oci/config", name)
    }


def test_the_config_file_is_looked_for_where_the_oci_package_looks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config_path("~/.oci/config") == str(home / ".oci" / "config")
    (home / ".oraclebmc").mkdir()
    (home / ".oraclebmc" / "config").write_text("")
    assert config_path("~/.oci/config") == str(home / ".oraclebmc" / "config")
    monkeypatch.setenv("OCI_CONFIG_FILE", "~/named")
    assert config_path("~/.oci/config") == str(home / "named")
    assert config_path("~/mine") == str(home / "mine")
    write_profile(home, region="r")
    assert config_path("~/.oci/config") == str(home / ".oci" / "config")


def test_what_a_profile_leaves_out_the_command_lines_environment_says(
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
    alone = read_profile("/nowhere/config", "DEFAULT")
    assert (alone["user"], alone["key_content"], alone.kind) == ("env user", "env key", "api_key")
    assert str(alone) == "the profile DEFAULT of the environment"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[A]\nuser = u\n\n[B]\nuser = v\n", "no profile DEFAULT in .*; there are: A, B"),
        ("", "there are: none"),
        ("[DEFAULT]\nkey_content = secret\n", "holds key_content, which must not stand in a file"),
        ("user = secret\n", "config, line 1: this is not an OCI config file"),
        ("[DEFAULT]\nuser = u\nsecret\n", "config, line 3: this is not an OCI config file"),
        ("[DEFAULT]\nuser = u\nuser = secret\n", "config, line 3: this is not"),
        (b"[DEFAULT]\nuser = secret \xff\n", "config: this is not an OCI config file"),
    ],
)
def test_a_config_file_that_does_not_serve_says_why_and_no_secret(
    home: Path, text: str | bytes, says: str
) -> None:
    file = home / ".oci" / "config"
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=says) as caught:
        read_profile("~/.oci/config", "DEFAULT")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("~/.oci/config", r"no OCI config file at .*\.oci/config: `oci setup config`"),
        ("/nowhere", "no OCI config file at /nowhere"),
    ],
)
def test_a_missing_config_file_says_where_it_was_looked_for(
    home: Path, path: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_profile(path, "DEFAULT")


def test_a_config_file_that_cannot_be_read_says_so(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_profile(str(home), "DEFAULT")


def test_a_profile_is_a_mapping() -> None:
    profile = Profile("A", "file", {"user": "u"}, frozenset())
    assert list(profile) == ["user"]
    assert len(profile) == 1
    assert profile.get("region") is None


# -- compartment, region, address --------------------------------------------------------------


def test_the_compartment_is_said_or_the_environments_or_the_tenancy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(home, tenancy="the tenancy")
    assert compartment_of(None, auth_of()) == "the tenancy"
    assert compartment_of(None, auth_of(auth_type="security_token")) == "the tenancy"
    monkeypatch.setenv("OCI_COMPARTMENT_ID", "second")
    assert compartment_of(None, auth_of()) == "second"
    monkeypatch.setenv("OCI_COMPARTMENT", "first")
    assert compartment_of(None, auth_of()) == "first"
    assert compartment_of("said", auth_of(auth_type="instance_principal")) == "said"


@pytest.mark.parametrize("auth", [auth_of(auth_type="instance_principal"), None, auth_of()])
def test_without_a_compartment_it_says_how_to_give_one(home: Path, auth: OCIAuth | None) -> None:
    write_profile(home, user="u")
    with pytest.raises(ConfigurationError, match="OCI_COMPARTMENT"):
        compartment_of(None, auth)
    with pytest.raises(ConfigurationError, match="must be a string"):
        compartment_of(3, auth)  # type: ignore[arg-type]


def test_the_region_is_said_or_the_environments_or_chicago(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert region_of() == "us-chicago-1"
    monkeypatch.setenv("OCI_REGION", "eu-frankfurt-1")
    assert region_of() == "eu-frankfurt-1"
    assert region_of("sa-saopaulo-1") == "sa-saopaulo-1"
    for wrong in ("evil.com/", "a b", "US-CHICAGO-1", "", "us-chicago", "us-chicago-1."):
        with pytest.raises(ConfigurationError, match=r"^region must .*us-chicago-1"):
            region_of(wrong)
    for short in ("ord", "ORD"):  # the host that this would make does not exist
        with pytest.raises(ConfigurationError, match=f"^region .* not the short code '{short}'"):
            region_of(short)
        monkeypatch.setenv("OCI_REGION", short)
        with pytest.raises(ConfigurationError, match=r"^OCI_REGION must be a region's whole name"):
            region_of()


@pytest.mark.sdk
def test_every_region_of_the_oci_package_is_taken() -> None:
    regions = pytest.importorskip("oci.regions_definitions")
    for name in regions.REGION_REALMS:
        assert region_of(name) == name


HOST = "https://inference.generativeai.us-chicago-1.oci.oraclecloud.com"


def test_the_address_is_said_or_the_environments_or_the_regions(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert endpoint_of() == HOST
    assert openai_base_url_of() == build_oci_openai_base_url("us-chicago-1")
    assert openai_base_url_of() == f"{HOST}/openai/v1"
    assert "eu-frankfurt-1" in endpoint_of(None, "eu-frankfurt-1")
    assert "eu-frankfurt-1" in openai_base_url_of(None, "eu-frankfurt-1")
    for said in ("http://127.0.0.1:1", "http://127.0.0.1:1/", "http://127.0.0.1:1/openai/v1/"):
        monkeypatch.setenv("OCI_ENDPOINT", said)
        assert endpoint_of() == "http://127.0.0.1:1"
        assert openai_base_url_of() == "http://127.0.0.1:1/openai/v1"
        assert endpoint_of("http://[::1]:2/20231130") == "http://[::1]:2"
        assert openai_base_url_of("http://[::1]:2") == "http://[::1]:2/openai/v1"
    assert openai_base_url_of("https://gateway/oci/openai/v1/") == "https://gateway/oci/openai/v1"
    assert endpoint_of("https://gateway/oci") == "https://gateway/oci"
    for wrong in ("gateway", "https://user:secret@gateway"):
        with pytest.raises(ConfigurationError) as caught:
            endpoint_of(wrong)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("root", ["https://h", "http://127.0.0.1:1", "https://gateway/oci"])
@pytest.mark.parametrize(
    "path",
    [
        "/20231130",
        "/20231130/actions/chat",
        "/openai",
        "/openai/v1",
        "/openai/v1/chat/completions",
        "/openai/v1/responses",
    ],
)
@pytest.mark.parametrize("end", ["", "/"])
def test_an_address_that_was_copied_whole_is_taken_for_its_root(
    home: Path, monkeypatch: pytest.MonkeyPatch, root: str, path: str, end: str
) -> None:
    said = f"{root}{path}{end}"
    assert endpoint_of(said) == root
    assert openai_base_url_of(said) == f"{root}/openai/v1"
    assert endpoint_of(endpoint_of(said)) == root
    assert openai_base_url_of(openai_base_url_of(said)) == f"{root}/openai/v1"
    monkeypatch.setenv("OCI_ENDPOINT", said)
    assert endpoint_of() == root
    assert openai_base_url_of() == f"{root}/openai/v1"
    assert OCIModel()._url() == f"{root}/20231130/actions/chat"
    model = OCIChatCompletionsModel("m", profile="A", base_url=said)
    assert model._url() == f"{root}/openai/v1/chat/completions"


def test_hosts_and_paths_that_only_look_like_it_stay(home: Path) -> None:
    for said in ("http://openai", "http://20231130", "https://h/my-openai", "https://h/v1"):
        assert endpoint_of(said) == said
    assert openai_base_url_of("http://openai") == "http://openai/openai/v1"
    assert openai_base_url_of("https://h/v1") == "https://h/v1"


@pytest.mark.parametrize("wrong", ["gateway", "https://user:secret@gateway", "https://h?q=secret"])
def test_a_wrong_address_is_called_by_the_name_it_came_with(
    home: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    def said(make: Any) -> str:
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert "secret" not in str(caught.value)
        return str(caught.value)

    text = said(lambda: OCIModel(service_endpoint=wrong))
    assert text.startswith("service_endpoint ")
    assert "api_key" not in text
    text = said(lambda: OCIChatCompletionsModel("m", profile="A", base_url=wrong))
    assert text.startswith("base_url ")
    monkeypatch.setenv("OCI_ENDPOINT", wrong)
    for make in (OCIModel, lambda: OCIResponsesModel("m", profile="A")):
        text = said(make)
        assert text.startswith("OCI_ENDPOINT ")
        assert "api_key" not in text
        assert "base_url" not in text


# -- what it costs -----------------------------------------------------------------------------


def test_settings_and_signers_neither_import_oci_nor_read_anything() -> None:
    said = script(
        """
        import os, sys
        from locus.models.providers.oci._signing import signer_for
        from locus.models.providers.oci.settings import auth_of, openai_base_url_of

        signer = signer_for(auth_of(profile="NOWHERE", config_file="/nowhere"))
        print(signer.ready(), signer.version, tuple(signer.secrets()), signer.last_refresh_error)
        print("oci" in sys.modules)
        """
    )
    assert said.split("\n")[:2] == ["False 0 () None", "False"]


def test_signing_before_preparing_is_a_mistake_of_the_caller() -> None:
    from locus.transport.http_call import HttpRequest

    with pytest.raises(RuntimeError, match="prepare"):
        OCISigner(auth_of()).sign(HttpRequest("http://localhost", {}, b""))


def test_without_the_extra_it_says_what_to_install(home: Path) -> None:
    code = (
        "import sys; sys.modules['oci'] = None\n"
        "from locus.models.providers.oci._signing import signer_for\n"
        "from locus.models.providers.oci.settings import auth_of\n"
        "try: signer_for(auth_of()).prepare()\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=runtimes.ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'pip install "locus-llm[oci]"' in done.stdout


def test_equal_settings_share_a_signer(home: Path) -> None:
    assert signer_for(auth_of(profile="A")) is signer_for(auth_of(profile="A"))
    assert signer_for(auth_of(profile="A")) is not signer_for(auth_of(profile="B"))
