"""Errors of OCI's responses API: which class they have, wherever in a response they are."""

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
from locus.models.providers.oci.responses_errors import make_responses_error
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import Reply
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.inference import RESPONSES_PATH, InferenceCloud, make_responses_model

StateLost, ProjectRequired = OCIResponsesStateLostError, OCIProjectRequiredError


def build_openai(message: str, code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "code": code, "param": None}})


def build_oracle(message: str, code: str = "InvalidParameter") -> str:
    return json.dumps({"code": code, "message": message})


@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [
        (400, build_openai("Previous response with id 'resp_1' not found.", "x"), StateLost),
        (404, build_openai("gone", "previous_response_not_found"), StateLost),
        (404, build_oracle("Response resp_abc does not exist"), StateLost),
        (400, build_oracle("Conversation state for resp_abc has been deleted"), StateLost),
        (404, build_oracle("previous_response_id resp_abc has expired"), StateLost),
        (400, build_openai("The previous response and your input exceed the context window",
                     "context_length_exceeded"), ContextWindowExceededError),
        (400, build_openai("No tool output found for function call call_1 of previous response."),
         BadRequestError),
        (400, build_openai("Unknown parameter: 'previous_response_id'"), BadRequestError),
        (409, build_openai("previous response resp_1 is still in progress"), ConflictError),
        (429, build_openai("Too many requests, response resp_1 not found in cache"),
         RateLimitError),
        (500, build_openai("previous response resp_1 not found"), InternalServerError),
        (404, build_oracle("opc-project-id is required for this request"), ProjectRequired),
        (403, build_oracle("A project is required to store responses", "NotAllowed"),
         ProjectRequired),
        (404, build_oracle("Project ocid1.generativeaiproject.oc1..x not found"), ProjectRequired),
        (403, build_openai("You must specify a project"), ProjectRequired),
        (404, build_oracle("Entity with key openai.my-project-model not found"), NotFoundError),
        (403, build_oracle("not authorized", "NotAuthorized"), PermissionDeniedError),
        (400, build_oracle("the project field is too long"), BadRequestError),
        *(
            (status, build("OpenAI-Project or … must be provided"), ProjectRequired)
            for status in (400, 403, 404)
            for build in (build_oracle, build_openai)
        ),
    ],
)  # fmt: skip
def test_the_class_of_an_error_response(
    status: int, body: str, error_class: type[APIStatusError]
) -> None:
    error = make_responses_error(body, status, {"opc-request-id": "abc"})
    assert type(error) is error_class
    assert error.status_code == status
    assert error.body == body
    assert error.headers["opc-request-id"] == "abc"
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), copied.body) == (error_class, str(error), body)


def test_the_message_shows_the_status_and_the_beginning_of_the_body() -> None:
    body = build_openai("bad thing", "some_code") + " " * 3 + "x" * 400
    text = str(make_responses_error(body, 400))
    assert text == f"400: {body[:300]}…"


# -- through the model ---------------------------------------------------------------------------

home, isolated_environment = profiles.home, signed_models.isolated_environment
profile = inference.profile
oci_fixtures = pytest.mark.usefixtures("no_leaks", "isolated_environment", "profile")
STATE = {"previous_response_id": "resp_1"}


@pytest.fixture
def cloud() -> Iterator[InferenceCloud]:
    pytest.importorskip("oci")
    with InferenceCloud() as cloud:
        cloud.register_key("user")
        yield cloud


ERROR = {"code": "previous_response_not_found", "message": "Previous response not found."}
ERROR_REPLIES: dict[str, Reply] = {
    "status": Reply.json({"error": ERROR}, status=400),
    "body": Reply.json({"error": ERROR}),
    "failed": Reply.json({"id": "resp_2", "status": "failed", "error": ERROR, "output": []}),
    "error event": Reply.sse([{"type": "error", "sequence_number": 0, **ERROR}], done=False),
    "failed event": Reply.sse(
        [{"type": "response.failed", "sequence_number": 0,
          "response": {"id": "resp_2", "status": "failed", "error": ERROR, "output": []}}],
        done=False,
    ),
}  # fmt: skip


@oci_fixtures
@pytest.mark.sdk
@pytest.mark.parametrize("error_form", ERROR_REPLIES)
def test_a_lost_conversation_is_the_same_error_in_every_form(
    cloud: InferenceCloud, runtime: Runtime, error_form: str, profile: Path
) -> None:
    cloud.set_default_reply(ERROR_REPLIES[error_form])
    call: Any = runtime.collect_events if "event" in error_form else runtime.complete
    with pytest.raises(OCIResponsesStateLostError, match="without provider_state=") as exc_info:
        call(make_responses_model(cloud), "and then?", provider_state=STATE)
    assert "Previous response not found" in str(exc_info.value)
    assert {request.path for request in cloud.accepted_requests} == {RESPONSES_PATH}


@oci_fixtures
@pytest.mark.sdk
def test_the_error_for_a_missing_project_says_what_to_pass(
    cloud: InferenceCloud, runtime: Runtime, profile: Path
) -> None:
    cloud.set_default_reply(
        Reply.json({"code": "x", "message": "opc-project-id is missing"}, status=404)
    )
    model = make_responses_model(cloud)
    for call in (runtime.complete, runtime.collect_events):
        with pytest.raises(OCIProjectRequiredError, match="pass project_ocid="):
            call(model, "hello")
    assert [request.path for request in cloud.accepted_requests] == [RESPONSES_PATH, RESPONSES_PATH]


@oci_fixtures
@pytest.mark.sdk
@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_does_not_lead_to_another_api(
    cloud: InferenceCloud, runtime: Runtime, status: int, profile: Path
) -> None:
    cloud.set_default_reply(Reply.json({"code": "x", "message": "not here"}, status=status))
    with pytest.raises(APIStatusError, match="not here"):
        runtime.complete(make_responses_model(cloud), "hello")
    assert {request.path for request in cloud.accepted_requests} == {RESPONSES_PATH}


@oci_fixtures
@pytest.mark.sdk
def test_store_in_extra_body_applies_to_the_provider_state(
    cloud: InferenceCloud, runtime: Runtime, profile: Path
) -> None:
    stored, unstored = make_responses_model(cloud), make_responses_model(cloud, store=False)
    for call in (
        runtime.complete,
        lambda *args, **kwargs: runtime.collect_events(*args, **kwargs)[-1].response,
    ):
        response = call(stored, "hello", extra_body={"store": False}, provider_state=STATE)
        assert cloud.last_body["store"] is False
        assert "previous_response_id" not in cloud.last_body
        assert not response.provider_state
        response = call(unstored, "hello", extra_body={"store": True})
        assert cloud.last_body["store"] is True
        assert response.provider_state == {"previous_response_id": response.response_id}


@oci_fixtures
@pytest.mark.sdk
def test_an_unstored_conversation_never_sends_a_previous_id(
    cloud: InferenceCloud, profile: Path
) -> None:
    model = make_responses_model(cloud, store=False)
    model.complete_sync("hello", provider_state=STATE)
    assert "previous_response_id" not in cloud.last_body
    with pytest.raises(ValueError, match="store=False"):
        model.complete_sync("hello", extra_body={"previous_response_id": "resp_1"})
    assert len(cloud.accepted_requests) == 1
