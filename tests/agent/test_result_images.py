"""Images that tools return: how they reach the model, and what becomes of them in a thread."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
import pytest

from locus.agent import Agent
from locus.core.events import ToolCompleteEvent
from locus.core.messages import ImagePart, Message, Role, TextPart, ToolCall, ToolResult
from locus.core.state import AgentState, ToolExecution
from locus.memory import MemoryCheckpointer, TruncatingManager
from locus.models import OllamaModel
from locus.testing import LoopbackServer, ScriptedModel, tool_call
from locus.testing.formats.strategies.response_contents import CallContent
from locus.tools import tool
from tests.agent.recorded_runs import record_run, run_to_end
from tests.support.formats import FORMATS, WireFormat
from tests.support.servers import anthropic_server, ollama_server

pytestmark = pytest.mark.usefixtures("formats_environment", "no_leaks")

PNG = ImagePart(data=b"\x89PNG zq", media_type="image/png")
PNG_TEXT = "[image: image/png, 7 bytes]"
PARTS = (TextPart("The screen:"), PNG, TextPart("and no more."))


@tool
def shoot() -> Any:
    """Take a picture."""
    return ["The screen:", PNG, "and no more."]


@pytest.mark.one_runtime_each
@pytest.mark.parametrize(
    "wire", [pytest.param(wire, id=wire.name, marks=wire.marks) for wire in FORMATS]
)
def test_every_format_shows_the_image_or_says_what_it_is(
    wire: WireFormat, runtime_name: str, server: LoopbackServer
) -> None:
    call = CallContent("call_1", "shoot", "{}")
    contents = (wire.make_content("", calls=(call,)), wire.make_content("It is blue."))
    server.enqueue(*(wire.make_body_reply(wire.build_body(content)) for content in contents))
    result = run_to_end(runtime_name, Agent(wire.make_model(server), [shoot]), "Look.")
    assert result.message == "It is blue."
    sent = json.dumps(server.requests[-1].json())
    shows = base64.b64encode(b"\x89PNG zq").decode() in sent
    assert shows is wire.can_hold_images(Role.TOOL)
    assert shows is not ("image/png, 7 bytes" in sent)
    assert sent.index("The screen:") < sent.index("and no more.")
    (execution,) = result.state.tool_executions
    assert execution.parts == (PARTS if shows else ())


def test_the_parts_stay_in_their_order(runtime_name: str, server: LoopbackServer) -> None:
    block = {"type": "tool_use", "id": "1", "name": "shoot", "input": {}}
    done = {"type": "text", "text": "done"}
    build = anthropic_server.build_reply
    server.enqueue(build(block, reason="tool_use"), build(done))
    run_to_end(runtime_name, Agent(anthropic_server.make_model(server), [shoot]), "Look.")
    ((result,),) = (
        message["content"]
        for message in server.requests[-1].json()["messages"][2:]
    )  # fmt: skip
    assert [part["type"] for part in result["content"]] == ["text", "image", "text"]


def test_images_in_a_run(runtime_name: str) -> None:
    model = ScriptedModel(tool_call("shoot"), "It is blue.")
    checkpointer = MemoryCheckpointer()
    run = record_run(
        runtime_name, Agent(model, [shoot], checkpointer=checkpointer), "Look.", thread_id="t"
    )
    result = run.result
    assert result is not None
    assert model.calls[1].messages[-1].content == PARTS
    (event,) = run.select_events_of_type(ToolCompleteEvent)
    assert event.result == f"The screen:{PNG_TEXT}and no more."
    (execution,) = result.state.tool_executions
    assert (execution.result, execution.parts) == (event.result, PARTS)
    assert AgentState.from_json(result.state.to_json()) == result.state
    assert checkpointer.load("t") == result.state


def test_an_image_by_url_where_the_server_fetches_none(
    runtime_name: str, server: LoopbackServer
) -> None:
    """The request would be an error of the whole run."""

    @tool
    def find() -> ImagePart:
        """Find a picture."""
        return ImagePart(url="https://example.com/a.png")

    function = {"function": {"name": "find", "arguments": {}}}
    server.enqueue(
        ollama_server.build_reply("", tool_calls=[function]), ollama_server.build_reply("done")
    )
    agent = Agent(ollama_server.make_model(server), [find])
    assert run_to_end(runtime_name, agent, "Look.").message == "done"
    (text,) = [m["content"] for m in server.requests[-1].json()["messages"] if m["role"] == "tool"]
    assert text.startswith("[image: https://example.com/a.png; ")
    assert "fetch" in text or "load" in text
    assert OllamaModel("x").capabilities.can_send(ImagePart, Role.TOOL)


@pytest.mark.parametrize("managed", [False, True])
def test_a_thread_goes_on_with_a_model_that_refuses_its_images(
    runtime_name: str, server: LoopbackServer, managed: bool
) -> None:
    url = ImagePart(url="https://example.com/a.png")

    @tool
    def find() -> Any:
        """Find pictures."""
        return ["Both:", url, PNG]

    @tool(requires_approval=True)
    def stop() -> None:
        """Stop here, with a result that is only recorded."""

    checkpointer = MemoryCheckpointer()
    seeing = ScriptedModel(tool_call("find"), [tool_call("find"), tool_call("stop")])
    agent = Agent(seeing, [find, stop], checkpointer=checkpointer)
    run_to_end(runtime_name, agent, "Look.", "t")
    server.always(ollama_server.build_reply("done"))
    manager = TruncatingManager(max_chars=100) if managed else None
    other = agent.copy(model=ollama_server.make_model(server), conversation_manager=manager)
    assert run_to_end(runtime_name, other, "And now?", "t").message == "done"
    results = [m for m in server.requests[-1].json()["messages"] if m["role"] == "tool"]
    for result in results[:2]:
        assert result["content"].startswith("Both:[image: https://example.com/a.png; ")
        assert result["images"] == [base64.b64encode(b"\x89PNG zq").decode()]
    state = checkpointer.load("t")
    assert state is not None
    assert [m.content for m in state.messages if m.role is Role.TOOL][:2] == [
        (TextPart("Both:"), url, PNG)
    ] * 2


class Hook:
    """Sees each result, and may replace it."""

    def __init__(self, replacement: Any = None) -> None:
        self.seen: list[Any] = []
        self.replacement = replacement

    def on_after_tool_call(self, event: Any) -> None:
        self.seen.append(event.result)
        if self.replacement is not None:
            event.result = self.replacement


@pytest.mark.parametrize(
    ("replacement", "content"),
    [(None, PARTS), ("none", "none"), ([PNG, "x"], (PNG, TextPart("x")))],
)
def test_hooks_see_and_replace_parts(runtime_name: str, replacement: Any, content: Any) -> None:
    hook = Hook(replacement)
    model = ScriptedModel(tool_call("shoot"), "end")
    run_to_end(runtime_name, Agent(model, [shoot], hooks=[hook]), "Look.")
    assert hook.seen == [PARTS]
    assert model.calls[1].messages[-1].content == content


def test_a_repeated_idempotent_call_gets_the_image_again(runtime_name: str) -> None:
    once = attrs.evolve(shoot, idempotent=True)
    model = ScriptedModel([tool_call("shoot"), tool_call("shoot")], tool_call("shoot"), "end")
    result = run_to_end(runtime_name, Agent(model, [once]), "Look.")
    contents = [message.content for message in result.state.messages if message.role is Role.TOOL]
    assert contents == [PARTS] * 3


def test_an_image_that_was_recorded_before_an_interruption(runtime_name: str) -> None:
    """A round that waits for approval keeps what its other calls gave."""

    @tool(requires_approval=True)
    def delete() -> str:
        """Delete it."""
        return "deleted"

    model = ScriptedModel([tool_call("shoot"), tool_call("delete")], "end")
    agent = Agent(model, [shoot, delete], checkpointer=MemoryCheckpointer())
    (call,) = run_to_end(runtime_name, agent, "Look.", "t").pending
    approvals = {call.id: True}
    result = run_to_end(runtime_name, agent, resume=True, thread_id="t", approvals=approvals)
    assert result.state.messages[2].content == PARTS


def test_results_and_executions_with_parts() -> None:
    result = ToolResult("1", "f", ["a", PNG], error="broken")
    assert result.content == (TextPart("a"), PNG)
    assert result.text_for_model == "Error: broken\na"
    message = Message.tool(result)
    assert message.content == (TextPart("Error: broken\n"), TextPart("a"), PNG)
    assert ToolExecution("f", "1", parts=[PNG]).content == (PNG,)
    assert ToolExecution("f", "1", result="x").content == "x"
    for wrong in (None, 5, {"a": 1}, [5]):
        with pytest.raises(TypeError):
            ToolResult("1", "f", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ToolExecution("f", "1", parts="text")
    assert ToolCall("1", "f") == ToolCall("1", "f", {})
