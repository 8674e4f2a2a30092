"""Grounding and GSAR in a run: the final answer is checked, sent back, and reported honestly."""

from __future__ import annotations

import json
import threading
from typing import Any

import anyio
import attrs
import pytest

from locus.agent import Agent, AgentResult, AgentState
from locus.core.agent_added_message import is_agent_added_message
from locus.core.errors import ConfigurationError
from locus.core.events import GroundingEvent, ModelChunkEvent, TerminateEvent
from locus.core.messages import Message, RefusalPart, Role, ToolCall, ToolResult
from locus.core.response import ModelResponse
from locus.core.termination import NoToolCalls
from locus.memory import (
    MemoryCheckpointer,
    SlidingWindowManager,
    SQLiteCheckpointer,
    SummarizingManager,
)
from locus.models.local import LocalModel
from locus.reasoning import (
    Claim,
    EvidenceType,
    GroundingEvaluator,
    GSAREvaluator,
    JudgeOutput,
    Reflector,
    StructuredOutputGSARJudge,
)
from locus.testing import FunctionModel, ScriptedModel, text, tool_call
from locus.testing.server import LoopbackServer
from locus.tools import tool
from tests.agent.recorded_runs import record_on_all_runtimes, record_run, run_to_end
from tests.agent.test_server_stored_conversation import enqueue_texts, get_input_texts
from tests.support.runtimes import run_async
from tests.support.scripted_judges import AsyncScriptedJudge, ScriptedJudge
from tests.support.servers import responses_server

WRONG, RIGHT = "It is 35 degrees in Rome.", "It is 21 degrees in Rome."


@tool
def weather(city: str) -> str:
    """Look at the sky."""
    return "21 degrees"


CALL = tool_call("weather", "call_1", city="Rome")


GOOD, BAD = (Claim(word, EvidenceType.TOOL_MATCH) for word in ("good", "bad"))
PROCEED = JudgeOutput((GOOD,))
REGENERATE = JudgeOutput((GOOD,) * 7, (BAD,) * 3, explanation="Three are made up.")
REPLAN = JudgeOutput((GOOD,), (), (BAD,) * 3)


def count_notes(result: AgentResult) -> int:
    return sum(map(is_agent_added_message, result.state.messages))


# -- grounding -----------------------------------------------------------------------------------


def test_ungrounded_claims_go_back_to_the_model_on_every_runtime() -> None:
    models: list[ScriptedModel] = []

    def make_agent() -> Agent:
        models.append(ScriptedModel(CALL, WRONG, RIGHT))
        return Agent(models[-1], [weather], grounding=True)

    runs = record_on_all_runtimes(make_agent, "How is it?")
    for run in runs.values():
        assert run.select_events_of_type(GroundingEvent) == [
            GroundingEvent(0.0, (), (WRONG,), accepted=False),
            GroundingEvent(1.0, (RIGHT,), (), accepted=True),
        ]
        assert isinstance(run.events[-1], TerminateEvent)
        result = run.result
        assert result is not None
        assert (result.message, result.stop_reason, result.iterations) == (RIGHT, "complete", 3)
        report = result.grounding_report
        assert report is not None
        assert (report.accepted, report.retries, report.ungrounded) == (True, 1, ())
        assert result.gsar is None
    for model in models:
        note = model.calls[2].messages[-1]
        assert is_agent_added_message(note)
        assert WRONG in note.text


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_a_model_that_insists_is_asked_a_limited_number_of_times_and_the_result_says_so(
    runtime_name: str, max_retries: int
) -> None:
    model = ScriptedModel(CALL, *[WRONG] * (max_retries + 1))
    agent = Agent(model, [weather], grounding=GroundingEvaluator(max_retries=max_retries))
    result = run_to_end(runtime_name, agent, "How is it?")
    assert (result.message, result.stop_reason) == (WRONG, "complete")
    assert result.grounding_report is not None
    assert not result.grounding_report.accepted
    assert result.grounding_report.ungrounded == (WRONG,)
    assert result.grounding_report.retries == count_notes(result) == max_retries


@pytest.mark.parametrize(("answer", "is_accepted"), [(WRONG, False), (RIGHT, True)])
def test_the_answer_that_a_run_at_its_limit_is_asked_for_is_checked(
    runtime_name: str, answer: str, is_accepted: bool
) -> None:
    judge = ScriptedJudge(PROCEED if is_accepted else REPLAN)
    agent = Agent(
        ScriptedModel(CALL, answer),
        [weather],
        max_iterations=1,
        final_answer=True,
        grounding=True,
        gsar=GSAREvaluator(judge),
    )
    run = record_run(runtime_name, agent, "How is it?")
    result = run.result
    assert result is not None
    assert (result.message, result.iterations) == (answer, 2)
    assert result.grounding_report is not None
    assert result.gsar is not None
    assert (result.grounding_report.accepted, not result.gsar.degraded) == (is_accepted,) * 2
    assert len(run.select_events_of_type(GroundingEvent)) == 2


def test_a_judge_model_decides_and_its_tokens_count(runtime_name: str) -> None:
    bad = json.dumps({"grounded": [], "ungrounded": ["35 degrees"]})
    good = json.dumps({"grounded": ["21 degrees"], "ungrounded": []})
    judge = ScriptedModel(*(text(answer, usage={"prompt_tokens": 10}) for answer in (bad, good)))
    model = ScriptedModel(CALL, WRONG, text(RIGHT, usage={"prompt_tokens": 1}))
    agent = Agent(model, [weather], grounding=GroundingEvaluator(judge))
    run = record_run(runtime_name, agent, "How is it?")
    assert run.result is not None
    assert run.result.grounding_report is not None
    assert run.result.grounding_report.grounded == ("21 degrees",)
    assert run.result.usage == run.terminate_event.usage == {"prompt_tokens": 21}
    assert "[call_1] weather" in judge.calls[0].messages[1].text
    assert run.text == WRONG + RIGHT  # the judge's answers are not streamed


def test_without_tool_results_the_answer_stands_and_the_report_says_that_nothing_supports_it(
    runtime_name: str,
) -> None:
    for tools in ([], [weather]):
        model = ScriptedModel("Rome is old.")
        result = run_to_end(runtime_name, Agent(model, tools, grounding=True), "How is it?")
        assert (result.message, result.stop_reason, result.iterations) == (
            "Rome is old.",
            "complete",
            1,
        )
        assert result.grounding_report is not None
        assert not result.grounding_report.has_evidence
        assert not result.grounding_report.accepted


@pytest.mark.parametrize("answer", ["", Message.assistant([RefusalPart("No.")])])
def test_an_answer_without_text_is_not_checked(runtime_name: str, answer: Any) -> None:
    judge = ScriptedJudge(REPLAN)
    model = ScriptedModel(CALL, answer)
    agent = Agent(model, [weather], grounding=True, gsar=GSAREvaluator(judge))
    result = run_to_end(runtime_name, agent, "How is it?")
    assert (result.grounding_report, result.gsar, judge.calls) == (None, None, [])


# -- GSAR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge_class", [ScriptedJudge, AsyncScriptedJudge])
def test_the_agents_own_loop_regenerates_and_replans(runtime_name: str, judge_class: Any) -> None:
    judge = judge_class(REPLAN, REGENERATE, PROCEED)
    model = ScriptedModel(CALL, "one", CALL, "two", "three")
    agent = Agent(model, [weather], gsar=GSAREvaluator(judge))
    run = record_run(runtime_name, agent, "How is it?")
    result = run.result
    assert result is not None
    assert (result.message, result.stop_reason, result.iterations) == ("three", "complete", 5)
    assert result.gsar is not None
    assert (result.gsar.report, result.gsar.score) == ("three", 1.0)
    assert (result.gsar.decision, result.gsar.degraded, result.gsar.replans) == (
        "proceed",
        False,
        1,
    )
    assert [tuple(look) for look in result.gsar.trajectory] == [
        (1, 0.4, "replan", REPLAN),
        (2, 0.7, "regenerate", REGENERATE),
        (3, 1.0, "proceed", PROCEED),
    ]
    assert run.select_events_of_type(GroundingEvent) == [
        GroundingEvent(0.4, ("good",), ("bad",) * 3, accepted=False),
        GroundingEvent(0.7, ("good",) * 7, ("bad",) * 3, accepted=False),
        GroundingEvent(1.0, ("good",), (), accepted=True),
    ]
    replan_note, regenerate_note = model.calls[2].messages[-1], model.calls[4].messages[-1]
    assert "contradicts these statements:\n- bad" in replan_note.text
    assert "Find the evidence that is missing" in replan_note.text
    assert "Three are made up." in regenerate_note.text
    assert "Write the answer anew" in regenerate_note.text
    assert [report for report, _ in judge.calls] == ["one", "two", "three"]
    assert [len(evidence) for _, evidence in judge.calls] == [1, 2, 2]
    assert judge.calls[0][1][0].result == "21 degrees"


@pytest.mark.parametrize(
    ("verdict", "decision", "replans"), [(REPLAN, "replan", 2), (REGENERATE, "regenerate", 0)]
)
def test_a_judge_that_never_agrees_ends_with_a_degraded_result(
    runtime_name: str, verdict: JudgeOutput, decision: str, replans: int
) -> None:
    model = ScriptedModel("one", "two", "three")
    agent = Agent(model, gsar=GSAREvaluator(ScriptedJudge(verdict)))
    result = run_to_end(runtime_name, agent, "How is it?")
    assert (result.message, result.stop_reason) == ("three", "complete")
    assert result.gsar is not None
    assert (result.gsar.degraded, result.gsar.decision) == (True, decision)
    assert (result.gsar.replans, len(result.gsar.trajectory)) == (replans, 3)


def test_true_makes_the_agents_own_model_the_judge(runtime_name: str) -> None:
    bad = json.dumps({"contradicted_claims": [{"text": "35 degrees", "type": "tool_match"}]})
    good = json.dumps({"grounded_claims": [{"text": "21 degrees", "type": "tool_match"}]})
    usage = {"completion_tokens": 5}
    model = ScriptedModel(
        CALL, text(WRONG, usage=usage), text(bad, usage=usage), RIGHT, text(good, usage=usage)
    )
    run = record_run(runtime_name, Agent(model, [weather], gsar=True), "How is it?")
    assert run.result is not None
    assert (run.result.message, run.result.iterations) == (RIGHT, 3)
    assert run.result.gsar is not None
    assert (run.result.gsar.score, run.result.gsar.replans) == (1.0, 1)
    assert run.result.usage == {"completion_tokens": 15}
    assert [recorded.tools == () for recorded in model.calls] == [False, False, True, False, True]
    assert run.text == WRONG + RIGHT


def test_a_judge_model_that_writes_no_json_does_not_cost_the_answer(runtime_name: str) -> None:
    model = ScriptedModel("Rome is old.", cycle=True)
    run = record_run(runtime_name, Agent(model, gsar=True), "How is it?")
    result = run.result
    assert result is not None
    assert (result.message, result.stop_reason, result.iterations) == (
        "Rome is old.",
        "complete",
        1,
    )
    assert result.gsar is not None
    assert (result.gsar.degraded, result.gsar.score) == (True, 0.5)
    assert "not a valid JudgeOutput" in str(result.gsar.error)
    (event,) = run.select_events_of_type(GroundingEvent)
    assert event == GroundingEvent(0.5, accepted=False)


@pytest.mark.parametrize("judge_class", [ScriptedJudge, AsyncScriptedJudge])
@pytest.mark.parametrize(
    ("verdict", "error"),
    [(LookupError("gone"), LookupError), ({"grounded_claims": []}, TypeError), (None, TypeError)],
)
def test_a_judge_that_fails_ends_the_run_and_the_answer_is_in_the_thread(
    runtime_name: str, judge_class: Any, verdict: Any, error: Any
) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(
        ScriptedModel("one"), gsar=GSAREvaluator(judge_class(verdict)), checkpointer=checkpointer
    )
    run = record_run(runtime_name, agent, "How is it?", "t")
    assert isinstance(run.error, error)
    assert run.terminate_event.reason.startswith(f"error: {error.__name__}")
    resumed = agent.copy(gsar=GSAREvaluator(ScriptedJudge(PROCEED))).resume_sync(thread_id="t")
    assert (resumed.message, resumed.iterations) == ("one", 0)
    assert resumed.gsar is not None
    assert not resumed.gsar.degraded


def test_the_evaluators_own_functions_replace_the_answer(runtime_name: str) -> None:
    async def regenerate(report: str, verdict: JudgeOutput) -> str:
        await anyio.lowlevel.checkpoint()
        return f"{report} anew"

    def replan(report: str, evidence: Any, verdict: JudgeOutput) -> tuple[str, Any]:
        return f"{report} more", (*evidence, "a log")

    judge = ScriptedJudge(REPLAN, REGENERATE, PROCEED)
    agent = Agent(
        ScriptedModel(CALL, "one"), [weather], gsar=GSAREvaluator(judge, regenerate, replan)
    )
    run = record_run(runtime_name, agent, "How is it?")
    result = run.result
    assert result is not None
    assert result.message == run.terminate_event.final_message == "one more anew"
    assert result.state.messages[-1] == Message.assistant("one more anew")
    assert (result.iterations, count_notes(result)) == (2, 0)
    assert result.gsar is not None
    assert (result.gsar.report, result.gsar.replans) == ("one more anew", 1)
    assert judge.calls[2][1][1] == "a log"
    assert [e.score for e in run.select_events_of_type(GroundingEvent)] == [0.4, 0.7, 1.0]


def test_in_an_agent_a_report_is_text(runtime_name: str) -> None:
    evaluator = GSAREvaluator(ScriptedJudge(REGENERATE, PROCEED), lambda *_: 42)
    run = record_run(runtime_name, Agent(ScriptedModel("one"), gsar=evaluator), "How is it?")
    assert isinstance(run.error, TypeError)
    assert "a report is text" in str(run.error)


# -- together with other settings ----------------------------------------------------------------


@attrs.frozen
class Weather:
    city: str
    degrees: int


def make_json(degrees: int) -> str:
    return json.dumps({"city": "Rome", "degrees": degrees})


def test_an_answer_of_a_type_is_checked_and_parsed(runtime_name: str) -> None:
    model = ScriptedModel(CALL, "35", make_json(35), "21", make_json(21))
    agent = Agent(model, [weather], output_schema=Weather, grounding=True)
    result = run_to_end(runtime_name, agent, "How is it?")
    assert (result.parsed, result.parse_error) == (Weather("Rome", 21), None)
    assert result.grounding_report is not None
    assert result.grounding_report.grounded == ("Rome", "degrees: 21")
    assert result.grounding_report.retries == 1
    assert result.iterations == 5


def test_a_report_of_the_evaluators_functions_is_parsed_too(runtime_name: str) -> None:
    evaluator = GSAREvaluator(ScriptedJudge(REGENERATE, PROCEED), lambda *_: make_json(21))
    agent = Agent(ScriptedModel(make_json(35)), output_schema=Weather, gsar=evaluator)
    assert run_to_end(runtime_name, agent, "How is it?").parsed == Weather("Rome", 21)


def test_both_checks_in_turn(runtime_name: str) -> None:
    judge = ScriptedJudge(REGENERATE, PROCEED)
    model = ScriptedModel(CALL, WRONG, RIGHT, f"{RIGHT} ", RIGHT)
    agent = Agent(
        model, [weather], grounding=True, gsar=GSAREvaluator(judge), reflexion=Reflector()
    )
    run = record_run(runtime_name, agent, "How is it?")
    result = run.result
    assert result is not None
    assert result.message == f"{RIGHT} "
    assert result.grounding_report is not None
    assert (result.grounding_report.retries, result.grounding_report.accepted) == (1, True)
    assert result.gsar is not None
    assert [look.decision for look in result.gsar.trajectory] == ["regenerate", "proceed"]
    assert [report for report, _ in judge.calls] == [RIGHT, f"{RIGHT} "]
    assert result.state.confidence == 0.5


@pytest.mark.parametrize("max_iterations", [1, 2, 3])
def test_the_limit_of_iterations_holds_and_the_result_is_honest(
    runtime_name: str, max_iterations: int
) -> None:
    model = ScriptedModel("one", "two", "three", "four")
    agent = Agent(
        model, gsar=GSAREvaluator(ScriptedJudge(REPLAN), k_max=3), max_iterations=max_iterations
    )
    result = run_to_end(runtime_name, agent, "How is it?")
    assert (result.iterations, len(model.calls)) == (max_iterations, max_iterations)
    assert result.stop_reason == f"MaxIterations({max_iterations})"
    assert result.gsar is not None
    assert (result.gsar.degraded, result.gsar.replans) == (True, max_iterations - 1)
    assert count_notes(result) == max_iterations - 1


def test_a_condition_that_stops_the_run_leaves_a_report_and_asks_no_more(runtime_name: str) -> None:
    model = ScriptedModel(CALL, WRONG)
    agent = Agent(model, [weather], grounding=True, termination=NoToolCalls())
    result = run_to_end(runtime_name, agent, "How is it?")
    assert result.stop_reason == "NoToolCalls()"
    assert result.grounding_report is not None
    assert not result.grounding_report.accepted
    assert count_notes(result) == 0


def test_hooks_see_the_model_calls_of_the_agent_and_not_those_of_judges(runtime_name: str) -> None:
    seen: list[str] = []

    class Hook:
        def on_after_model_call(self, event: Any) -> None:
            seen.append(event.response.content)

    good = json.dumps({"grounded": [RIGHT], "ungrounded": []})
    agent = Agent(
        ScriptedModel(CALL, RIGHT),
        [weather],
        grounding=GroundingEvaluator(ScriptedModel(good)),
        hooks=[Hook()],
    )
    assert run_to_end(runtime_name, agent, "How is it?").message == RIGHT
    assert seen == ["", RIGHT]


@pytest.mark.parametrize(
    "manager",
    [
        SlidingWindowManager(max_messages=2),
        SummarizingManager(ScriptedModel("A summary.", cycle=True), threshold=3, keep_last=2),
    ],
    ids=["window", "summary"],
)
def test_under_a_manager_the_model_reads_the_question_and_the_note(
    runtime_name: str, manager: Any
) -> None:
    model = ScriptedModel(CALL, WRONG, WRONG, RIGHT)
    agent = Agent(model, [weather], grounding=True, conversation_manager=manager)
    result = run_to_end(runtime_name, agent, "How is it?")
    assert result.message == RIGHT
    for recorded in model.calls[2:]:
        texts = [message.text for message in recorded.messages]
        assert "How is it?" in texts
        assert WRONG in texts[-1]


def test_a_summary_is_evidence_and_not_the_question(runtime_name: str) -> None:
    """What a tool returned for an earlier prompt may be known from the summary alone."""
    judge = ScriptedJudge(PROCEED)
    agent = Agent(
        ScriptedModel(CALL, "It is warm.", "It was 21 degrees."),
        [weather],
        grounding=GroundingEvaluator(max_retries=0),
        gsar=GSAREvaluator(judge),
        conversation_manager=SummarizingManager(
            ScriptedModel("The tool says: 21 degrees."), threshold=4, keep_last=1
        ),
        checkpointer=MemoryCheckpointer(),
    )
    run_to_end(runtime_name, agent, "How is it?", "t")
    result = run_to_end(runtime_name, agent, "How was it on Mars?", "t")
    assert result.grounding_report is not None
    assert result.grounding_report.grounded == ("It was 21 degrees.",)
    ((_, evidence),) = judge.calls[1:]
    assert [execution.tool_name for execution in evidence] == ["summary_of_earlier_messages"]
    assert "The tool says: 21 degrees." in evidence[0].result


def test_the_results_in_a_prompt_are_evidence(runtime_name: str) -> None:
    """A conversation that began elsewhere, and a call that a person has carried out."""
    judge = ScriptedJudge(PROCEED)
    call = ToolCall(name="weather", id="call_1", arguments={"city": "Rome"})
    agent = Agent(
        ScriptedModel(CALL, "It is 21 degrees in Rome, and 7 in Oslo."),
        [weather],
        grounding=GroundingEvaluator(max_retries=0),
        gsar=GSAREvaluator(judge),
    )
    prompt = [
        Message.user("How is it in Oslo?"),
        Message.assistant(tool_calls=[attrs.evolve(call, arguments={"city": "Oslo"})]),
        Message.tool(ToolResult("call_1", "weather", "7 degrees")),
        Message.assistant("7 degrees."),
        Message.user("And in Rome?"),
    ]
    result = run_to_end(runtime_name, agent, prompt)
    assert result.grounding_report is not None
    assert result.grounding_report.accepted
    (_, evidence) = judge.calls[0]
    assert [execution.result for execution in evidence] == ["7 degrees", "21 degrees"]
    assert evidence[0].tool_call_id == evidence[1].tool_call_id == "call_1"


def test_a_note_does_not_make_tool_choice_apply_again(runtime_name: str) -> None:
    model = ScriptedModel(CALL, WRONG, RIGHT)
    agent = Agent(model, [weather], grounding=True, tool_choice="weather")
    assert run_to_end(runtime_name, agent, "How is it?").message == RIGHT
    assert ["tool_choice" in recorded.options for recorded in model.calls] == [True, False, False]


def test_a_server_that_stores_the_conversation_is_sent_the_note_alone(
    runtime_name: str, server: LoopbackServer
) -> None:
    enqueue_texts(server, "one", "two")
    model = responses_server.make_model(server)
    agent = Agent(
        model, gsar=GSAREvaluator(ScriptedJudge(REPLAN, PROCEED)), checkpointer=MemoryCheckpointer()
    )
    result = run_to_end(runtime_name, agent, "How is it?", "t")
    model.close_sync()
    assert result.message == "two"
    first, second = (request.json() for request in server.requests)
    assert get_input_texts(first) == ["How is it?"]
    (note,) = get_input_texts(second)
    assert note.startswith("[Note of the agent's own review, not of the user]")
    assert second["previous_response_id"] == "resp_1"
    assert result.state.server_knowledge is not None
    assert result.state.server_knowledge.messages == 4


def test_a_judge_model_that_stores_conversations_judges_outside_of_the_agents(
    runtime_name: str, server: LoopbackServer
) -> None:
    claims = [{"text": "x", "type": "domain"}]
    verdicts = [json.dumps({group: claims}) for group in ("ungrounded_claims", "grounded_claims")]
    enqueue_texts(server, "one", verdicts[0], "two", verdicts[1])
    model = responses_server.make_model(server)
    agent = Agent(model, gsar=True, checkpointer=MemoryCheckpointer())
    result = run_to_end(runtime_name, agent, "How is it?", "t")
    model.close_sync()
    assert result.gsar is not None
    assert (result.message, result.gsar.score) == ("two", 1.0)
    bodies = [request.json() for request in server.requests]
    assert [body.get("previous_response_id") for body in bodies] == [None, None, "resp_1", None]
    assert "<report>\ntwo\n</report>" in get_input_texts(bodies[3])[1]


def test_a_server_that_stores_the_conversation_is_sent_all_of_it_after_a_replaced_answer(
    runtime_name: str, server: LoopbackServer
) -> None:
    enqueue_texts(server, "one", "two")
    model = responses_server.make_model(server)
    evaluator = GSAREvaluator(ScriptedJudge(REGENERATE, PROCEED), lambda *_: "better")
    agent = Agent(model, gsar=evaluator, checkpointer=MemoryCheckpointer())
    run_to_end(runtime_name, agent, "How is it?", "t")
    run_to_end(runtime_name, agent.copy(gsar=None), "And now?", "t")
    model.close_sync()
    assert get_input_texts(server.requests[1].json()) == ["How is it?", "better", "And now?"]


# -- threads -------------------------------------------------------------------------------------


class FailingCheckpointer(MemoryCheckpointer):
    """Fails from the n-th save on, as a process that dies there."""

    fails_at = 0
    saves = 0

    def save(self, thread_id: str, state: AgentState) -> None:
        self.saves += 1
        if 0 < self.fails_at <= self.saves:
            raise OSError("the process has died")
        super().save(thread_id, state)


def answer_by_history(messages: Any, *_: Any, **__: Any) -> ModelResponse:
    """Call a tool, answer wrong twice and then right, whatever was interrupted in between."""
    notes = sum(map(is_agent_added_message, messages))
    if messages[-1].role is Role.USER and not notes:
        return CALL
    return text(("one", "two", "three")[notes], usage={"completion_tokens": 1})


@pytest.mark.parametrize("fails_at", range(1, 11))
def test_a_thread_that_was_interrupted_anywhere_goes_on_counting(
    runtime_name: str, fails_at: int
) -> None:
    class HonestJudge:
        """Judges by the report alone, so that it may be asked again after a resume."""

        def judge(self, report: str, evidence: Any) -> JudgeOutput:
            calls.append(report)
            return {"one": REPLAN, "two": REGENERATE, "three": PROCEED}[report]

    calls: list[str] = []
    checkpointer = FailingCheckpointer()
    checkpointer.fails_at = fails_at
    agent = Agent(
        FunctionModel(answer_by_history),
        [weather],
        gsar=GSAREvaluator(HonestJudge(), k_max=1),
        checkpointer=checkpointer,
    )
    run = record_run(runtime_name, agent, "How is it?", "t")
    checkpointer.fails_at = 0
    if checkpointer.load("t") is None:
        return  # nothing had been saved
    result = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert result.message == "three"
    assert result.gsar is not None
    assert [look.verdict for look in result.gsar.trajectory] == [REPLAN, REGENERATE, PROCEED]
    assert (result.gsar.replans, result.gsar.degraded) == (1, False)
    assert count_notes(result) == 2
    assert len(calls) - 3 <= (run.error is not None)  # one look at most was not saved


def test_an_ended_thread_is_not_judged_again(runtime_name: str, tmp_path: Any) -> None:
    judge = ScriptedJudge(REPLAN, PROCEED)
    with SQLiteCheckpointer(tmp_path / "threads.db") as checkpointer:
        agent = Agent(
            ScriptedModel(CALL, RIGHT, RIGHT),
            [weather],
            gsar=GSAREvaluator(judge),
            grounding=True,
            checkpointer=checkpointer,
        )
        first = run_to_end(runtime_name, agent, "How is it?", "t")
        again = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert len(judge.calls) == 2
    assert (again.message, again.iterations, again.usage) == (RIGHT, 0, {})
    assert (again.gsar, again.grounding_report) == (first.gsar, first.grounding_report)


def test_an_answer_that_a_limit_kept_from_being_improved_is_improved_by_a_resume(
    runtime_name: str,
) -> None:
    judge = ScriptedJudge(REPLAN, PROCEED)
    agent = Agent(
        ScriptedModel("one", "two"),
        gsar=GSAREvaluator(judge),
        max_iterations=1,
        checkpointer=MemoryCheckpointer(),
    )
    first = run_to_end(runtime_name, agent, "How is it?", "t")
    assert (first.message, first.stop_reason) == ("one", "MaxIterations(1)")
    resumed = run_to_end(runtime_name, agent.copy(max_iterations=2), resume=True, thread_id="t")
    assert (resumed.message, resumed.stop_reason) == ("two", "complete")
    assert resumed.gsar is not None
    assert (resumed.gsar.replans, len(judge.calls)) == (1, 2)


def test_each_prompt_has_retries_of_its_own(runtime_name: str) -> None:
    model = ScriptedModel("one", "two", "three", "four", "five", "six")
    agent = Agent(
        model, gsar=GSAREvaluator(ScriptedJudge(REPLAN)), checkpointer=MemoryCheckpointer()
    )
    for last in ("three", "six"):
        result = run_to_end(runtime_name, agent, "How is it?", "t")
        assert result.message == last
        assert result.gsar is not None
        assert len(result.gsar.trajectory) == 3


def test_an_older_checkpoint_is_judged_when_it_is_resumed(runtime_name: str) -> None:
    state = AgentState.from_json(
        b'{"locus_state":1,"messages":[{"role":"user","content":"Hi"},'
        b'{"role":"assistant","content":"Rome is old."}],"iteration":1}'
    )
    checkpointer = MemoryCheckpointer()
    checkpointer.save("t", state)
    judge = ScriptedJudge(PROCEED)
    agent = Agent(ScriptedModel("x"), gsar=GSAREvaluator(judge), checkpointer=checkpointer)
    result = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert result.gsar is not None
    assert (result.message, result.gsar.decision) == ("Rome is old.", "proceed")


# -- cancellation --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("colour", ["async", "blocking"])
def test_a_cancelled_judge_leaves_a_thread_that_can_be_resumed(backend: str, colour: str) -> None:
    release = threading.Event()

    class AsyncJudge:
        async def judge(self, report: str, evidence: Any) -> Any:
            waiting.set()
            await anyio.sleep_forever()

    class BlockingJudge:
        def judge(self, report: str, evidence: Any) -> Any:
            anyio.from_thread.run_sync(waiting.set, token=token)
            release.wait()

    agent = Agent(
        ScriptedModel("one"),
        gsar=GSAREvaluator(AsyncJudge() if colour == "async" else BlockingJudge()),
        checkpointer=MemoryCheckpointer(),
    )
    waiting = token = None  # type: Any

    async def main() -> None:
        nonlocal waiting, token
        waiting, token = anyio.Event(), anyio.lowlevel.current_token()
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await agent.arun("How is it?", "t")

            group.start_soon(run)
            await waiting.wait()
            group.cancel_scope.cancel()

    run_async(backend, main)
    release.set()
    agent = agent.copy(gsar=GSAREvaluator(ScriptedJudge(PROCEED)))
    result = agent.resume_sync(thread_id="t")
    assert result.gsar is not None
    assert (result.message, result.gsar.score) == ("one", 1.0)


def test_a_blocking_run_that_is_interrupted_in_a_judge_ends(runtime_name: str) -> None:
    if runtime_name != "blocking":
        pytest.skip("Ctrl-C is that of the main thread")
    agent = Agent(
        ScriptedModel("one"),
        gsar=GSAREvaluator(ScriptedJudge(KeyboardInterrupt())),
        checkpointer=MemoryCheckpointer(),
    )
    with pytest.raises(KeyboardInterrupt):
        agent.run_sync("How is it?", "t")
    agent = agent.copy(gsar=None)
    assert agent.resume_sync(thread_id="t").message == "one"


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grounding", "gsar"])
@pytest.mark.parametrize("value", [1, "yes", Reflector(), GSAREvaluator])
def test_another_setting_is_an_error(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} is True or .* locus\.reasoning"):
        Agent(ScriptedModel("x"), **{name: value})
    with pytest.raises(ConfigurationError):
        Agent(ScriptedModel("x"), gsar=GroundingEvaluator())  # type: ignore[arg-type]


def test_false_and_none_are_the_same() -> None:
    model = ScriptedModel("x")
    assert Agent(model, grounding=False, gsar=False, reflexion=False) == Agent(model)


@pytest.mark.engine
def test_a_run_on_the_embedded_model_ends_with_a_well_formed_result() -> None:
    with LocalModel("smollm2", max_tokens=60, temperature=0) as model:
        judge = StructuredOutputGSARJudge(
            model,
            instructions="List the claims of the report, one or two. Keep it short.",
            retries=0,
        )
        agent = Agent(model, gsar=GSAREvaluator(judge, k_max=0))
        with agent.stream_sync("What is the capital of France? One sentence.") as run:
            events = list(run)
        result = run.result
    assert isinstance(events[-1], TerminateEvent)
    assert any(isinstance(event, ModelChunkEvent) for event in events)
    assert "Paris" in result.message
    assert result.gsar is not None
    assert 0 <= result.gsar.score <= 1
    assert result.gsar.report == result.message
    assert result.gsar.degraded == (result.gsar.decision != "proceed")
    assert len(result.gsar.trajectory) + (result.gsar.error is not None) == result.iterations == 1
    assert AgentState.from_json(result.state.to_json()) == result.state
