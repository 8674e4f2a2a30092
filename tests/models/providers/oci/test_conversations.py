"""Conversations with OCI of several messages, with one API and across all of them.

The service verifies every signature. The requests are read by
:mod:`tests.support.request_readers`, which shares no code with Locus.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from locus.core.messages import Message, ToolResult
from locus.core.response import ModelResponse
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.formats.stream_reader import check_streaming_law
from locus.testing.server import Received, Reply
from tests.support.formats import FORMATS_BY_NAME
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.inference import (
    MODEL_FACTORIES,
    RESPONSES_PATH,
    InferenceCloud,
    ScriptedReply,
    make_error_reply,
)
from tests.support.servers.responses_server import build_reply, build_stream_reply
from tests.support.wire_json.responses_json import make_message_item

pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud, profile = inference.cloud, inference.profile
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "isolated_environment")]

PLACE_SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
}
LOOK_TOOL = {"type": "function", "function": {"name": "look", "parameters": PLACE_SCHEMA}}
TRANSPORTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat": ("chat", {}, "chat_completions"),
    "generic": ("generic", {}, "oci_generic"),
    "cohere": ("cohere", {}, "oci_cohere"),
    "cohere2": ("cohere2", {}, "oci_cohere_v2"),
    "stored": ("responses", {"store": True}, "responses"),
    "unstored": ("responses", {"store": False}, "responses"),
}
"""For each transport: its model, the model's arguments, and the reader of its requests."""
TRANSPORT_SEQUENCE = (
    "generic",
    "cohere",
    "chat",
    "unstored",
    "stored",
    "cohere2",
    "stored",
    "cohere",
    "generic",
)

Entry = tuple[Any, ...]
"""The role, then text and calls; for a tool: its name, its arguments and its result."""


class Conversation:
    """A conversation, and the entries that the service must have received."""

    def __init__(self, cloud: InferenceCloud, runtime: Runtime, *, streamed: bool) -> None:
        self.cloud = cloud
        self.runtime = runtime
        self.streamed = streamed
        self.models = {
            name: MODEL_FACTORIES[model_name](cloud, **arguments).bind_tools([LOOK_TOOL])
            for name, (model_name, arguments, _) in TRANSPORTS.items()
        }
        self.messages = [Message.system("Be brief.")]
        self.expected_entries: list[Entry] = [("system", "Be brief.")]

    def close(self) -> None:
        for model in self.models.values():
            self.runtime.close(model)

    def complete(self, transport: str, reply: ScriptedReply, state: Any = None) -> ModelResponse:
        """Call the model of ``transport``, and add its response to the conversation."""
        model = self.models[transport]
        self.cloud.queue_replies(reply)
        if self.streamed:
            response = check_streaming_law(
                self.runtime.collect_events(model, self.messages, provider_state=state)
            )
        else:
            response = self.runtime.complete(model, self.messages, provider_state=state)
        if transport == "cohere":  # the format has no ids: Locus makes them, and none twice
            used_ids = {call.id for turn in self.messages for call in turn.tool_calls}
            assert not used_ids & {call.id for call in response.tool_calls}
        self.messages.append(response.message)
        if state is None:
            assert self.read_last_request(transport) == self.expected_entries
        self.expected_entries.append(("assistant", reply.text, *reply.calls))
        return response

    def add_user_message(self, text: str) -> None:
        self.messages.append(Message.user(text))
        self.expected_entries.append(("user", text))

    def add_tool_results(self) -> None:
        """Add the tools' results, in another order than their calls; the first tool failed."""
        message = self.messages[-1]
        results = []
        for index, call in enumerate(message.tool_calls):
            error = {"error": "too dark"} if index == 0 else {}
            content = "" if index == 0 else f"light in {call.arguments['place']}"
            results.append(Message.tool(ToolResult(call.id, call.name, content, **error)))
            text = "Error: too dark" if index == 0 else content
            self.expected_entries.append(("tool", call.name, dict(call.arguments), text))
        self.messages += results[::-1]

    def read_last_request(self, transport: str) -> list[Entry]:
        """The entries of the last request."""
        entries: list[Entry] = []
        calls = {}
        for message in FORMATS_BY_NAME[TRANSPORTS[transport][2]].read_request(
            self.cloud.accepted_requests[-1].body
        ):
            text = "".join(map(str, message.parts)).strip()
            if message.role == "tool":
                call = calls[message.tool_call_id]
                entries.append(("tool", call.name, call.arguments, text))
                continue
            calls |= {call.id: call for call in message.calls}
            message_calls = ((call.name, call.arguments) for call in message.calls)
            entries.append((message.role, text, *message_calls))
        return _sort_results(entries)


def _sort_results(entries: Sequence[Entry]) -> list[Entry]:
    """Sort results by their calls, because some formats allow any order."""
    sorted_entries: list[Entry] = []
    calls: list[Entry] = []
    for is_tool, group in itertools.groupby(entries, lambda line: line[0] == "tool"):
        members = list(group)
        if is_tool:
            members.sort(key=lambda line: calls.index(line[1:3]))
        else:
            calls = list(members[-1][2:])
        sorted_entries += members
    return sorted_entries


def make_look_reply(*places: str) -> ScriptedReply:
    """A reply with a tool call for each place; all such replies use the same ids."""
    return ScriptedReply("", tuple(("look", {"place": place}) for place in places))


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def conversation(
    request: pytest.FixtureRequest, cloud: InferenceCloud, profile: Path, runtime: Runtime
) -> Iterator[Conversation]:
    conversation = Conversation(cloud, runtime, streamed=request.param)
    yield conversation
    conversation.close()
    assert not cloud.rejection_reasons


# -- one transport, and several ---------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_conversation_of_several_rounds_of_parallel_calls(
    conversation: Conversation, transport: str
) -> None:
    for number in range(3):
        conversation.add_user_message(f"What is there, the {number}th time?")
        conversation.complete(transport, make_look_reply(f"cellar {number}", f"attic {number}"))
        conversation.add_tool_results()
        conversation.complete(transport, make_look_reply(f"garden {number}", f"attic {number}"))
        conversation.add_tool_results()
        conversation.complete(transport, ScriptedReply(f"Light, {number}."))
    assert len(conversation.cloud.accepted_key_ids) == 9


def test_a_conversation_that_moves_after_each_round(conversation: Conversation) -> None:
    for number, transport in enumerate(TRANSPORT_SEQUENCE):
        conversation.add_user_message(f"What is there, the {number}th time?")
        conversation.complete(transport, make_look_reply(f"cellar {number}", f"attic {number}"))
        conversation.add_tool_results()
        conversation.complete(transport, ScriptedReply(f"Light, {number}."))
    assert len(conversation.expected_entries) == 1 + 5 * len(TRANSPORT_SEQUENCE)


def test_a_conversation_that_moves_between_the_calls_and_their_results(
    conversation: Conversation,
) -> None:
    for number, (first, second) in enumerate(itertools.pairwise(TRANSPORT_SEQUENCE)):
        conversation.add_user_message(f"What is there, the {number}th time?")
        conversation.complete(first, make_look_reply(f"cellar {number}", f"attic {number}"))
        conversation.add_tool_results()
        conversation.complete(second, make_look_reply("garden", f"attic {number}"))
        conversation.add_tool_results()
        conversation.complete(first, ScriptedReply(f"Light, {number}."))


def test_a_stored_conversation_continues_by_id(conversation: Conversation) -> None:
    conversation.add_user_message("Look around.")
    conversation.complete("generic", make_look_reply("cellar", "attic"))
    conversation.add_tool_results()
    conversation.complete("cohere", ScriptedReply("Light in the attic."))
    conversation.add_user_message("And now?")
    state = conversation.complete(
        "stored", make_look_reply("cellar", "garden")
    ).provider_state  # gets all messages
    assert state is not None
    conversation.add_tool_results()
    response = conversation.complete("stored", ScriptedReply("Light in the garden."), state)
    body = conversation.cloud.last_body
    assert body["previous_response_id"] == state["previous_response_id"]
    assert [(item["type"], item["call_id"]) for item in body["input"]] == [
        ("function_call_output", "call_2"),
        ("function_call_output", "call_1"),
    ]
    conversation.add_user_message("Which of them?")
    conversation.complete("stored", ScriptedReply("The garden."), response.provider_state)
    (item,) = conversation.cloud.last_body["input"]
    assert item["content"] == [{"type": "input_text", "text": "Which of them?"}]
    conversation.add_user_message("Are you sure?")
    for transport in ("unstored", "cohere", "chat"):  # get all messages, too
        conversation.complete(transport, ScriptedReply("Yes."))
        assert "previous_response_id" not in conversation.cloud.last_body
        conversation.add_user_message("Really?")


# -- the responses API -------------------------------------------------------------------------


class ConversationStore:
    """Replies from the request and the stored items, as the service does.

    :ivar stored_items: the items of each stored conversation, by the id of its response.
    """

    def __init__(self) -> None:
        self.stored_items: dict[str, list[Any]] = {}

    def __call__(self, received: Received) -> Reply:
        body = received.json()
        previous_id = body.get("previous_response_id")
        if previous_id is not None and previous_id not in self.stored_items:
            error_message = f"Previous response with id '{previous_id}' not found."
            return make_error_reply(404, "previous_response_not_found", error_message)
        history = [*self.stored_items.get(previous_id, []), *body["input"]]
        items = self.make_output(history, bool(body.get("tools")))
        response_id = f"resp_{len(self.stored_items)}"
        if body["store"]:
            self.stored_items[response_id] = [*history, *items]
        return (build_stream_reply if body.get("stream") else build_reply)(*items, id=response_id)

    def make_output(self, items: list[Any], tools: bool) -> tuple[Any, ...]:
        last = items[-1]
        if last["type"] == "function_call_output":
            calls = [item["call_id"] for item in items if item["type"] == "function_call"]
            results = [item for item in items if item["type"] == "function_call_output"]
            assert [item["call_id"] for item in results] == calls
            return (make_message_item("; ".join(item["output"] for item in results)),)
        if "Look" in str(last) and tools:
            call = {"type": "function_call", "name": "look", "status": "completed"}
            return tuple(
                {**call, "id": f"fc_{index}", "call_id": f"call_{index}", "arguments": arguments}
                for index, arguments in enumerate(('{"place":"cellar"}', '{"place":"attic"}'))
            )
        if "What is my name?" in str(last):
            return (
                make_message_item("You are Ada." if "I am Ada" in str(items) else "I do not know."),
            )
        return (make_message_item("Noted."),)


def test_unstored_and_stored_conversations(
    cloud: InferenceCloud, profile: Path, backend: str
) -> None:
    store = ConversationStore()
    cloud.set_default_reply(store)

    async def run_unstored() -> None:
        async with MODEL_FACTORIES["responses"](cloud, store=False) as model:
            assert not model.server_stateful
            messages = [Message.user("I am Ada."), Message.user("Remember that.")]
            messages.append(await model.ainvoke(messages))
            messages.append(Message.user("What is my name?"))
            response = await model.complete(messages)
            assert (response.content, response.provider_state) == ("You are Ada.", None)
            assert len(cloud.last_body["input"]) == 4
            response = await model.complete(messages[-1:])
            assert response.content == "I do not know."
        assert not store.stored_items

    async def run_stored() -> None:
        async with MODEL_FACTORIES["responses"](cloud) as model:
            assert model.server_stateful
            messages = [Message.user("I am Ada.")]
            response = await model.complete(messages)
            messages += [response.message, Message.user("What is my name?")]
            for prompt in (
                messages,
                messages[-1:],
            ):  # all messages or the new one: the request is the same
                recalled = await model.complete(prompt, provider_state=response.provider_state)
                assert recalled.content == "You are Ada."
                (item,) = cloud.last_body["input"]
                assert item["content"][0]["text"] == "What is my name?"

            state = recalled.provider_state
            response_with_calls = await model.complete(
                "Look around.", [LOOK_TOOL], provider_state=state
            )
            assert [call.arguments["place"] for call in response_with_calls.tool_calls] == [
                "cellar",
                "attic",
            ]
            results = [
                Message.tool(ToolResult(call.id, call.name, f"light in {call.arguments['place']}"))
                for call in response_with_calls.tool_calls
            ]
            state = response_with_calls.provider_state
            final_response = await model.complete(results, [LOOK_TOOL], provider_state=state)
            assert final_response.content == "light in cellar; light in attic"
            assert len(cloud.last_body["input"]) == 2

            state = final_response.provider_state
            async with model.stream("What is my name?", provider_state=state) as events:
                events_list = [event async for event in events]
            last = check_streaming_law(events_list)
            assert last.content == "You are Ada."
            assert len([event for event in events_list if event.content]) > 1
            assert len(cloud.last_body["input"]) == 1
            recalled = await model.complete("What is my name?", provider_state=last.provider_state)
            assert recalled.content == "You are Ada."
        assert len(store.stored_items) == 7

    run_async(backend, run_unstored)
    run_async(backend, run_stored)
    assert not cloud.rejection_reasons
    assert {request.path for request in cloud.accepted_requests} == {RESPONSES_PATH}
