"""When a run ends: each condition, and the algebra that combines them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, ToolCall
from locus.core.state import AgentState, ToolExecution
from locus.core.termination import (
    AllOf,
    AnyOf,
    ConfidenceMet,
    CustomCondition,
    MaxIterations,
    NoToolCalls,
    RunSnapshot,
    TerminationCondition,
    TextMention,
    TimeLimit,
    TokenLimit,
    ToolCalled,
)


def snapshot(
    message: Message | None = None,
    *,
    elapsed: float = 0.0,
    before: AgentState | None = None,
    **state: Any,
) -> RunSnapshot:
    return RunSnapshot(AgentState(**state), elapsed=elapsed, message=message, before=before)


def calls(*names: str) -> Message:
    return Message.assistant(None, [ToolCall(f"call_{at}", name) for at, name in enumerate(names)])


def ran(*names: str) -> tuple[ToolExecution, ...]:
    return tuple(ToolExecution(name, f"call_{at}") for at, name in enumerate(names))


def is_late(run: RunSnapshot) -> bool:
    return run.elapsed > 5


def says_why(run: RunSnapshot) -> str | None:
    return "it took its time" if run.elapsed > 5 else None


FIRST = AgentState(
    iteration=7,
    usage={"prompt_tokens": 500, "completion_tokens": 50},
    tool_executions=ran("search"),
)


# -- the leaves --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "goes_on", "stops", "reason"),
    [
        (MaxIterations(3), snapshot(iteration=2), snapshot(iteration=3), "MaxIterations(3)"),
        (
            TokenLimit(100),
            snapshot(usage={"prompt_tokens": 90, "completion_tokens": 9}),
            snapshot(usage={"prompt_tokens": 90, "completion_tokens": 10}),
            "TokenLimit(100)",
        ),
        (
            TokenLimit(prompt=100),
            snapshot(usage={"prompt_tokens": 99, "completion_tokens": 500}),
            snapshot(usage={"prompt_tokens": 100}),
            "TokenLimit(prompt=100)",
        ),
        (
            TokenLimit(1000, completion=100),
            snapshot(usage={"prompt_tokens": 500, "completion_tokens": 99}),
            snapshot(usage={"completion_tokens": 100}),
            "TokenLimit(1000, completion=100)",
        ),
        (TimeLimit(1.5), snapshot(elapsed=1.4), snapshot(elapsed=1.5), "TimeLimit(1.5)"),
        (NoToolCalls(), snapshot(calls("f")), snapshot(Message.assistant("x")), "NoToolCalls()"),
        (NoToolCalls(), snapshot(None), snapshot(Message.assistant("x")), "NoToolCalls()"),
        (ToolCalled("f"), snapshot(calls("g")), snapshot(calls("g", "f")), "ToolCalled('f')"),
        (
            ToolCalled("f"),
            snapshot(tool_executions=ran("g")),
            snapshot(calls("g"), tool_executions=ran("f", "g")),
            "ToolCalled('f')",
        ),
        (
            ConfidenceMet(0.8),
            snapshot(confidence=0.79),
            snapshot(confidence=0.8),
            "ConfidenceMet(0.8)",
        ),
        (
            TextMention("DONE"),
            snapshot(Message.assistant("I am done.")),
            snapshot(Message.assistant(["It is ", "ABANDONED"])),
            "TextMention('DONE')",
        ),
        (
            TextMention("strasse", case_sensitive=False),
            snapshot(None),
            snapshot(Message.assistant("Die STRAßE")),
            "TextMention('strasse', case_sensitive=False)",
        ),
        (
            CustomCondition(is_late),
            snapshot(elapsed=5),
            snapshot(elapsed=6),
            "CustomCondition(is_late)",
        ),
        (
            CustomCondition(says_why, "patience"),
            snapshot(elapsed=5),
            snapshot(elapsed=6),
            "CustomCondition(patience): it took its time",
        ),
    ],
    ids=repr,
)
def test_a_condition_fires_where_it_should_and_names_itself(
    condition: TerminationCondition, goes_on: RunSnapshot, stops: RunSnapshot, reason: str
) -> None:
    assert condition.check(goes_on) is None
    assert condition.check(stops) == reason


@pytest.mark.parametrize(
    "condition",
    [MaxIterations(3), TokenLimit(100), TokenLimit(prompt=100), ToolCalled("search")],
    ids=repr,
)
def test_what_earlier_runs_of_the_thread_did_does_not_count(
    condition: TerminationCondition,
) -> None:
    same = RunSnapshot(FIRST, before=FIRST)
    assert condition.check(same) is None
    assert condition.check(RunSnapshot(FIRST)) == repr(condition)
    went_on = FIRST.evolve(
        iteration=10,
        usage={"prompt_tokens": 600, "completion_tokens": 60},
        tool_executions=ran("search", "search"),
    )
    assert condition.check(RunSnapshot(went_on, before=FIRST)) == repr(condition)


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: MaxIterations(0), ConfigurationError, "limit.*from 1; not 0"),
        (lambda: MaxIterations(True), ConfigurationError, "not True"),
        (lambda: MaxIterations(2.0), ConfigurationError, "not 2.0"),  # type: ignore[arg-type]
        (lambda: TokenLimit(), ConfigurationError, "total=, prompt= or completion="),
        (lambda: TokenLimit(prompt=-1), ConfigurationError, "prompt"),
        (lambda: TimeLimit(0), ConfigurationError, "seconds.*above 0"),
        (lambda: TimeLimit(float("nan")), ConfigurationError, "nan"),
        (lambda: TimeLimit("5"), ConfigurationError, "'5'"),  # type: ignore[arg-type]
        (lambda: ToolCalled(""), ConfigurationError, "name"),
        (lambda: ToolCalled(is_late), ConfigurationError, "is_late"),  # type: ignore[arg-type]
        (lambda: ConfidenceMet(1.1), ConfigurationError, "from 0 to 1; not 1.1"),
        (lambda: ConfidenceMet(float("nan")), ConfigurationError, "nan"),
        (lambda: TextMention(""), ConfigurationError, "text"),
        (lambda: CustomCondition("late"), TypeError, "function, not str"),  # type: ignore[arg-type]
        (lambda: CustomCondition(is_late, ""), ConfigurationError, "name"),
        (lambda: AnyOf(()), ConfigurationError, "at least one"),
        (lambda: AllOf((is_late,)), TypeError, "conditions, not function"),  # type: ignore[arg-type]
        (lambda: MaxIterations(3) | is_late, TypeError, "unsupported operand"),  # type: ignore[operator]
        (lambda: MaxIterations(3) & None, TypeError, "unsupported operand"),  # type: ignore[operator]
        (lambda: MaxIterations(3) or TimeLimit(5), TypeError, "with | and &"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(make: Any, error: Any, named: str) -> None:
    with pytest.raises(error, match=named.replace("|", r"\|")):
        make()


def test_an_async_function_is_no_condition() -> None:
    async def late(run: RunSnapshot) -> bool:
        return True

    with pytest.raises(TypeError, match="cannot await"):
        CustomCondition(late)  # type: ignore[arg-type]
    hidden: Any = CustomCondition(lambda run: late(run))  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="not coroutine"):
        hidden.check(snapshot())


def test_a_function_that_gives_no_verdict_is_an_error_and_not_a_yes() -> None:
    condition = CustomCondition(lambda run: run.iterations)
    with pytest.raises(TypeError, match=r"CustomCondition\(<lambda>\) must give a bool.*not int"):
        condition.check(snapshot(iteration=3))


def test_an_empty_reason_goes_on() -> None:
    assert CustomCondition(lambda run: "").check(snapshot()) is None


def test_what_a_function_raises_passes_through() -> None:
    class Broken(Exception):
        pass

    def check(run: RunSnapshot) -> bool:
        raise Broken

    condition = (CustomCondition(check) & MaxIterations(1)) | MaxIterations(1)
    with pytest.raises(Broken):
        condition.check(snapshot(iteration=1))


# -- the algebra -------------------------------------------------------------------------------

NAMES = "abcdef"
Tree = Any  # a name, or ("|" or "&", left, right)

TREES: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.tuples(st.sampled_from("|&"), inner, inner),
    max_leaves=12,
)
WORLDS = st.sets(st.sampled_from(NAMES))


def built(tree: Tree) -> TerminationCondition:
    if isinstance(tree, str):
        return ToolCalled(tree)
    sign, left, right = tree
    return built(left) | built(right) if sign == "|" else built(left) & built(right)


def holds(tree: Tree, world: set[str]) -> bool:
    if isinstance(tree, str):
        return tree in world
    sign, left, right = tree
    either = (holds(left, world), holds(right, world))
    return any(either) if sign == "|" else all(either)


def fires(condition: TerminationCondition, world: set[str]) -> bool:
    return condition.check(snapshot(calls(*world))) is not None


@given(TREES, WORLDS)
def test_a_combination_fires_as_its_truth_table_says(tree: Tree, world: set[str]) -> None:
    assert fires(built(tree), world) == holds(tree, world)


@given(TREES, WORLDS)
def test_the_reason_names_leaves_that_fired_and_that_are_enough(
    tree: Tree, world: set[str]
) -> None:
    reason = built(tree).check(snapshot(calls(*world)))
    if reason is not None:
        named = {leaf for leaf in NAMES if f"ToolCalled({leaf!r})" in reason}
        assert named
        assert named <= world
        assert holds(tree, named)


@given(TREES, TREES, TREES, WORLDS)
def test_the_laws_of_the_algebra(one: Tree, two: Tree, three: Tree, world: set[str]) -> None:
    a, b, c = built(one), built(two), built(three)
    assert (a | b) | c == a | (b | c)
    assert (a & b) & c == a & (b & c)
    assert a | a == a
    assert a & a == a
    assert hash((a | b) | c) == hash(a | (b | c))
    assert fires(a | b, world) == fires(b | a, world)
    assert fires(a & b, world) == fires(b & a, world)
    assert fires(a & (b | c), world) == fires((a & b) | (a & c), world)
    assert fires(a | (a & b), world) == fires(a, world)


@given(TREES)
def test_a_combination_is_a_value(tree: Tree) -> None:
    condition = built(tree)
    assert built(tree) == condition
    assert hash(built(tree)) == hash(condition)
    assert pickle.loads(pickle.dumps(condition)) == condition
    assert eval(repr(condition)) == condition


def test_a_combination_is_written_as_in_code() -> None:
    condition = MaxIterations(3) | (TokenLimit(100) & ToolCalled("x"))
    assert repr(condition) == "MaxIterations(3) | (TokenLimit(100) & ToolCalled('x'))"
    assert repr((MaxIterations(3) | NoToolCalls()) & TimeLimit(60)) == (
        "(MaxIterations(3) | NoToolCalls()) & TimeLimit(60)"
    )


def test_the_reason_of_both_names_both_and_of_either_the_first_that_fired() -> None:
    condition = MaxIterations(3) | (TokenLimit(100) & ToolCalled("x")) | NoToolCalls()
    used = {"prompt_tokens": 100}
    both = snapshot(calls("x"), iteration=1, usage=used)
    assert condition.check(both) == "TokenLimit(100) and ToolCalled('x')"
    assert condition.check(snapshot(calls("x"), iteration=3, usage=used)) == "MaxIterations(3)"
    assert condition.check(snapshot(calls("y"), usage=used)) is None


def test_a_condition_of_the_callers_own_function_is_a_value_too() -> None:
    condition = CustomCondition(is_late) | CustomCondition(says_why, name="patience")
    assert condition == CustomCondition(is_late, "is_late") | CustomCondition(says_why, "patience")
    thawed = pickle.loads(pickle.dumps(CustomCondition(says_why)))
    assert thawed == CustomCondition(says_why)
    assert hash(thawed) == hash(CustomCondition(says_why))
    assert MaxIterations(3) != MaxIterations(4)
    assert MaxIterations(3) != TimeLimit(3)
    with pytest.raises(AttributeError):
        condition.conditions = ()  # type: ignore[attr-defined]


def test_a_class_of_the_callers_own_joins_in() -> None:
    class Never(TerminationCondition):
        def check(self, snapshot: RunSnapshot) -> str | None:
            return None

    never = Never()
    assert (never | MaxIterations(1)).check(snapshot(iteration=1)) == "MaxIterations(1)"
    assert (never & MaxIterations(1)).check(snapshot(iteration=1)) is None
