# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tools and agents
#
# A tool is a Python function that a model may call. An agent calls a model with tools until the
# model needs no more tools.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb tools_and_agents.py` makes a file for Jupyter.
# `python tools_and_agents.py` does not work, because cells may `await`.
#
# *Which model it uses:* the one in `LOCUS_MODEL_ID`, such as `openai:gpt-4o`; it must support
# tools. If that is not set, a practice server on this machine, which chooses tools by a few rules
# and not with a model. No account is needed.

# %%
from locus.testing.practice import PracticeServer, choose_example_model

practice = PracticeServer().start()
model = choose_example_model(practice, calls_tools=True, temperature=0, max_tokens=300)
print(f"asking {type(model).__name__}, {model.config.model}")

# %% [markdown]
# ## A tool
#
# The model sees the types and the docstring. You can still call the function yourself.

# %%
from typing import Literal

from locus import tool

PRICES = {"lamp": 40.0, "chair": 75.5}


@tool
def price(item: str) -> float:
    """What something costs, in euros.

    Args:
        item: the thing, in one word.
    """
    if item not in PRICES:
        raise LookupError(f"the shop has no {item}")
    return PRICES[item]


@tool
async def convert(amount: float, currency: Literal["dollars", "yen"]) -> str:
    """Convert an amount of euros into another currency."""
    rate = {"dollars": 1.1, "yen": 160.0}[currency]
    return f"{amount * rate:.2f} {currency}"


print("a function:", price("lamp"))
print("what the model sees:")
for name, argument in price.to_openai_schema()["function"]["parameters"]["properties"].items():
    print("   ", name, argument)

# %% [markdown]
# ## An agent
#
# Blocking. The model calls the tool for the price, reads the result, and calls the tool for the
# conversion. The first tool is blocking, the second one async.

# %%
from locus import Agent

agent = Agent(model, [price, convert], "You are a shop assistant. Be brief.")

result = agent.run_sync('Look up the price of the "lamp", then convert it to dollars.')
print(result.message)
print(f"[{result.iterations} model calls, {result.tool_calls} tool calls, {result.stop_reason}]")

# %% [markdown]
# The messages of the run:

# %%
for message in result.state.messages:
    for call in message.tool_calls:
        print(f"{message.role:10}{call.name} {dict(call.arguments)}")
    if message.text:
        print(f"{message.role:10}{message.text}")

# %% [markdown]
# ## The same, with `await`

# %%
result = await agent.arun('Look up the price of the "chair", then convert it to yen.')
print(result.message)

# %% [markdown]
# ## Events
#
# A run is a stream of events. The last one is always a `TerminateEvent`.

# %%
from locus.core.events import (
    ModelChunkEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)

async with agent.run('Look up the price of the "chair".') as events:
    async for event in events:
        match event:
            case ModelChunkEvent(content=str(text)):
                print(text, end="|")
            case ThinkEvent(iteration=number, tool_calls=calls):
                print(f"\n{number}. the model has answered; tools it asks for: {len(calls)}")
            case ToolStartEvent(tool_name=name, arguments=arguments):
                print(f"   {name} starts with {dict(arguments)}")
            case ToolCompleteEvent(tool_name=name, result=tool_result, duration_ms=milliseconds):
                print(f"   {name} says {tool_result} after {milliseconds:.1f} ms")
            case TerminateEvent(reason=reason, total_tool_calls=count):
                print(f"the end: {reason}; {count} tool calls")

# %% [markdown]
# Blocking code has the same events, in the same order:

# %%
with agent.stream_sync('Look up the price of the "chair".') as events:
    print(*(type(event).__name__ for event in events if not isinstance(event, ModelChunkEvent)))

# %% [markdown]
# ## Several calls at once
#
# The tools of one response run at the same time. The results have the order of the calls.

# %%
import time

starts, ends = [], []


@tool
def weather(city: str) -> str:
    """The weather in a city, now."""
    starts.append(time.perf_counter())
    time.sleep(0.3)  # a slow service
    ends.append(time.perf_counter())
    return f"{15 + len(city)} °C"


result = Agent(model, [weather]).run_sync("Compare the weather in Rome, in Oslo and in Madrid.")
print(result.message)
order = "at the same time" if max(starts) < min(ends) else "one after another"
print(f"{result.tool_calls} calls ran {order}, in {max(ends) - min(starts):.1f} s")

# %% [markdown]
# ## When a tool fails
#
# The model gets the error and continues. No tool is run with wrong arguments.

# %%
result = agent.run_sync('Look up the price of the "piano".')
for execution in result.state.tool_executions:
    print(execution.tool_name, dict(execution.arguments), "->", execution.error)
print(result.message)

# %% [markdown]
# ## The context of a tool
#
# The agent passes a parameter that is annotated with `ToolContext`. The model does not see it.

# %%
from locus.tools import ToolContext


@tool
def orders(context: ToolContext) -> list[str]:
    """The customer's orders."""
    return [f"a lamp for {context.metadata['customer']}"]


shop = Agent(model, [orders])
print(shop.run_sync("What did I order?", metadata={"customer": "Ada"}).message)

# %% [markdown]
# ## Hooks
#
# An object with any of the hook methods is called at each step, and may change it: here one hook
# cancels some calls, and another one prints the calls.

# %%


class SoldOutHook:
    def on_before_tool_call(self, event):
        if event.arguments.get("item") == "chair":
            event.cancel = "chairs are sold out"


class LogHook:
    async def on_after_tool_call(self, event):
        print(f"   log: {event.tool_name} {dict(event.arguments)} -> {event.result or event.error}")


agent_with_hooks = agent.copy(hooks=[SoldOutHook(), LogHook()])
print(agent_with_hooks.run_sync('Look up the price of the "lamp".').message)
print(agent_with_hooks.run_sync('Look up the price of the "chair".').message)

# %% [markdown]
# ## When to stop
#
# By default an agent stops when the model calls no more tools. Conditions combine with `|` and `&`.

# %%
from locus.core.termination import TimeLimit, ToolCalled

agent_with_limit = agent.copy(termination=ToolCalled("price") | TimeLimit(30))
result = agent_with_limit.run_sync('Look up the price of the "lamp", then convert it to dollars.')
print(f"stopped by {result.stop_reason} after {result.tool_calls} call")

# %% [markdown]
# ## A typed result

# %%
import attrs


@attrs.frozen
class City:
    """A city, and how many people live there."""

    name: str
    people: int


result = Agent(model, output_schema=City).run_sync("Cologne is a city of 1087000 people.")
print(result.parsed)

# %%
await model.close()
practice.close()
