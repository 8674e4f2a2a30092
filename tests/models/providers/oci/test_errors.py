"""What the responses API of OCI refuses: which error it is, wherever in an answer it stands."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ConflictError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from locus.models.providers.oci import OCIProjectRequiredError, OCIResponsesStateLostError
from locus.models.providers.oci.errors import responses_refused
from locus.testing.loopback_server import Reply
from tests.support import runtimes
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.inference import RESPONSES, Inference, responses_model
from tests.support.runtimes import Runtime

Lost, Project = OCIResponsesStateLostError, OCIProjectRequiredError


def openai(message: str, code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "code": code, "param": None}})


def oracle(message: str, code: str = "InvalidParameter") -> str:
    return json.dumps({"code": code, "message": message})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai("Previous response with id 'resp_1' not found.", "x"), Lost),
        (404, openai("gone", "previous_response_not_found"), Lost),
        (404, oracle("Response resp_abc does not exist"), Lost),
        (400, oracle("Conversation state for resp_abc has been deleted"), Lost),
        (404, oracle("previous_response_id resp_abc has expired"), Lost),
        (400, openai("The previous response and your input exceed the context window",
                     "context_length_exceeded"), ContextWindowExceededError),
        (400, openai("No tool output found for function call call_1 of previous response."),
         BadRequestError),
        (400, openai("Unknown parameter: 'previous_response_id'"), BadRequestError),
        (409, openai("previous response resp_1 is still in progress"), ConflictError),
        (429, openai("Too many requests for resp_1: response not found in cache"), RateLimitError),
        (500, openai("previous response resp_1 not found"), InternalServerError),
        (404, oracle("opc-project-id is required for this request"), Project),
        (403, oracle("A project is required to store responses", "NotAllowed"), Project),
        (404, oracle("Project ocid1.generativeaiproject.oc1..x not found"), Project),
        (403, openai("You must specify a project"), Project),
        (404, oracle("Entity with key openai.my-project-model not found"), NotFoundError),
        (403, oracle("not authorized", "NotAuthorized"), PermissionDeniedError),
        (400, oracle("the project field is too long"), BadRequestError),
    ],
)  # fmt: skip
def test_which_error_a_refusal_is(status: int, body: str, kind: type[APIStatusError]) -> None:
    error = responses_refused(body, status, {"opc-request-id": "abc"})
    assert type(error) is kind
    assert error.status_code == status
    assert error.body == body
    assert error.headers["opc-request-id"] == "abc"
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), copied.body) == (kind, str(error), body)


def test_the_message_shows_the_status_and_the_beginning_of_the_body() -> None:
    body = openai("bad thing", "some_code") + " " * 3 + "x" * 400
    text = str(responses_refused(body, 400))
    assert text == f"400: {body[:300]}…"


# -- through the model ---------------------------------------------------------------------------

runtime, no_leaks = runtimes.runtime, runtimes.no_leaks
home, surroundings = profiles.home, signed_models.surroundings
profile = inference.profile
oci = pytest.mark.usefixtures("no_leaks", "surroundings", "profile")
STATE = {"previous_response_id": "resp_1"}


@pytest.fixture
def cloud() -> Iterator[Inference]:
    pytest.importorskip("oci")
    with Inference() as cloud:
        cloud.trust("user")
        yield cloud


ERROR = {"code": "previous_response_not_found", "message": "Previous response not found."}
FORMS: dict[str, Reply] = {
    "status": Reply.json({"error": ERROR}, status=400),
    "whole body": Reply.json({"error": ERROR}),
    "failed": Reply.json({"id": "resp_2", "status": "failed", "error": ERROR, "output": []}),
    "error event": Reply.sse([{"type": "error", "sequence_number": 0, **ERROR}], done=False),
    "failed event": Reply.sse(
        [{"type": "response.failed", "sequence_number": 0,
          "response": {"id": "resp_2", "status": "failed", "error": ERROR, "output": []}}],
        done=False,
    ),
}  # fmt: skip


@oci
@pytest.mark.sdk
@pytest.mark.parametrize("form", FORMS)
def test_a_lost_conversation_is_the_same_error_in_every_form(
    cloud: Inference, runtime: Runtime, form: str, profile: Path
) -> None:
    cloud.always(FORMS[form])
    ask: Any = runtime.stream if "event" in form else runtime.ask
    with pytest.raises(OCIResponsesStateLostError, match="without provider_state=") as caught:
        ask(responses_model(cloud), "and then?", provider_state=STATE)
    assert "Previous response not found" in str(caught.value)
    assert {request.path for request in cloud.answered} == {RESPONSES}


@oci
@pytest.mark.sdk
def test_a_project_that_is_missing_says_what_to_pass_and_nothing_falls_back(
    cloud: Inference, runtime: Runtime, profile: Path
) -> None:
    cloud.always(Reply.json({"code": "x", "message": "opc-project-id is missing"}, status=404))
    model = responses_model(cloud)
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(OCIProjectRequiredError, match="pass project_ocid="):
            ask(model, "hello")
    assert [request.path for request in cloud.answered] == [RESPONSES, RESPONSES]


@oci
@pytest.mark.sdk
@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_refusal_stays_with_the_responses_api(
    cloud: Inference, runtime: Runtime, status: int, profile: Path
) -> None:
    cloud.always(Reply.json({"code": "x", "message": "not here"}, status=status))
    with pytest.raises(APIStatusError, match="not here"):
        runtime.ask(responses_model(cloud), "hello")
    assert {request.path for request in cloud.answered} == {RESPONSES}


@oci
@pytest.mark.sdk
def test_a_store_that_is_said_for_a_call_counts_for_its_answer_too(
    cloud: Inference, runtime: Runtime, profile: Path
) -> None:
    stored, unstored = responses_model(cloud), responses_model(cloud, store=False)
    for ask in (runtime.ask, lambda *a, **kw: runtime.stream(*a, **kw)[-1].response):
        answer = ask(stored, "hello", extra_body={"store": False}, provider_state=STATE)
        assert cloud.sent["store"] is False
        assert "previous_response_id" not in cloud.sent
        assert not answer.provider_state
        answer = ask(unstored, "hello", extra_body={"store": True})
        assert cloud.sent["store"] is True
        assert answer.provider_state == {"previous_response_id": answer.response_id}


@oci
@pytest.mark.sdk
def test_an_unstored_conversation_sends_no_previous_id_by_any_door(
    cloud: Inference, profile: Path
) -> None:
    model = responses_model(cloud, store=False)
    model.complete_sync("hello", provider_state=STATE)
    assert "previous_response_id" not in cloud.sent
    with pytest.raises(ValueError, match="store=False"):
        model.complete_sync("hello", extra_body={"previous_response_id": "resp_1"})
    assert len(cloud.answered) == 1
