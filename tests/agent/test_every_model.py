"""Every model class has the same conversation with tools, in the format of its own server."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from locus.agent import Agent, AgentResult
from locus.core.events import ModelChunkEvent, TerminateEvent
from locus.core.messages import Role
from locus.models import _in_process_llama_server
from locus.models._in_process_llama_server import Engine
from locus.models.local import LocalModel
from locus.testing.server import LoopbackServer, Received, Reply
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES
from tests.support.formats import FORMATS, FORMATS_BY_NAME, WireFormat
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.inference import MODEL_FACTORIES, ScriptedReply

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud, profile = inference.cloud, inference.profile
pytestmark = pytest.mark.usefixtures("no_leaks")

FINAL = "Oslo is cold and Rome is warm."


@tool
def weather(city: str) -> dict[str, str]:
    """Look at the sky.

    Args:
        city: where.
    """
    return {"city": city, "sky": "cold" if city == "Oslo" else "warm"}


@tool
async def clock() -> str:
    """Return the time."""
    return "noon"


CALLS = (("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}), ("clock", {}))
CALLS_REPLY = ScriptedReply("Let me see.", CALLS)
FINAL_REPLY = ScriptedReply(FINAL)
RESULT_TEXTS = ('"city":"Oslo","sky":"cold"', '"city":"Rome","sky":"warm"', "noon")


def build_completion(scripted: ScriptedReply, received: Received) -> Reply:
    return scripted.build("chat_completions", bool(received.json().get("stream")))


def make_unstored_model(server: LoopbackServer) -> Any:
    return FORMATS_BY_NAME["responses"].make_model(server, store=False)


ReplyBuilder = Callable[[ScriptedReply, Received], Reply]
ModelFactory = Callable[[LoopbackServer], Any]
MODELS: dict[str, tuple[WireFormat, ModelFactory]] = {
    wire.name: (wire, wire.make_model) for wire in FORMATS if wire.provider != "oci"
} | {"responses-unstored": (FORMATS_BY_NAME["responses"], make_unstored_model)}
"""A model of each format, in the words of its record; those of OCI are below."""


def run_and_close(
    runtime: str, agent: Agent, streamed: bool, prompt: str = "How is the weather?"
) -> AgentResult:
    """Run an agent and close its model; check that the events of a streamed run fit its result."""
    events: list[Any] = []
    result: AgentResult
    if runtime == "blocking":
        with agent.model:  # type: ignore[union-attr]
            if not streamed:
                return agent.run_sync(prompt)
            run = agent.stream_sync(prompt)
            events += run
            result = run.result
    else:

        async def main() -> AgentResult:
            async with agent.model:  # type: ignore[union-attr]
                if not streamed:
                    return await agent.arun(prompt)
                run = agent.run(prompt)
                events.extend([event async for event in run])
                return run.result

        result = anyio.run(main, backend=runtime)
    if streamed:
        assert isinstance(events[-1], TerminateEvent)
        streamed_text = "".join(e.content or "" for e in events if isinstance(e, ModelChunkEvent))
        assert streamed_text == "".join(
            message.text for message in result.state.messages if message.role is Role.ASSISTANT
        )
    return result


def check_conversation(result: AgentResult, requests: list[Any]) -> None:
    assert result.message == FINAL
    assert (result.iterations, result.tool_calls, result.stop_reason) == (2, 3, "complete")
    roles = [message.role for message in result.state.messages]
    assert roles == [Role.USER, Role.ASSISTANT, *[Role.TOOL] * 3, Role.ASSISTANT]
    call_ids = [call.id for call in result.state.messages[1].tool_calls]
    assert [message.tool_call_id for message in result.state.messages[2:5]] == call_ids
    assert len(set(call_ids)) == 3
    assert result.usage == result.state.usage
    assert result.usage["completion_tokens"] == 10  # five for each response
    first, second = (json.dumps(request) for request in requests)
    for result_text in RESULT_TEXTS:
        assert result_text not in unescape_json(first)
        assert result_text in unescape_json(second)


def unescape_json(text: str) -> str:
    """Unescape JSON inside JSON: some formats have results as objects, others as text."""
    return text.replace("\\", "").replace('": "', '":"').replace(', "', ',"')


def make_local_model(server: LoopbackServer, folder: Path, *, template_takes_tools: bool) -> Any:
    """Make a local model whose engine is the loopback server; return it and the engine table."""
    file = folder / "model.gguf"
    file.write_bytes(b"GGUF")
    model = LocalModel(str(file))
    spec = model._build_engine_spec()
    engine = Engine(spec, SimpleNamespace(listening_address=server.url))
    capabilities = {"supports_tools": template_takes_tools, "supports_system_role": True}
    server.enqueue(Reply.json({"chat_template_caps": capabilities}))
    return model, {spec: engine}


def build_prompted_completion(scripted: ScriptedReply, received: Received) -> Reply:
    """Build a completion that calls tools in its text, as the prompt requires."""
    calls = [
        f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'
        for name, arguments in scripted.calls
    ]
    return build_completion(ScriptedReply("\n".join(calls) or scripted.text), received)


every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)
streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["complete", "streamed"])


@every_runtime
@streamed_or_not
@pytest.mark.parametrize("name", MODELS)
def test_native_models_have_a_conversation_with_tools(
    runtime: str, name: str, streamed: bool, server: Any
) -> None:
    wire, make_model = MODELS[name]
    server.enqueue(CALLS_REPLY.build(wire.name, streamed), FINAL_REPLY.build(wire.name, streamed))
    agent = Agent(make_model(server), [weather, clock], "Be brief.")
    check_conversation(
        run_and_close(runtime, agent, streamed), [request.json() for request in server.requests]
    )


@every_runtime
@streamed_or_not
@pytest.mark.parametrize("model_name", MODEL_FACTORIES)
@pytest.mark.sdk
def test_models_of_oci_have_a_conversation_with_tools(
    runtime: str, model_name: str, streamed: bool, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("oci")
    request.getfixturevalue("isolated_environment")
    request.getfixturevalue("profile")
    cloud = request.getfixturevalue("cloud")
    cloud.queue_replies(CALLS_REPLY, FINAL_REPLY)
    agent = Agent(MODEL_FACTORIES[model_name](cloud), [weather, clock], "Be brief.")
    check_conversation(
        run_and_close(runtime, agent, streamed),
        [received.json() for received in cloud.accepted_requests],
    )


@every_runtime
@streamed_or_not
@pytest.mark.parametrize(
    "build_reply", [build_completion, build_prompted_completion], ids=["template", "prompted"]
)
def test_a_local_model_has_a_conversation_with_tools(
    runtime: str,
    streamed: bool,
    build_reply: ReplyBuilder,
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_template = build_reply is build_completion
    model, engines = make_local_model(server, tmp_path, template_takes_tools=by_template)
    monkeypatch.setattr(_in_process_llama_server, "_engines", engines)
    server.enqueue(partial(build_reply, CALLS_REPLY), partial(build_reply, FINAL_REPLY))
    agent = Agent(model, [weather, clock], "Be brief.", tool_choice="required")
    result = run_and_close(runtime, agent, streamed)
    _, *requests = server.requests
    check_conversation(result, [request.json() for request in requests])
    first, second = (request.json() for request in requests)
    if by_template:
        assert first["tool_choice"] == "required"
        assert "tool_choice" not in second
    else:
        assert "tools" not in first
        assert "words" not in first["grammar"]
        assert "words" in second["grammar"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("runtime", "streamed"), [("blocking", False), ("asyncio", True), ("trio", False)]
)
def test_a_real_model_has_a_conversation_with_tools(runtime: str, streamed: bool) -> None:
    model = LocalModel(context=1024, threads=1, temperature=0, max_tokens=40)
    agent = Agent(model, [weather, clock], tool_choice="required")
    result = run_and_close(runtime, agent, streamed, "How is the weather in Oslo?")
    assert (result.iterations, result.tool_calls, result.stop_reason) == (2, 1, "length")
    call_message, tool_message, final_message = result.state.messages[1:]
    assert [(call.name, call.arguments) for call in call_message.tool_calls] == [
        ("weather", {"city": "Oslo"})
    ]
    assert tool_message.text == '{"city":"Oslo","sky":"cold"}'
    assert "cold" in final_message.text


@every_runtime
@streamed_or_not
@pytest.mark.parametrize("name", MODELS)
def test_a_hook_sees_the_body_that_is_sent(
    runtime: str, name: str, streamed: bool, server: Any
) -> None:
    wire, make_model = MODELS[name]
    server.always(FINAL_REPLY.build(wire.name, streamed))
    bodies: list[Any] = []

    class RecordBodies:
        def on_before_model_call(self, event: Any) -> None:
            assert event.streamed == streamed
            bodies.append(event.request)
            options = {"stream": streamed, **event.options}
            assert event.model.request(event.messages, event.tools or None, **options) == bodies[-1]

    agent = Agent(make_model(server), [weather], "Be brief.", hooks=[RecordBodies()])
    run_and_close(runtime, agent.copy(model_options={"max_tokens": 7}), streamed)
    assert bodies == [request.json() for request in server.requests]
    with pytest.raises(TypeError, match="unknown keyword 'max_token'"):
        make_model(server).request("Hello", max_token=3)
