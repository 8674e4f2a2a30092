"""Requests to OCI are signed over the bytes that are sent, with keys and tokens of a profile."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from locus.core.errors import AuthenticationError, ConfigurationError
from locus.models.providers.oci._signing import KEPT, OCISigner, Pace, _shared, signer_for
from locus.models.providers.oci.settings import auth_of
from locus.transport.http_call import HttpRequest
from tests.support import runtimes
from tests.support.oci import profiles, signed_models
from tests.support.oci.cloud import CHAT, COMPARTMENT
from tests.support.oci.credential_services import Services
from tests.support.oci.crypto import TENANCY, USER, fingerprint, key, pem, public_pem, token
from tests.support.oci.inference import MODELS, Inference, refusal
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import QUICK, api_key_profile, quick, signed_model, write_key
from tests.support.runtimes import TEXT, AtMost, Runtime, run, text

pytest.importorskip("oci")

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
home, surroundings = profiles.home, signed_models.surroundings
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "surroundings")]


@pytest.fixture
def cloud() -> Iterator[Services]:
    with Services() as cloud:
        yield cloud


# -- signatures --------------------------------------------------------------------------------


def test_an_api_key_signs_whole_and_streamed(
    cloud: Services, tmp_path: Path, runtime: Runtime
) -> None:
    key_id = cloud.trust("user")
    api_key_profile(tmp_path)
    model = signed_model(cloud, quick())
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    runtime.close(model)
    assert cloud.accepted == [key_id, key_id]
    assert cloud.signed[:3] == ["date", "(request-target)", "host"]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("the digest is another body's", {"content": b"{}"}),
        ("the signature is wrong", {"headers": {"content-type": "text/plain"}}),
        ("the clock is wrong", {"headers": {"date": "Tue, 01 Jan 2030 00:00:00 GMT"}}),
        ("the signature is wrong", {"query": "?more=1"}),
        ("not signed, but bare", {"headers": {"authorization": ""}}),
    ],
)
def test_the_loopback_cloud_refuses_what_is_not_properly_signed(
    cloud: Services, tmp_path: Path, what: str, change: dict[str, Any]
) -> None:
    import httpx

    cloud.trust("user")
    api_key_profile(tmp_path)
    signer = quick()
    signer.prepare()
    plain = HttpRequest(
        f"{cloud.url}{CHAT}",
        {"content-type": "application/json", "opc-compartment-id": COMPARTMENT},
        b'{"messages": []}',
    )
    signed = signer.sign(plain)
    assert httpx.post(signed.url, headers=signed.headers, content=signed.content).status_code == 200
    headers = {**signed.headers, **change.get("headers", {})}
    content = change.get("content", signed.content)
    headers["content-length"] = str(len(content))
    answer = httpx.post(signed.url + change.get("query", ""), headers=headers, content=content)
    assert answer.status_code == 401
    assert cloud.refused[-1].startswith(what)


def test_a_key_that_the_server_does_not_know_is_an_authentication_error(
    cloud: Services, tmp_path: Path, runtime: Runtime
) -> None:
    api_key_profile(tmp_path)
    model = signed_model(cloud, quick())
    with pytest.raises(AuthenticationError, match="no such key"):
        runtime.ask(model, "hello")
    runtime.close(model)
    assert len(cloud.refused) == 1  # the key is the same as before: nothing to try again with


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/openai/v1/chat/completions?api-version=1&x=a%20b",
        "http://127.0.0.1:{port}/openai/v1/./chat/completions",
        "http://localhost:{port}/openai/v1/chat/completions",
        "http://127.0.0.1:{port}/openai/v1/chat/Zürich completions|x",
    ],
)
def test_the_target_is_signed_as_it_is_sent(cloud: Services, tmp_path: Path, url: str) -> None:
    import httpx

    cloud.trust("user")
    api_key_profile(tmp_path)
    signer = quick()
    signer.prepare()
    cloud.server.route("POST", "*", cloud.chat)
    signed = signer.sign(
        HttpRequest(
            url.format(port=cloud.url.rpartition(":")[2]),
            {"Content-Type": "application/json", "Opc-Compartment-Id": COMPARTMENT},
            b"{}",
        )
    )
    with httpx.HTTPTransport() as transport:
        request = httpx.Request("POST", signed.url, headers=signed.headers, content=signed.content)
        assert transport.handle_request(request).status_code == 200, cloud.refused


def test_a_brought_client_with_parameters_and_credentials_of_its_own_is_signed_too(
    cloud: Services, tmp_path: Path, backend: str
) -> None:
    import httpx
    import httpx2

    cloud.trust("user")
    api_key_profile(tmp_path)
    signer = quick()
    said: dict[str, Any] = {"auth": ("user", "password"), "params": {"extra": "a b"}}

    async def main() -> None:
        for library in (httpx, httpx2):
            async with library.AsyncClient(**said, headers={"api-key": "foreign"}) as client:
                model = signed_model(cloud, signer, http_client=client)
                assert (await model.complete("hello")).content == TEXT

    run(backend, main)
    for library in (httpx, httpx2):
        with library.Client(**said, headers={"x-api-key": "foreign"}) as client:
            model = signed_model(cloud, signer, http_client=client)
            assert model.complete_sync("hello").content == TEXT
    assert len(cloud.accepted) == 4
    assert all("extra=a" in request.target for request in cloud.server.requests)


def test_headers_that_contradict_the_signature_are_dropped(cloud: Services, tmp_path: Path) -> None:
    cloud.trust("user")
    api_key_profile(tmp_path)
    model = signed_model(cloud, quick())
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


FOREIGN = {
    "Authorization": "Bearer foreign",
    "API-Key": "foreign",
    "X-API-Key": "foreign",
    "Opc-Obo-Token": "foreign",
    "X-Date": "foreign",
}


@pytest.mark.parametrize("way", ["profile", "bearer"])
@pytest.mark.parametrize("kind", ["chat", "responses", "generic"])
def test_credentials_of_a_brought_client_or_a_call_do_not_come_along(
    tmp_path: Path, backend: str, kind: str, way: str
) -> None:
    import httpx
    import httpx2

    if (kind, way) == ("generic", "bearer"):
        pytest.skip("OCIModel has no such way in")
    api_key_profile(tmp_path)
    with Inference() as cloud:
        cloud.trust("user")
        said = {}
        if way == "bearer":
            said["api_key"] = cloud.bearer = "sk-of-the-service-0123456789"

        async def main() -> None:
            for library in (httpx, httpx2):
                own: dict[str, Any] = {"auth": ("foreign", "password"), "headers": FOREIGN}
                async with library.AsyncClient(**own) as client:
                    model = MODELS[kind](cloud, http_client=client, **said)
                    assert (await model.complete("hello")).content == TEXT
                with library.Client(**own) as client:
                    model = MODELS[kind](cloud, http_client=client, **said)
                    assert model.complete_sync("hello").content == TEXT
            async with MODELS[kind](cloud, **said) as model:
                answer = await model.complete("hello", extra_headers=FOREIGN)
                assert answer.content == TEXT

        run(backend, main)
        assert len(cloud.answered) == 5
        for request in cloud.answered:
            assert "foreign" not in str(dict(request.headers))
            assert "Basic" not in request.headers["authorization"]


def test_credentials_of_a_call_do_not_come_along_through_a_brought_sdk_either() -> None:
    openai = pytest.importorskip("openai")
    with Inference() as cloud:
        cloud.bearer = "sk-of-the-service-0123456789"
        with openai.OpenAI(api_key=cloud.bearer, base_url=f"{cloud.url}/openai/v1") as client:
            model = MODELS["chat"](cloud, sdk_client=client)
            said = {**FOREIGN, "x-mine": "yes"}
            assert model.complete_sync("hello", extra_headers=said).content == TEXT
        headers = cloud.answered[0].headers
    assert "foreign" not in str(dict(headers))
    assert headers["x-mine"] == "yes"


def test_the_openai_client_of_a_model_with_an_api_key_sends_no_other_credentials(
    backend: str,
) -> None:
    pytest.importorskip("openai")
    with Inference() as cloud:
        cloud.bearer = "sk-of-the-service-0123456789"

        async def main() -> None:
            async with MODELS["chat"](cloud, api_key=cloud.bearer) as model:
                await model.client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": "hello"}],
                    extra_headers=FOREIGN,
                )

        run(backend, main)
        assert "foreign" not in str(dict(cloud.answered[0].headers))


def test_an_api_key_of_the_service_does_not_show() -> None:
    with Inference() as cloud:
        cloud.bearer = "another"
        model = MODELS["chat"](cloud, api_key="sk-of-the-service-0123456789")
        cloud.server.route(
            "POST", CHAT, lambda got: refusal(401, "N", f"no {got.headers['authorization']}")
        )
        with pytest.raises(AuthenticationError, match=r"no \*\*\*|no Bearer \*\*\*") as caught:
            model.complete_sync("hello")
        model.close_sync()
    assert "0123" not in f"{caught.value} {caught.value.body} {model._signer()!r}"


# -- API keys ----------------------------------------------------------------------------------


def test_a_key_with_a_passphrase_signs_and_neither_shows(cloud: Services, tmp_path: Path) -> None:
    cloud.trust("user")
    api_key_profile(tmp_path, pass_phrase="correct horse battery")
    signer = quick()
    model = signed_model(cloud, signer)
    model.complete_sync("hello")
    model.close_sync()
    shown = f"{signer!r} {signer.auth!r} {model!r}"
    assert "correct horse" not in shown
    # It never leaves this machine, so no answer can hold it; and it may be an ordinary word.
    assert tuple(signer.secrets()) == ()


def test_a_short_passphrase_does_not_mangle_errors(cloud: Services, tmp_path: Path) -> None:
    api_key_profile(tmp_path, pass_phrase="e")
    model = signed_model(cloud, quick())
    with pytest.raises(AuthenticationError, match="not authenticated: no such key"):
        model.complete_sync("hello")
    model.close_sync()


def test_the_key_itself_can_be_given_or_stand_in_the_environment(
    cloud: Services, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    cloud.trust("user")
    write_profile(tmp_path, tenancy=TENANCY, user=USER, fingerprint=fingerprint(key("user")))
    signer = quick(key_content=pem(key("user")))
    model = signed_model(cloud, signer)
    model.complete_sync("hello")
    assert "PRIVATE" not in repr(signer.auth)
    (tmp_path / ".oci" / "config").unlink()
    surroundings.setenv("OCI_CLI_USER", USER)
    surroundings.setenv("OCI_CLI_TENANCY", TENANCY)
    surroundings.setenv("OCI_CLI_FINGERPRINT", fingerprint(key("user")))
    surroundings.setenv("OCI_CLI_KEY_CONTENT", pem(key("user")))
    model = signed_model(cloud, quick())
    model.complete_sync("hello")
    model.close_sync()
    assert len(cloud.accepted) == 2


def _break(how: str, home: Path) -> dict[str, str]:
    """What a profile says, broken in one way."""
    said = {
        "tenancy": TENANCY,
        "user": USER,
        "fingerprint": fingerprint(key("user")),
        "key_file": str(write_key(home, "user")),
    }
    if how == "no file":
        said["key_file"] = str(home / "nowhere.pem")
    elif how == "public key":
        (home / "user.pem").write_text(public_pem(key("user")))
    elif how == "no key":
        (home / "user.pem").write_text("hello")
    elif how == "passphrase missing":
        write_key(home, "user", "secret phrase")
    elif how == "passphrase wrong":
        write_key(home, "user", "secret phrase")
        said["pass_phrase"] = "another secret"
    elif how == "passphrase odd":
        write_key(home, "user", "secret phrase")
        said["pass_phrase"] = "sécret"
    elif how == "fingerprint":
        said["fingerprint"] = "aa:bb"
    elif how == "user missing":
        del said["user"], said["key_file"]
    return said


@pytest.mark.parametrize(
    ("how", "says"),
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
def test_a_broken_profile_says_what_is_wrong_and_no_secret(
    cloud: Services, tmp_path: Path, how: str, says: str
) -> None:
    write_profile(tmp_path, "BROKEN", **_break(how, tmp_path))
    signer = quick(profile="BROKEN")
    with pytest.raises(ConfigurationError, match=says) as caught:
        signed_model(cloud, signer).complete_sync("hello")
    assert "the profile BROKEN of " in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(signer.last_refresh_error) == str(caught.value)
    assert not cloud.server.requests


def test_a_key_that_was_rotated_is_read_again_after_a_401(
    cloud: Services, tmp_path: Path, runtime: Runtime
) -> None:
    old = cloud.trust("user")
    api_key_profile(tmp_path)
    signer = quick()
    model = signed_model(cloud, signer)
    runtime.ask(model, "hello")
    del cloud.users[old]
    new = cloud.trust("user two")
    (tmp_path / ".oci" / "config").unlink()
    api_key_profile(tmp_path, of="user two")
    runtime.ask(model, "hello")
    assert text(runtime.stream(model, "hello")) == TEXT
    runtime.close(model)
    assert cloud.accepted == [old, new, new]
    assert len(cloud.refused) == 1
    assert signer.version == 2


# -- session tokens ----------------------------------------------------------------------------


def session_profile(home: Path, made: str, of: str = "session", **more: str) -> Path:
    """A profile as ``oci session authenticate`` writes it; the token's file."""
    file = home / "token"
    file.write_text(made)
    write_profile(
        home,
        "SESSION",
        fingerprint=fingerprint(key(of)),
        key_file=str(write_key(home, of)),
        tenancy=TENANCY,
        region="us-chicago-1",
        security_token_file=str(file),
        **more,
    )
    return file


def test_a_profile_with_a_token_file_signs_with_the_token(
    cloud: Services, tmp_path: Path, runtime: Runtime
) -> None:
    made = token("auth service", key("session").public_key(), 60)
    session_profile(tmp_path, made + "\n")
    for how in ({"profile": "SESSION"}, {"profile": "SESSION", "auth_type": "session_token"}):
        signer = quick(**how)
        model = signed_model(cloud, signer)
        runtime.ask(model, "hello")
        runtime.close(model)
    assert cloud.accepted == [f"ST${made}"] * 2
    assert made in tuple(signer.secrets())


def test_the_key_of_a_session_may_stand_in_the_environment(
    cloud: Services, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    made = token("auth service", key("session").public_key(), 60)
    (tmp_path / "token").write_text(made)
    write_profile(tmp_path, tenancy=TENANCY, security_token_file=str(tmp_path / "token"))
    surroundings.setenv("OCI_CLI_KEY_CONTENT", pem(key("session")))
    model = signed_model(cloud, quick())
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert cloud.accepted == [f"ST${made}"]


def test_another_profile_in_the_environment_is_signed_with_from_then_on(
    cloud: Services, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    made = []
    for name in ("ONE", "TWO"):
        made.append(token("auth service", key("session").public_key(), 60))
        (tmp_path / name).write_text(made[-1])
        write_profile(
            tmp_path,
            name,
            tenancy=TENANCY,
            key_file=str(write_key(tmp_path, "session")),
            security_token_file=str(tmp_path / name),
        )
        surroundings.setenv("OCI_PROFILE", name)
        model = signed_model(cloud, signer_for(auth_of(auth_type="security_token")))
        assert model.complete_sync("hello").content == TEXT
        model.close_sync()
    assert cloud.accepted == [f"ST${one}" for one in made]


def test_a_revoked_session_is_replaced_by_what_the_file_says_by_now(
    cloud: Services, tmp_path: Path, runtime: Runtime
) -> None:
    first = token("auth service", key("session").public_key(), 60)
    file = session_profile(tmp_path, first)
    model = signed_model(cloud, quick(profile="SESSION"))
    runtime.ask(model, "hello")
    cloud.distrusted.add(first)
    second = token("auth service", key("session").public_key(), 60)
    file.write_text(second)
    runtime.ask(model, "hello")
    runtime.close(model)
    assert cloud.accepted == [f"ST${first}", f"ST${second}"]
    assert not cloud.asked


def test_a_session_is_prolonged_before_it_ends_and_its_file_left_alone(
    cloud: Services, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    surroundings.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", cloud.url)
    first = token("auth service", key("session").public_key(), 60)
    file = session_profile(tmp_path, first)
    signer = quick(profile="SESSION", pace=Pace(ahead=30.0))
    model = signed_model(cloud, signer)
    model.complete_sync("hello")
    assert not cloud.asked
    (held,) = [signer._held]
    assert held is not None
    object.__setattr__(held, "refresh_at", 0.0)  # as if half a minute had gone by
    model.complete_sync("hello")
    with AtMost(3.0):
        while signer.version == 1:
            anyio.run(anyio.sleep, 0.01)
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.asked == ["refresh"]
    assert cloud.accepted == [f"ST${made}" for made in (first, first, cloud.issued[0])]
    assert file.read_text() == first


def test_an_expired_session_says_how_to_begin_another(
    cloud: Services, tmp_path: Path, runtime: Runtime
) -> None:
    session_profile(tmp_path, token("auth service", key("session").public_key(), -5))
    model = signed_model(cloud, quick(profile="SESSION"))
    with pytest.raises(
        ConfigurationError, match=r"expired at .*oci session authenticate --profile-name SESSION"
    ):
        runtime.ask(model, "hello")
    runtime.close(model)


def test_a_token_file_that_holds_no_token_or_is_not_there_says_so(tmp_path: Path) -> None:
    file = session_profile(tmp_path, "hello")
    with pytest.raises(ConfigurationError, match="token holds no token"):
        quick(profile="SESSION").prepare()
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"there is no file .*token"):
        quick(profile="SESSION").prepare()


# -- sharing -----------------------------------------------------------------------------------


def test_equal_settings_share_a_signer_and_models_pickle_without_it(tmp_path: Path) -> None:
    api_key_profile(tmp_path)
    one, other = auth_of(profile="DEFAULT"), auth_of(profile="DEFAULT")
    assert signer_for(one) is signer_for(other)
    assert signer_for(one) is not signer_for(auth_of(profile="OTHER"))


def test_the_signers_of_many_delegation_tokens_are_not_kept_for_ever(tmp_path: Path) -> None:
    import weakref

    def auth(number: int) -> Any:
        return auth_of(auth_type="delegation_token", delegation_token=f"token-{number}")

    first, kept = weakref.ref(signer_for(auth(-1))), signer_for(auth(-2))
    for number in range(KEPT + 10):
        signer_for(auth(number))
        assert signer_for(auth(-2)) is kept  # in use all the time
    gc.collect()
    assert first() is None
    assert len(_shared) == KEPT


def test_a_signer_that_nobody_keeps_is_collected(tmp_path: Path) -> None:
    import weakref

    api_key_profile(tmp_path)
    signer: OCISigner | None = quick(pace=QUICK)
    assert signer is not None
    signer.prepare()
    gone = weakref.ref(signer)
    signer = None
    gc.collect()
    assert gone() is None


# -- clients of an SDK -------------------------------------------------------------------------


def test_the_openai_sdk_sends_signed_requests_with_its_own_key_left_out(
    cloud: Services, tmp_path: Path, backend: str
) -> None:
    openai = pytest.importorskip("openai")
    import sys

    from locus.transport.httpx_auth import signed_auth

    old = cloud.trust("user")
    api_key_profile(tmp_path)
    signer = quick()
    library = sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]
    auth = signed_auth(signer, library)
    said: dict[str, Any] = {
        "api_key": "sk-foreign",
        "base_url": f"{cloud.url}/openai/v1",
        "default_headers": {"opc-compartment-id": COMPARTMENT},
        "max_retries": 0,
    }
    ask: dict[str, Any] = {"model": "loop-1", "messages": [{"role": "user", "content": "hello"}]}

    async def main() -> None:
        async with openai.AsyncOpenAI(http_client=library.AsyncClient(auth=auth), **said) as client:
            answer = await client.chat.completions.create(**ask)
            assert answer.choices[0].message.content == TEXT
            if backend == "asyncio":  # under trio, the SDK leaves its own generators unclosed
                stream = await client.chat.completions.create(**ask, stream=True)
                pieces = [piece async for piece in stream if piece.choices]
                assert "".join(p.choices[0].delta.content or "" for p in pieces) == TEXT
            assert (await client.models.list()).data == []

    run(backend, main)
    sent = 3 if backend == "asyncio" else 2
    assert cloud.accepted == [old] * sent
    # A rotated key: refused once, read again, signed again.
    cloud.users.clear()
    new = cloud.trust("user two")
    (tmp_path / ".oci" / "config").unlink()
    api_key_profile(tmp_path, of="user two")
    run(backend, main)
    assert cloud.accepted[sent:] == [new] * sent
    with openai.OpenAI(http_client=library.Client(auth=auth), **said) as client:
        assert client.chat.completions.create(**ask).choices[0].message.content == TEXT
        assert client.models.list().data == []
    assert not any("foreign" in str(dict(sent.headers)) for sent in cloud.server.requests)
