"""What nobody chose never makes a request fail: it is left out once the server has refused it."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from locus import AnthropicModel, OpenAIModel
from locus.core.errors import BadRequestError
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Received, Reply
from tests.support.chat_replies import TEXT, build_reply, build_stream_reply, join_text
from tests.support.formats.oci_generic import OCIGeneric
from tests.support.servers.openai_server import make_model

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")


def make_refusing_server(
    is_refused: Callable[[dict[str, Any]], str | None],
) -> Callable[[Received], Reply]:
    """Return the replies of a server that refuses some bodies.

    :param is_refused: returns the server's words, or None for a body that it accepts.
    """

    def respond(received: Received) -> Reply:
        body = received.json()
        message = is_refused(body)
        if message is not None:
            return Reply.json({"error": {"message": message}}, status=400)
        return build_stream_reply() if body.get("stream") else build_reply()

    return respond


def refuse_members(*names: str) -> Callable[[Received], Reply]:
    """Return the replies of a server that refuses the first of these members that it gets."""

    def is_refused(body: dict[str, Any]) -> str | None:
        refused = [name for name in names if name in body]
        return f"Unsupported parameter: '{refused[0]}'" if refused else None

    return make_refusing_server(is_refused)


def test_refused_defaults_are_left_out_one_after_the_other(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(refuse_members("temperature", "top_p", "stream_options"))
    model = make_model(server)
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert len(server.requests) == 4
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert len(server.requests) == 6


def test_a_limit_gets_its_other_name(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(refuse_members("max_tokens"))
    model = make_model(server)
    assert runtime.complete(model, "hello", max_tokens=7).content == TEXT
    assert runtime.complete(model, "hello").content == TEXT
    limits = [request.json().get("max_completion_tokens") for request in server.requests]
    assert limits == [None, 7, 4096]


def test_an_older_server_gets_the_older_name(server: LoopbackServer) -> None:
    server.always(refuse_members("max_completion_tokens"))
    model = make_model(server, model="gpt-5")
    model.complete_sync("hello")
    assert server.requests[-1].json()["max_tokens"] == 4096


@pytest.mark.parametrize(
    ("config", "bound", "call"),
    [({"top_p": 0.5}, {}, {}), ({}, {"top_p": 0.5}, {}), ({}, {}, {"top_p": 0.9})],
)
def test_what_the_caller_set_is_an_error_with_a_hint(
    server: LoopbackServer, runtime: Runtime, config: Any, bound: Any, call: Any
) -> None:
    server.always(refuse_members("top_p"))
    model = make_model(server, **config).bind_tools([], **bound)
    with pytest.raises(BadRequestError, match="top_p= was set for this call: leave it out"):
        runtime.complete(model, "hello", **call)
    assert len(server.requests) == 1


def test_a_known_refusal_does_not_take_away_what_a_call_sets(server: LoopbackServer) -> None:
    server.always(refuse_members("temperature"))
    model = make_model(server)
    model.complete_sync("hello")
    with pytest.raises(BadRequestError, match="temperature="):
        model.complete_sync("hello", temperature=0.7)
    assert server.requests[-1].json()["temperature"] == 0.7


def test_nothing_is_remembered_of_an_error_that_stays(server: LoopbackServer) -> None:
    server.always(Reply.json({"error": {"message": "the temperature is unknown"}}, status=400))
    model = make_model(server)
    for count in (2, 4):
        with pytest.raises(BadRequestError):
            model.complete_sync("hello")
        assert len(server.requests) == count
    assert model.request("hello")["temperature"] == 0.7


def test_copies_for_the_same_model_and_server_know_it_too(server: LoopbackServer) -> None:
    server.always(refuse_members("temperature"))
    model = make_model(server, model="deployment")
    copies = [model.bind_tools([], seed=1), model.copy(max_tokens=5), model.copy(http_client=None)]
    model.complete_sync("hello")
    for copy in copies:
        assert "temperature" not in copy.request("hello")
    for other in (
        model.copy(model="another"),
        model.copy(base_url="http://127.0.0.1:9"),
        pickle.loads(pickle.dumps(model)),
    ):
        assert other.request("hello")["temperature"] == 0.7
    assert "refusals" not in repr(model)
    assert model == make_model(server, model="deployment")


def test_many_threads_learn_together(server: LoopbackServer) -> None:
    server.always(refuse_members("temperature", "top_p"))
    model = make_model(server)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            assert model.complete_sync("hello").content == TEXT
        except BaseException as exc:  # noqa: BLE001 - asserted in the main thread
            failures.append(exc)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not {"temperature", "top_p"} & model.request("hello").keys()


@pytest.mark.usefixtures("formats_environment")
def test_oracles_members_are_known_by_oracles_names(server: LoopbackServer) -> None:
    reply = Reply.json(
        {
            "modelId": "m",
            "chatResponse": {
                "apiFormat": "GENERIC",
                "choices": [
                    {"message": {"role": "ASSISTANT", "content": [{"type": "TEXT", "text": "x"}]}}
                ],
            },
        }
    )

    def respond(received: Received) -> Reply:
        if "topP" in received.json()["chatRequest"]:
            return Reply.json({"code": "400", "message": "topP is not supported"}, status=400)
        return reply

    server.always(respond)
    model = OCIGeneric().make_model(server)
    assert model.complete_sync("hello").content == "x"
    assert model.complete_sync("hello").content == "x"
    assert len(server.requests) == 3


def test_anthropic_remembers_what_concerns_the_model(server: LoopbackServer) -> None:
    words = "`temperature` is deprecated for this model."
    message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "x"}]}

    def respond(received: Received) -> Reply:
        if "temperature" in json.loads(received.body):
            return Reply.json({"type": "error", "error": {"message": words}}, status=400)
        return Reply.json({**message, "id": "msg_1", "stop_reason": "end_turn"})

    server.always(respond)
    model = AnthropicModel("profile", "key", server.url, max_retries=0)
    for _ in range(2):
        assert model.complete_sync("hello").content == "x"
    assert len(server.requests) == 3


def test_a_model_with_a_custom_client_learns_too(server: LoopbackServer) -> None:
    import httpx

    server.always(refuse_members("temperature"))
    with httpx.Client() as client:
        model = OpenAIModel("m", "key", server.url, http_client=client, max_retries=0)
        model.complete_sync("hello")
        model.complete_sync("hello")
    assert len(server.requests) == 3
