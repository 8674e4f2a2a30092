"""Conversations with OCI: of several turns, through one way in, and moved between them midway.

The service verifies every signature, and what it is sent is read by
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
from locus.testing.loopback_server import Received, Reply
from tests.support import runtimes
from tests.support.decoding import check_law
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.inference import MODELS, RESPONSES, Inference, Said, refusal
from tests.support.request_readers import FORMATS
from tests.support.runtimes import Runtime, run
from tests.support.servers.responses_server import stream_reply, whole_reply
from tests.support.wire_json.responses_json import message

pytest.importorskip("oci")

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
home, surroundings = profiles.home, signed_models.surroundings
cloud, profile = inference.cloud, inference.profile
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "surroundings")]

PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
LOOK = {"type": "function", "function": {"name": "look", "parameters": PLACE}}
WAYS: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat": ("chat", {}, "chat completions"),
    "generic": ("generic", {}, "OCI generic"),
    "cohere": ("cohere", {}, "OCI Cohere"),
    "cohere2": ("cohere2", {}, "OCI Cohere v2"),
    "stored": ("responses", {"store": True}, "Responses"),
    "unstored": ("responses", {"store": False}, "Responses"),
}
"""Each way in: its model, what that is told, and how its requests are read."""
TOUR = ("generic", "cohere", "chat", "unstored", "stored", "cohere2", "stored", "cohere", "generic")

Line = tuple[Any, ...]
"""Who says what: words, calls, or for a tool the call that it answers and what it gave."""


class Talk:
    """A conversation, beside what the service must have been told by now."""

    def __init__(self, cloud: Inference, runtime: Runtime, *, streamed: bool) -> None:
        self.cloud = cloud
        self.runtime = runtime
        self.streamed = streamed
        self.models = {
            name: MODELS[kind](cloud, **said).bind_tools([LOOK])
            for name, (kind, said, _) in WAYS.items()
        }
        self.turns = [Message.system("Be brief.")]
        self.lines: list[Line] = [("system", "Be brief.")]

    def close(self) -> None:
        for model in self.models.values():
            self.runtime.close(model)

    def ask(self, way: str, answer: Said, state: Any = None) -> ModelResponse:
        """Have ``way`` answer; the answer is part of the conversation from now on."""
        model = self.models[way]
        self.cloud.says(answer)
        if self.streamed:
            said = check_law(self.runtime.stream(model, self.turns, provider_state=state))
        else:
            said = self.runtime.ask(model, self.turns, provider_state=state)
        if way == "cohere":  # it has no ids: Locus makes them, and none twice
            taken = {call.id for turn in self.turns for call in turn.tool_calls}
            assert not taken & {call.id for call in said.tool_calls}
        self.turns.append(said.message)
        if state is None:
            assert self.heard(way) == self.lines
        self.lines.append(("assistant", answer.text, *answer.calls))
        return said

    def user(self, text: str) -> None:
        self.turns.append(Message.user(text))
        self.lines.append(("user", text))

    def results(self) -> None:
        """What the tools gave, in another order than they were called; the first one failed."""
        answer = self.turns[-1]
        found = []
        for at, call in enumerate(answer.tool_calls):
            given = {"error": "too dark"} if at == 0 else {}
            content = "" if at == 0 else f"light in {call.arguments['place']}"
            found.append(Message.tool(ToolResult(call.id, call.name, content, **given)))
            said = "Error: too dark" if at == 0 else content
            self.lines.append(("tool", call.name, dict(call.arguments), said))
        self.turns += found[::-1]

    def heard(self, way: str) -> list[Line]:
        """What the last request says."""
        found: list[Line] = []
        calls = {}
        for said in FORMATS[WAYS[way][2]].read(self.cloud.answered[-1].body):
            text = "".join(map(str, said.pieces)).strip()
            if said.role == "tool":
                call = calls[said.answers]
                found.append(("tool", call.name, call.arguments, text))
                continue
            calls |= {call.id: call for call in said.calls}
            asked = ((call.name, call.arguments) for call in said.calls)
            found.append((said.role, text, *asked))
        return _in_order(found)


def _in_order(lines: Sequence[Line]) -> list[Line]:
    """Results by the order of their calls, where the format lets them stand in any."""
    found: list[Line] = []
    calls: list[Line] = []
    for tool, group in itertools.groupby(lines, lambda line: line[0] == "tool"):
        some = list(group)
        if tool:
            some.sort(key=lambda line: calls.index(line[1:3]))
        else:
            calls = list(some[-1][2:])
        found += some
    return found


def looks(*places: str) -> Said:
    """An answer that calls a tool for each place, with ids that every other such answer has."""
    return Said("", tuple(("look", {"place": place}) for place in places))


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def talk(
    request: pytest.FixtureRequest, cloud: Inference, profile: Path, runtime: Runtime
) -> Iterator[Talk]:
    talk = Talk(cloud, runtime, streamed=request.param)
    yield talk
    talk.close()
    assert not cloud.refused


# -- one way in, and all of them in turn -------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_conversation_of_several_rounds_of_parallel_calls(talk: Talk, way: str) -> None:
    for number in range(3):
        talk.user(f"What is there, the {number}th time?")
        talk.ask(way, looks(f"cellar {number}", f"attic {number}"))
        talk.results()
        talk.ask(way, looks(f"garden {number}", f"attic {number}"))
        talk.results()
        talk.ask(way, Said(f"Light, {number}."))
    assert len(talk.cloud.accepted) == 9


def test_a_conversation_that_moves_after_each_round(talk: Talk) -> None:
    for number, way in enumerate(TOUR):
        talk.user(f"What is there, the {number}th time?")
        talk.ask(way, looks(f"cellar {number}", f"attic {number}"))
        talk.results()
        talk.ask(way, Said(f"Light, {number}."))
    assert len(talk.lines) == 1 + 5 * len(TOUR)


def test_a_conversation_that_moves_between_the_calls_and_their_results(talk: Talk) -> None:
    for number, (one, other) in enumerate(itertools.pairwise(TOUR)):
        talk.user(f"What is there, the {number}th time?")
        talk.ask(one, looks(f"cellar {number}", f"attic {number}"))
        talk.results()
        talk.ask(other, looks("garden", f"attic {number}"))
        talk.results()
        talk.ask(one, Said(f"Light, {number}."))


def test_a_stored_conversation_goes_on_by_id_wherever_it_began(talk: Talk) -> None:
    talk.user("Look around.")
    talk.ask("generic", looks("cellar", "attic"))
    talk.results()
    talk.ask("cohere", Said("Light in the attic."))
    talk.user("And now?")
    state = talk.ask("stored", looks("cellar", "garden")).provider_state  # is told everything
    assert state is not None
    talk.results()
    answer = talk.ask("stored", Said("Light in the garden."), state)
    body = talk.cloud.sent
    assert body["previous_response_id"] == state["previous_response_id"]
    assert [(item["type"], item["call_id"]) for item in body["input"]] == [
        ("function_call_output", "call_2"),
        ("function_call_output", "call_1"),
    ]
    talk.user("Which of them?")
    talk.ask("stored", Said("The garden."), answer.provider_state)
    (item,) = talk.cloud.sent["input"]
    assert item["content"] == [{"type": "input_text", "text": "Which of them?"}]
    talk.user("Are you sure?")
    for way in ("unstored", "cohere", "chat"):  # are told everything, too
        talk.ask(way, Said("Yes."))
        assert "previous_response_id" not in talk.cloud.sent
        talk.user("Really?")


# -- a session of the responses API ------------------------------------------------------------


class Keeper:
    """Answers from what it is told and what it has kept, as the service does.

    :ivar kept: the items of each conversation that it was to store, by the id of its answer.
    """

    def __init__(self) -> None:
        self.kept: dict[str, list[Any]] = {}

    def __call__(self, received: Received) -> Reply:
        body = received.json()
        before = body.get("previous_response_id")
        if before is not None and before not in self.kept:
            words = f"Previous response with id '{before}' not found."
            return refusal(404, "previous_response_not_found", words)
        known = [*self.kept.get(before, []), *body["input"]]
        items = self.answer(known, bool(body.get("tools")))
        made = f"resp_{len(self.kept)}"
        if body["store"]:
            self.kept[made] = [*known, *items]
        return (stream_reply if body.get("stream") else whole_reply)(*items, id=made)

    def answer(self, known: list[Any], tools: bool) -> tuple[Any, ...]:
        last = known[-1]
        if last["type"] == "function_call_output":
            calls = [item["call_id"] for item in known if item["type"] == "function_call"]
            given = [item for item in known if item["type"] == "function_call_output"]
            assert [item["call_id"] for item in given] == calls
            return (message("; ".join(item["output"] for item in given)),)
        if "Look" in str(last) and tools:
            named = {"type": "function_call", "name": "look", "status": "completed"}
            return tuple(
                {**named, "id": f"fc_{at}", "call_id": f"call_{at}", "arguments": arguments}
                for at, arguments in enumerate(('{"place":"cellar"}', '{"place":"attic"}'))
            )
        if "What is my name?" in str(last):
            return (message("You are Ada." if "I am Ada" in str(known) else "I do not know."),)
        return (message("Noted."),)


def test_a_session_of_four_parts(cloud: Inference, profile: Path, backend: str) -> None:
    keeper = Keeper()
    cloud.always(keeper)

    async def unstored() -> None:
        async with MODELS["responses"](cloud, store=False) as model:
            assert not model.server_stateful
            turns = [Message.user("I am Ada."), Message.user("Remember that.")]
            turns.append(await model.ainvoke(turns))
            turns.append(Message.user("What is my name?"))
            answer = await model.complete(turns)
            assert (answer.content, answer.provider_state) == ("You are Ada.", None)
            assert len(cloud.sent["input"]) == 4
            answer = await model.complete(turns[-1:])
            assert answer.content == "I do not know."
        assert not keeper.kept

    async def stored() -> None:
        async with MODELS["responses"](cloud) as model:
            assert model.server_stateful
            turns = [Message.user("I am Ada.")]
            answer = await model.complete(turns)
            turns += [answer.message, Message.user("What is my name?")]
            for said in (turns, turns[-1:]):  # the whole list or the new message: sent is the same
                recalled = await model.complete(said, provider_state=answer.provider_state)
                assert recalled.content == "You are Ada."
                (item,) = cloud.sent["input"]
                assert item["content"][0]["text"] == "What is my name?"

            state = recalled.provider_state
            asked = await model.complete("Look around.", [LOOK], provider_state=state)
            assert [call.arguments["place"] for call in asked.tool_calls] == ["cellar", "attic"]
            results = [
                Message.tool(ToolResult(call.id, call.name, f"light in {call.arguments['place']}"))
                for call in asked.tool_calls
            ]
            state = asked.provider_state
            told = await model.complete(results, [LOOK], provider_state=state)
            assert told.content == "light in cellar; light in attic"
            assert len(cloud.sent["input"]) == 2

            state = told.provider_state
            async with model.stream("What is my name?", provider_state=state) as events:
                found = [event async for event in events]
            last = check_law(found)
            assert last.content == "You are Ada."
            assert len([event for event in found if event.content]) > 1
            assert len(cloud.sent["input"]) == 1
            recalled = await model.complete("What is my name?", provider_state=last.provider_state)
            assert recalled.content == "You are Ada."
        assert len(keeper.kept) == 7

    run(backend, unstored)
    run(backend, stored)
    assert not cloud.refused
    assert {request.path for request in cloud.answered} == {RESPONSES}
