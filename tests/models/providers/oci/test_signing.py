"""Signatures of requests to OCI, over the bytes that are sent, with a profile's keys and tokens."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import AuthenticationError, ConfigurationError
from locus.models.providers.oci._refresh_policy import RefreshPolicy
from locus.models.providers.oci._refreshing_signer import OCISigner
from locus.models.providers.oci._signer_cache import MAX_CACHED_SIGNERS, _cached_signers, get_signer
from locus.models.providers.oci.authentication import resolve_auth
from locus.testing.formats.runtimes import Runtime, run_async
from locus.transport.http_request import HttpRequest
from tests.support.chat_replies import TEXT, join_text
from tests.support.oci import profiles, signed_models
from tests.support.oci.cloud import CHAT_PATH, COMPARTMENT
from tests.support.oci.credential_services import CredentialServices
from tests.support.oci.crypto import (
    TENANCY,
    USER,
    compute_fingerprint,
    encode_private_key,
    encode_public_key,
    get_private_key,
    make_token,
)
from tests.support.oci.inference import MODEL_FACTORIES, InferenceCloud, make_error_reply
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import (
    FAST_REFRESH_POLICY,
    make_signed_model,
    make_signer,
    write_api_key_profile,
    write_key_file,
)
from tests.support.timing import wait_until

pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "isolated_environment")]


@pytest.fixture
def cloud() -> Iterator[CredentialServices]:
    with CredentialServices() as cloud:
        yield cloud


# -- signatures --------------------------------------------------------------------------------


def test_an_api_key_signs_calls_and_streams(
    cloud: CredentialServices, tmp_path: Path, runtime: Runtime
) -> None:
    key_id = cloud.register_key("user")
    write_api_key_profile(tmp_path)
    model = make_signed_model(cloud, make_signer())
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    runtime.close(model)
    assert cloud.accepted_key_ids == [key_id, key_id]
    assert cloud.signed_headers[:3] == ["date", "(request-target)", "host"]


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("the digest is another body's", {"content": b"{}"}),
        ("the signature is wrong", {"headers": {"content-type": "text/plain"}}),
        ("the clock is wrong", {"headers": {"date": "Tue, 01 Jan 2030 00:00:00 GMT"}}),
        ("the signature is wrong", {"query": "?more=1"}),
        ("not signed, but bare", {"headers": {"authorization": ""}}),
    ],
)
def test_the_loopback_cloud_rejects_invalid_signatures(
    cloud: CredentialServices, tmp_path: Path, reason: str, change: dict[str, Any]
) -> None:
    import httpx

    cloud.register_key("user")
    write_api_key_profile(tmp_path)
    signer = make_signer()
    signer.ensure_ready()
    unsigned = HttpRequest(
        f"{cloud.url}{CHAT_PATH}",
        {"content-type": "application/json", "opc-compartment-id": COMPARTMENT},
        b'{"messages": []}',
    )
    signed = signer.make_signed_copy(unsigned)
    assert httpx.post(signed.url, headers=signed.headers, content=signed.content).status_code == 200
    headers = {**signed.headers, **change.get("headers", {})}
    content = change.get("content", signed.content)
    headers["content-length"] = str(len(content))
    response = httpx.post(signed.url + change.get("query", ""), headers=headers, content=content)
    assert response.status_code == 401
    assert cloud.rejection_reasons[-1].startswith(reason)


def test_a_key_that_the_server_does_not_know_is_an_authentication_error(
    cloud: CredentialServices, tmp_path: Path, runtime: Runtime
) -> None:
    write_api_key_profile(tmp_path)
    model = make_signed_model(cloud, make_signer())
    with pytest.raises(AuthenticationError, match="no such key"):
        runtime.complete(model, "hello")
    runtime.close(model)
    assert (
        len(cloud.rejection_reasons) == 1
    )  # the key is the same as before, so the request is not sent again


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/openai/v1/chat/completions?api-version=1&x=a%20b",
        "http://127.0.0.1:{port}/openai/v1/./chat/completions",
        "http://localhost:{port}/openai/v1/chat/completions",
        "http://127.0.0.1:{port}/openai/v1/chat/Zürich completions|x",
    ],
)
def test_the_target_is_signed_as_it_is_sent(
    cloud: CredentialServices, tmp_path: Path, url: str
) -> None:
    import httpx

    cloud.register_key("user")
    write_api_key_profile(tmp_path)
    signer = make_signer()
    signer.ensure_ready()
    cloud.server.route("POST", "*", cloud.reply_to_chat)
    signed = signer.make_signed_copy(
        HttpRequest(
            url.format(port=cloud.url.rpartition(":")[2]),
            {"Content-Type": "application/json", "Opc-Compartment-Id": COMPARTMENT},
            b"{}",
        )
    )
    with httpx.HTTPTransport() as transport:
        request = httpx.Request("POST", signed.url, headers=signed.headers, content=signed.content)
        assert transport.handle_request(request).status_code == 200, cloud.rejection_reasons


def test_requests_of_a_custom_client_with_its_own_credentials_are_signed(
    cloud: CredentialServices, tmp_path: Path, backend: str
) -> None:
    import httpx
    import httpx2

    cloud.register_key("user")
    write_api_key_profile(tmp_path)
    signer = make_signer()
    client_arguments: dict[str, Any] = {"auth": ("user", "password"), "params": {"extra": "a b"}}

    async def main() -> None:
        for library in (httpx, httpx2):
            async with library.AsyncClient(
                **client_arguments, headers={"api-key": "foreign"}
            ) as client:
                model = make_signed_model(cloud, signer, http_client=client)
                assert (await model.complete("hello")).content == TEXT

    run_async(backend, main)
    for library in (httpx, httpx2):
        with library.Client(**client_arguments, headers={"x-api-key": "foreign"}) as client:
            model = make_signed_model(cloud, signer, http_client=client)
            assert model.complete_sync("hello").content == TEXT
    assert len(cloud.accepted_key_ids) == 4
    assert all("extra=a" in request.target for request in cloud.server.requests)


def test_headers_that_contradict_the_signature_are_dropped(
    cloud: CredentialServices, tmp_path: Path
) -> None:
    cloud.register_key("user")
    write_api_key_profile(tmp_path)
    model = make_signed_model(cloud, make_signer())
    foreign = {
        "Authorization": "Bearer foreign",
        "API-Key": "foreign",
        "Date": "Tue, 01 Jan 2030 00:00:00 GMT",
        "x-content-sha256": "foreign",
        "opc-obo-token": "foreign",
    }
    model.complete_sync("hello", extra_headers=foreign)
    model.close_sync()
    assert "foreign" not in str(dict(cloud.server.requests[-1].headers))


FOREIGN_HEADERS = {
    "Authorization": "Bearer foreign",
    "API-Key": "foreign",
    "X-API-Key": "foreign",
    "Opc-Obo-Token": "foreign",
    "X-Date": "foreign",
}


@pytest.mark.parametrize("auth", ["profile", "bearer"])
@pytest.mark.parametrize("model_name", ["chat", "responses", "generic"])
def test_credentials_of_a_custom_client_or_a_call_are_not_sent(
    tmp_path: Path, backend: str, model_name: str, auth: str
) -> None:
    import httpx
    import httpx2

    if (model_name, auth) == ("generic", "bearer"):
        pytest.skip("OCIModel takes no API key of the service")
    write_api_key_profile(tmp_path)
    with InferenceCloud() as cloud:
        cloud.register_key("user")
        auth_arguments = {}
        if auth == "bearer":
            auth_arguments["api_key"] = cloud.bearer_key = "sk-of-the-service-0123456789"

        async def main() -> None:
            for library in (httpx, httpx2):
                client_arguments: dict[str, Any] = {
                    "auth": ("foreign", "password"),
                    "headers": FOREIGN_HEADERS,
                }
                async with library.AsyncClient(**client_arguments) as client:
                    model = MODEL_FACTORIES[model_name](cloud, http_client=client, **auth_arguments)
                    assert (await model.complete("hello")).content == TEXT
                with library.Client(**client_arguments) as client:
                    model = MODEL_FACTORIES[model_name](cloud, http_client=client, **auth_arguments)
                    assert model.complete_sync("hello").content == TEXT
            async with MODEL_FACTORIES[model_name](cloud, **auth_arguments) as model:
                response = await model.complete("hello", extra_headers=FOREIGN_HEADERS)
                assert response.content == TEXT

        run_async(backend, main)
        assert len(cloud.accepted_requests) == 5
        for request in cloud.accepted_requests:
            assert "foreign" not in str(dict(request.headers))
            assert "Basic" not in request.headers["authorization"]


def test_credentials_of_a_call_are_not_sent_through_a_custom_sdk_client() -> None:
    openai = pytest.importorskip("openai")
    with InferenceCloud() as cloud:
        cloud.bearer_key = "sk-of-the-service-0123456789"
        with openai.OpenAI(api_key=cloud.bearer_key, base_url=f"{cloud.url}/openai/v1") as client:
            model = MODEL_FACTORIES["chat"](cloud, sdk_client=client)
            extra_headers = {**FOREIGN_HEADERS, "x-mine": "yes"}
            assert model.complete_sync("hello", extra_headers=extra_headers).content == TEXT
        headers = cloud.accepted_requests[0].headers
    assert "foreign" not in str(dict(headers))
    assert headers["x-mine"] == "yes"


def test_the_openai_client_of_a_model_with_an_api_key_sends_no_other_credentials(
    backend: str,
) -> None:
    pytest.importorskip("openai")
    with InferenceCloud() as cloud:
        cloud.bearer_key = "sk-of-the-service-0123456789"

        async def main() -> None:
            async with MODEL_FACTORIES["chat"](cloud, api_key=cloud.bearer_key) as model:
                await model.client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": "hello"}],
                    extra_headers=FOREIGN_HEADERS,
                )

        run_async(backend, main)
        assert "foreign" not in str(dict(cloud.accepted_requests[0].headers))


def test_an_api_key_of_the_service_is_not_shown() -> None:
    with InferenceCloud() as cloud:
        cloud.bearer_key = "another"
        model = MODEL_FACTORIES["chat"](cloud, api_key="sk-of-the-service-0123456789")
        cloud.server.route(
            "POST",
            CHAT_PATH,
            lambda got: make_error_reply(401, "N", f"no {got.headers['authorization']}"),
        )
        with pytest.raises(AuthenticationError, match=r"no \*\*\*|no Bearer \*\*\*") as exc_info:
            model.complete_sync("hello")
        model.close_sync()
    assert "0123" not in f"{exc_info.value} {exc_info.value.body} {model.get_signer()!r}"


# -- API keys ----------------------------------------------------------------------------------


def test_a_key_with_a_passphrase_signs_and_neither_is_shown(
    cloud: CredentialServices, tmp_path: Path
) -> None:
    cloud.register_key("user")
    write_api_key_profile(tmp_path, pass_phrase="correct horse battery")
    signer = make_signer()
    model = make_signed_model(cloud, signer)
    model.complete_sync("hello")
    model.close_sync()
    shown = f"{signer!r} {signer.auth!r} {model!r}"
    assert "correct horse" not in shown
    # It is never sent, so no response can contain it; and it may be an ordinary word.
    assert tuple(signer.get_secrets()) == ()


def test_a_short_passphrase_is_not_redacted_from_errors(
    cloud: CredentialServices, tmp_path: Path
) -> None:
    write_api_key_profile(tmp_path, pass_phrase="e")
    model = make_signed_model(cloud, make_signer())
    with pytest.raises(AuthenticationError, match="not authenticated: no such key"):
        model.complete_sync("hello")
    model.close_sync()


def test_the_key_content_can_be_an_argument_or_an_environment_variable(
    cloud: CredentialServices, tmp_path: Path, isolated_environment: pytest.MonkeyPatch
) -> None:
    cloud.register_key("user")
    write_profile(
        tmp_path,
        tenancy=TENANCY,
        user=USER,
        fingerprint=compute_fingerprint(get_private_key("user")),
    )
    signer = make_signer(key_content=encode_private_key(get_private_key("user")))
    model = make_signed_model(cloud, signer)
    model.complete_sync("hello")
    assert "PRIVATE" not in repr(signer.auth)
    (tmp_path / ".oci" / "config").unlink()
    isolated_environment.setenv("OCI_CLI_USER", USER)
    isolated_environment.setenv("OCI_CLI_TENANCY", TENANCY)
    isolated_environment.setenv("OCI_CLI_FINGERPRINT", compute_fingerprint(get_private_key("user")))
    isolated_environment.setenv("OCI_CLI_KEY_CONTENT", encode_private_key(get_private_key("user")))
    model = make_signed_model(cloud, make_signer())
    model.complete_sync("hello")
    model.close_sync()
    assert len(cloud.accepted_key_ids) == 2


def _make_broken_profile(defect: str, home: Path) -> dict[str, str]:
    """The entries of a profile with one defect."""
    entries = {
        "tenancy": TENANCY,
        "user": USER,
        "fingerprint": compute_fingerprint(get_private_key("user")),
        "key_file": str(write_key_file(home, "user")),
    }
    if defect == "no file":
        entries["key_file"] = str(home / "nowhere.pem")
    elif defect == "public key":
        (home / "user.pem").write_text(encode_public_key(get_private_key("user")))
    elif defect == "no key":
        (home / "user.pem").write_text("hello")
    elif defect == "passphrase missing":
        write_key_file(home, "user", "secret phrase")
    elif defect == "passphrase wrong":
        write_key_file(home, "user", "secret phrase")
        entries["pass_phrase"] = "another secret"
    elif defect == "passphrase odd":
        write_key_file(home, "user", "secret phrase")
        entries["pass_phrase"] = "sécret"
    elif defect == "fingerprint":
        entries["fingerprint"] = "aa:bb"
    elif defect == "user missing":
        del entries["user"], entries["key_file"]
    return entries


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("no file", "there is no file .*nowhere.pem"),
        ("public key", "a public key was provided"),
        ("no key", "not a private key"),
        ("passphrase missing", "requires a passphrase"),
        ("passphrase wrong", "passphrase is incorrect"),
        ("passphrase odd", "not ASCII"),
        ("fingerprint", "'fingerprint': 'malformed'"),
        ("user missing", "lacks user, key_file: `oci setup config`"),
    ],
)
def test_the_error_for_a_broken_profile_names_the_defect_and_no_secret(
    cloud: CredentialServices, tmp_path: Path, defect: str, message: str
) -> None:
    write_profile(tmp_path, "BROKEN", **_make_broken_profile(defect, tmp_path))
    signer = make_signer(profile="BROKEN")
    with pytest.raises(ConfigurationError, match=message) as exc_info:
        make_signed_model(cloud, signer).complete_sync("hello")
    assert "the profile BROKEN of " in str(exc_info.value)
    assert "secret" not in str(exc_info.value)
    assert str(signer.last_refresh_error) == str(exc_info.value)
    assert not cloud.server.requests


def test_a_rotated_key_is_read_again_after_a_401(
    cloud: CredentialServices, tmp_path: Path, runtime: Runtime
) -> None:
    old = cloud.register_key("user")
    write_api_key_profile(tmp_path)
    signer = make_signer()
    model = make_signed_model(cloud, signer)
    runtime.complete(model, "hello")
    del cloud.user_keys[old]
    new = cloud.register_key("user two")
    (tmp_path / ".oci" / "config").unlink()
    write_api_key_profile(tmp_path, key_name="user two")
    runtime.complete(model, "hello")
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    runtime.close(model)
    assert cloud.accepted_key_ids == [old, new, new]
    assert len(cloud.rejection_reasons) == 1
    assert signer.credentials_version == 2


# -- session tokens ----------------------------------------------------------------------------


def write_session_profile(home: Path, token: str, key_name: str = "session", **more: str) -> Path:
    """Write a profile as ``oci session authenticate`` does; return the token's file."""
    file = home / "token"
    file.write_text(token)
    write_profile(
        home,
        "SESSION",
        fingerprint=compute_fingerprint(get_private_key(key_name)),
        key_file=str(write_key_file(home, key_name)),
        tenancy=TENANCY,
        region="us-chicago-1",
        security_token_file=str(file),
        **more,
    )
    return file


def test_a_profile_with_a_token_file_signs_with_the_token(
    cloud: CredentialServices, tmp_path: Path, runtime: Runtime
) -> None:
    token = make_token("auth service", get_private_key("session").public_key(), 600)
    write_session_profile(tmp_path, token + "\n")
    for auth_arguments in (
        {"profile": "SESSION"},
        {"profile": "SESSION", "auth_type": "session_token"},
    ):
        signer = make_signer(**auth_arguments)
        model = make_signed_model(cloud, signer)
        runtime.complete(model, "hello")
        runtime.close(model)
    assert cloud.accepted_key_ids == [f"ST${token}"] * 2
    assert token in tuple(signer.get_secrets())


def test_the_key_of_a_session_can_be_in_the_environment(
    cloud: CredentialServices, tmp_path: Path, isolated_environment: pytest.MonkeyPatch
) -> None:
    token = make_token("auth service", get_private_key("session").public_key(), 600)
    (tmp_path / "token").write_text(token)
    write_profile(tmp_path, tenancy=TENANCY, security_token_file=str(tmp_path / "token"))
    isolated_environment.setenv(
        "OCI_CLI_KEY_CONTENT", encode_private_key(get_private_key("session"))
    )
    model = make_signed_model(cloud, make_signer())
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert cloud.accepted_key_ids == [f"ST${token}"]


def test_another_profile_in_the_environment_is_used_for_later_models(
    cloud: CredentialServices, tmp_path: Path, isolated_environment: pytest.MonkeyPatch
) -> None:
    tokens = []
    for name in ("ONE", "TWO"):
        tokens.append(make_token("auth service", get_private_key("session").public_key(), 600))
        (tmp_path / name).write_text(tokens[-1])
        write_profile(
            tmp_path,
            name,
            tenancy=TENANCY,
            key_file=str(write_key_file(tmp_path, "session")),
            security_token_file=str(tmp_path / name),
        )
        isolated_environment.setenv("OCI_PROFILE", name)
        model = make_signed_model(cloud, get_signer(resolve_auth(auth_type="security_token")))
        assert model.complete_sync("hello").content == TEXT
        model.close_sync()
    assert cloud.accepted_key_ids == [f"ST${token}" for token in tokens]


def test_a_revoked_session_token_is_replaced_by_the_newer_one_in_the_file(
    cloud: CredentialServices, tmp_path: Path, runtime: Runtime
) -> None:
    first = make_token("auth service", get_private_key("session").public_key(), 600)
    file = write_session_profile(tmp_path, first)
    model = make_signed_model(cloud, make_signer(profile="SESSION"))
    runtime.complete(model, "hello")
    cloud.revoked_tokens.add(first)
    second = make_token("auth service", get_private_key("session").public_key(), 600)
    file.write_text(second)
    runtime.complete(model, "hello")
    runtime.close(model)
    assert cloud.accepted_key_ids == [f"ST${first}", f"ST${second}"]
    assert not cloud.token_requests


def test_a_session_is_refreshed_before_it_expires_and_its_file_is_not_written(
    cloud: CredentialServices, tmp_path: Path, isolated_environment: pytest.MonkeyPatch
) -> None:
    isolated_environment.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", cloud.url)
    first = make_token("auth service", get_private_key("session").public_key(), 600)
    file = write_session_profile(tmp_path, first)
    signer = make_signer(
        profile="SESSION", refresh_policy=RefreshPolicy(refresh_before_expiry=30.0)
    )
    model = make_signed_model(cloud, signer)
    model.complete_sync("hello")
    assert not cloud.token_requests
    cached = signer._cached
    assert cached is not None
    object.__setattr__(cached, "refresh_at", 0.0)  # as if half a minute had passed
    model.complete_sync("hello")
    wait_until(lambda: signer.credentials_version == 2)
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.token_requests == ["refresh"]
    assert cloud.accepted_key_ids == [
        f"ST${token}" for token in (first, first, cloud.issued_tokens[0])
    ]
    assert file.read_text() == first


def test_the_error_for_an_expired_session_says_how_to_start_another(
    cloud: CredentialServices, tmp_path: Path, runtime: Runtime
) -> None:
    write_session_profile(
        tmp_path, make_token("auth service", get_private_key("session").public_key(), -5)
    )
    model = make_signed_model(cloud, make_signer(profile="SESSION"))
    with pytest.raises(
        ConfigurationError, match=r"expired at .*oci session authenticate --profile-name SESSION"
    ):
        runtime.complete(model, "hello")
    runtime.close(model)


def test_a_token_file_without_a_token_or_a_missing_one_is_an_error(tmp_path: Path) -> None:
    file = write_session_profile(tmp_path, "hello")
    with pytest.raises(ConfigurationError, match="token holds no token"):
        make_signer(profile="SESSION").ensure_ready()
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"there is no file .*token"):
        make_signer(profile="SESSION").ensure_ready()


# -- sharing -----------------------------------------------------------------------------------


def test_equal_credentials_share_a_signer(tmp_path: Path) -> None:
    write_api_key_profile(tmp_path)
    one, other = resolve_auth(profile="DEFAULT"), resolve_auth(profile="DEFAULT")
    assert get_signer(one) is get_signer(other)
    assert get_signer(one) is not get_signer(resolve_auth(profile="OTHER"))


def test_the_cache_of_signers_has_a_size_limit(tmp_path: Path) -> None:
    import weakref

    def make_auth(number: int) -> Any:
        return resolve_auth(auth_type="delegation_token", delegation_token=f"token-{number}")

    first, used_signer = weakref.ref(get_signer(make_auth(-1))), get_signer(make_auth(-2))
    for number in range(MAX_CACHED_SIGNERS + 10):
        get_signer(make_auth(number))
        assert get_signer(make_auth(-2)) is used_signer  # used all the time
    gc.collect()
    assert first() is None
    assert len(_cached_signers) == MAX_CACHED_SIGNERS


def test_an_unused_signer_is_garbage_collected(tmp_path: Path) -> None:
    import weakref

    write_api_key_profile(tmp_path)
    signer: OCISigner | None = make_signer(refresh_policy=FAST_REFRESH_POLICY)
    assert signer is not None
    signer.ensure_ready()
    reference = weakref.ref(signer)
    signer = None
    gc.collect()
    assert reference() is None


# -- clients of an SDK -------------------------------------------------------------------------


def test_the_openai_sdk_sends_signed_requests_without_its_own_key(
    cloud: CredentialServices, tmp_path: Path, backend: str
) -> None:
    openai = pytest.importorskip("openai")
    import sys

    from locus.transport.httpx_auth import build_signing_auth

    old = cloud.register_key("user")
    write_api_key_profile(tmp_path)
    signer = make_signer()
    library = sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]
    auth = build_signing_auth(signer, library)
    client_arguments: dict[str, Any] = {
        "api_key": "sk-foreign",
        "base_url": f"{cloud.url}/openai/v1",
        "default_headers": {"opc-compartment-id": COMPARTMENT},
        "max_retries": 0,
    }
    request: dict[str, Any] = {
        "model": "loop-1",
        "messages": [{"role": "user", "content": "hello"}],
    }

    async def main() -> None:
        async with openai.AsyncOpenAI(
            http_client=library.AsyncClient(auth=auth), **client_arguments
        ) as client:
            response = await client.chat.completions.create(**request)
            assert response.choices[0].message.content == TEXT
            if backend == "asyncio":  # under trio, the SDK does not close its own generators
                stream = await client.chat.completions.create(**request, stream=True)
                chunks = [chunk async for chunk in stream if chunk.choices]
                assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
            assert (await client.models.list()).data == []

    run_async(backend, main)
    request_count = 3 if backend == "asyncio" else 2
    assert cloud.accepted_key_ids == [old] * request_count
    # A rotated key: rejected once, read again, signed again.
    cloud.user_keys.clear()
    new = cloud.register_key("user two")
    (tmp_path / ".oci" / "config").unlink()
    write_api_key_profile(tmp_path, key_name="user two")
    run_async(backend, main)
    assert cloud.accepted_key_ids[request_count:] == [new] * request_count
    with openai.OpenAI(http_client=library.Client(auth=auth), **client_arguments) as client:
        assert client.chat.completions.create(**request).choices[0].message.content == TEXT
        assert client.models.list().data == []
    assert not any(
        "foreign" in str(dict(request_count.headers)) for request_count in cloud.server.requests
    )
