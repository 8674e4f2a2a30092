"""The termination conditions, and their combinations by ``|`` and ``&``."""

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


def make_snapshot(
    message: Message | None = None,
    *,
    elapsed: float = 0.0,
    initial_state: AgentState | None = None,
    **state: Any,
) -> RunSnapshot:
    return RunSnapshot(
        AgentState(**state), elapsed=elapsed, message=message, initial_state=initial_state
    )


def make_calls(*names: str) -> Message:
    return Message.assistant(
        None, [ToolCall(f"call_{index}", name) for index, name in enumerate(names)]
    )


def make_executions(*names: str) -> tuple[ToolExecution, ...]:
    return tuple(ToolExecution(name, f"call_{index}") for index, name in enumerate(names))


def is_late(run: RunSnapshot) -> bool:
    return run.elapsed > 5


def explain_lateness(run: RunSnapshot) -> str | None:
    return "it took too long" if run.elapsed > 5 else None


EARLIER_STATE = AgentState(
    iteration=7,
    usage={"prompt_tokens": 500, "completion_tokens": 50},
    tool_executions=make_executions("search"),
)


# -- single conditions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "unmet", "met", "reason"),
    [
        (
            MaxIterations(3),
            make_snapshot(iteration=2),
            make_snapshot(iteration=3),
            "MaxIterations(3)",
        ),
        (
            TokenLimit(100),
            make_snapshot(usage={"prompt_tokens": 90, "completion_tokens": 9}),
            make_snapshot(usage={"prompt_tokens": 90, "completion_tokens": 10}),
            "TokenLimit(100)",
        ),
        (
            TokenLimit(prompt=100),
            make_snapshot(usage={"prompt_tokens": 99, "completion_tokens": 500}),
            make_snapshot(usage={"prompt_tokens": 100}),
            "TokenLimit(prompt=100)",
        ),
        (
            TokenLimit(1000, completion=100),
            make_snapshot(usage={"prompt_tokens": 500, "completion_tokens": 99}),
            make_snapshot(usage={"completion_tokens": 100}),
            "TokenLimit(1000, completion=100)",
        ),
        (TimeLimit(1.5), make_snapshot(elapsed=1.4), make_snapshot(elapsed=1.5), "TimeLimit(1.5)"),
        (
            NoToolCalls(),
            make_snapshot(make_calls("f")),
            make_snapshot(Message.assistant("x")),
            "NoToolCalls()",
        ),
        (
            NoToolCalls(),
            make_snapshot(None),
            make_snapshot(Message.assistant("x")),
            "NoToolCalls()",
        ),
        (
            ToolCalled("f"),
            make_snapshot(make_calls("g")),
            make_snapshot(make_calls("g", "f")),
            "ToolCalled('f')",
        ),
        (
            ToolCalled("f"),
            make_snapshot(tool_executions=make_executions("g")),
            make_snapshot(make_calls("g"), tool_executions=make_executions("f", "g")),
            "ToolCalled('f')",
        ),
        (
            ConfidenceMet(0.8),
            make_snapshot(confidence=0.79),
            make_snapshot(confidence=0.8),
            "ConfidenceMet(0.8)",
        ),
        (
            TextMention("DONE"),
            make_snapshot(Message.assistant("I am done.")),
            make_snapshot(Message.assistant(["It is ", "ABANDONED"])),
            "TextMention('DONE')",
        ),
        (
            TextMention("strasse", case_sensitive=False),
            make_snapshot(None),
            make_snapshot(Message.assistant("Die STRAßE")),
            "TextMention('strasse', case_sensitive=False)",
        ),
        (
            CustomCondition(is_late),
            make_snapshot(elapsed=5),
            make_snapshot(elapsed=6),
            "CustomCondition(is_late)",
        ),
        (
            CustomCondition(explain_lateness, "lateness"),
            make_snapshot(elapsed=5),
            make_snapshot(elapsed=6),
            "CustomCondition(lateness): it took too long",
        ),
    ],
    ids=repr,
)
def test_a_condition_is_met_at_its_limit_and_is_the_reason(
    condition: TerminationCondition, unmet: RunSnapshot, met: RunSnapshot, reason: str
) -> None:
    assert condition.check(unmet) is None
    assert condition.check(met) == reason


@pytest.mark.parametrize(
    "condition",
    [MaxIterations(3), TokenLimit(100), TokenLimit(prompt=100), ToolCalled("search")],
    ids=repr,
)
def test_earlier_runs_of_the_thread_do_not_count(
    condition: TerminationCondition,
) -> None:
    unchanged = RunSnapshot(EARLIER_STATE, initial_state=EARLIER_STATE)
    assert condition.check(unchanged) is None
    assert condition.check(RunSnapshot(EARLIER_STATE)) == repr(condition)
    continued = EARLIER_STATE.evolve(
        iteration=10,
        usage={"prompt_tokens": 600, "completion_tokens": 60},
        tool_executions=make_executions("search", "search"),
    )
    assert condition.check(RunSnapshot(continued, initial_state=EARLIER_STATE)) == repr(condition)


@pytest.mark.parametrize(
    ("make_condition", "error", "pattern"),
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
def test_invalid_arguments_are_errors(make_condition: Any, error: Any, pattern: str) -> None:
    with pytest.raises(error, match=pattern.replace("|", r"\|")):
        make_condition()


def test_an_async_function_is_an_error() -> None:
    async def late(run: RunSnapshot) -> bool:
        return True

    with pytest.raises(TypeError, match="cannot await"):
        CustomCondition(late)  # type: ignore[arg-type]
    hidden: Any = CustomCondition(lambda run: late(run))  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="not coroutine"):
        hidden.check(make_snapshot())


def test_a_function_that_returns_another_type_is_an_error() -> None:
    condition = CustomCondition(lambda run: run.iterations)
    with pytest.raises(TypeError, match=r"CustomCondition\(<lambda>\) must give a bool.*not int"):
        condition.check(make_snapshot(iteration=3))


def test_an_empty_reason_continues() -> None:
    assert CustomCondition(lambda run: "").check(make_snapshot()) is None


def test_an_exception_of_a_function_is_not_caught() -> None:
    class Broken(Exception):
        pass

    def check(run: RunSnapshot) -> bool:
        raise Broken

    condition = (CustomCondition(check) & MaxIterations(1)) | MaxIterations(1)
    with pytest.raises(Broken):
        condition.check(make_snapshot(iteration=1))


# -- combinations --------------------------------------------------------------------------------

NAMES = "abcdef"
Tree = Any  # a name, or ("|" or "&", left, right)

TREES: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.tuples(st.sampled_from("|&"), inner, inner),
    max_leaves=12,
)
CALLED_TOOLS = st.sets(st.sampled_from(NAMES))


def build_condition(tree: Tree) -> TerminationCondition:
    if isinstance(tree, str):
        return ToolCalled(tree)
    operator, left, right = tree
    return (
        build_condition(left) | build_condition(right)
        if operator == "|"
        else build_condition(left) & build_condition(right)
    )


def evaluate_tree(tree: Tree, called_tools: set[str]) -> bool:
    if isinstance(tree, str):
        return tree in called_tools
    operator, left, right = tree
    results = (evaluate_tree(left, called_tools), evaluate_tree(right, called_tools))
    return any(results) if operator == "|" else all(results)


def is_met(condition: TerminationCondition, called_tools: set[str]) -> bool:
    return condition.check(make_snapshot(make_calls(*called_tools))) is not None


@given(TREES, CALLED_TOOLS)
def test_a_combination_is_evaluated_as_a_boolean_expression(
    tree: Tree, called_tools: set[str]
) -> None:
    assert is_met(build_condition(tree), called_tools) == evaluate_tree(tree, called_tools)


@given(TREES, CALLED_TOOLS)
def test_the_reason_names_conditions_that_are_met_and_sufficient(
    tree: Tree, called_tools: set[str]
) -> None:
    reason = build_condition(tree).check(make_snapshot(make_calls(*called_tools)))
    if reason is not None:
        pattern = {leaf for leaf in NAMES if f"ToolCalled({leaf!r})" in reason}
        assert pattern
        assert pattern <= called_tools
        assert evaluate_tree(tree, pattern)


@given(TREES, TREES, TREES, CALLED_TOOLS)
def test_the_laws_of_boolean_algebra(
    one: Tree, two: Tree, three: Tree, called_tools: set[str]
) -> None:
    a, b, c = build_condition(one), build_condition(two), build_condition(three)
    assert (a | b) | c == a | (b | c)
    assert (a & b) & c == a & (b & c)
    assert a | a == a
    assert a & a == a
    assert hash((a | b) | c) == hash(a | (b | c))
    assert is_met(a | b, called_tools) == is_met(b | a, called_tools)
    assert is_met(a & b, called_tools) == is_met(b & a, called_tools)
    assert is_met(a & (b | c), called_tools) == is_met((a & b) | (a & c), called_tools)
    assert is_met(a | (a & b), called_tools) == is_met(a, called_tools)


@given(TREES)
def test_a_combination_is_hashable_picklable_and_has_an_exact_repr(tree: Tree) -> None:
    condition = build_condition(tree)
    assert build_condition(tree) == condition
    assert hash(build_condition(tree)) == hash(condition)
    assert pickle.loads(pickle.dumps(condition)) == condition
    assert eval(repr(condition)) == condition


def test_the_repr_of_a_combination_has_its_parentheses() -> None:
    condition = MaxIterations(3) | (TokenLimit(100) & ToolCalled("x"))
    assert repr(condition) == "MaxIterations(3) | (TokenLimit(100) & ToolCalled('x'))"
    assert repr((MaxIterations(3) | NoToolCalls()) & TimeLimit(60)) == (
        "(MaxIterations(3) | NoToolCalls()) & TimeLimit(60)"
    )


def test_the_reason_names_all_conditions_of_and_but_the_first_of_or() -> None:
    condition = MaxIterations(3) | (TokenLimit(100) & ToolCalled("x")) | NoToolCalls()
    usage = {"prompt_tokens": 100}
    met_by_both = make_snapshot(make_calls("x"), iteration=1, usage=usage)
    assert condition.check(met_by_both) == "TokenLimit(100) and ToolCalled('x')"
    assert (
        condition.check(make_snapshot(make_calls("x"), iteration=3, usage=usage))
        == "MaxIterations(3)"
    )
    assert condition.check(make_snapshot(make_calls("y"), usage=usage)) is None


def test_a_custom_condition_is_hashable_and_picklable() -> None:
    condition = CustomCondition(is_late) | CustomCondition(explain_lateness, name="lateness")
    assert condition == CustomCondition(is_late, "is_late") | CustomCondition(
        explain_lateness, "lateness"
    )
    unpickled = pickle.loads(pickle.dumps(CustomCondition(explain_lateness)))
    assert unpickled == CustomCondition(explain_lateness)
    assert hash(unpickled) == hash(CustomCondition(explain_lateness))
    assert MaxIterations(3) != MaxIterations(4)
    assert MaxIterations(3) != TimeLimit(3)
    with pytest.raises(AttributeError):
        condition.conditions = ()  # type: ignore[attr-defined]


def test_a_subclass_of_the_caller_can_be_combined() -> None:
    class Never(TerminationCondition):
        def check(self, make_snapshot: RunSnapshot) -> str | None:
            return None

    never = Never()
    assert (never | MaxIterations(1)).check(make_snapshot(iteration=1)) == "MaxIterations(1)"
    assert (never & MaxIterations(1)).check(make_snapshot(iteration=1)) is None
