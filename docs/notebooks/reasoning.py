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
# # Reasoning
#
# Three ways for an agent to look at its own work: reflexion assesses its steps, grounding checks
# its final answer against the results of tools, and GSAR scores that answer by typed grounding.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb reasoning.py` makes a file for Jupyter.
# `python reasoning.py` does not work, because cells may `await`.
#
# *Which model it uses:* most cells use models whose answers are written down, because they have to
# go wrong in a certain way. The last one uses the model in `LOCUS_MODEL_ID`, such as
# `openai:gpt-4o`; if that is not set, a practice server on this machine. No account is needed.
#
# *What is drawn:* the scores, if matplotlib is installed (the extra `notebooks`).

# %%
from locus import Agent, tool
from locus.core.events import GroundingEvent, ReflectEvent
from locus.testing import ScriptedModel, tool_call


@tool
def disk(host: str) -> str:
    """How full the disk of a host is.

    Args:
        host: the name of the host.
    """
    if host != "db1":
        raise LookupError(f"there is no host {host}")
    return "98 percent full since 2026-03-01"


def call(host):
    return tool_call("disk", host=host)


# %% [markdown]
# ## Reflexion
#
# After each round of tool calls the agent assesses it. A failed call and a loop give the model
# advice, in a message that is marked as the agent's own.

# %%
model = ScriptedModel(call("db9"), call("db9"), call("db9"), call("db1"), "The disk is full.")
with Agent(model, [disk], reflexion=True).stream_sync("What is wrong with db1?") as run:
    for event in run:
        if isinstance(event, ReflectEvent):
            loop = ", a loop" if event.loop_detected else ""
            print(f"step {event.iteration}: confidence {event.confidence:.2f}{loop}")
            print(f"   {event.assessment}")

print(run.result.state.messages[3].text)
print(dict(run.result.state.messages[3].metadata))

# %% [markdown]
# ## Grounding
#
# By rules, without a model: every number of a claim has to be in the results of the tools, and most
# of its words.

# %%
model = ScriptedModel(
    call("db1"),
    "The disk of db1 is 75 percent full.",
    "The disk of db1 is 98 percent full, since 2026-03-01.",
)
result = await Agent(model, [disk], grounding=True).arun("What is wrong with db1?")
print(result.message)
print(
    f"accepted: {result.grounding_report.accepted}, after {result.grounding_report.retries} retry"
)

# %% [markdown]
# ## The score of GSAR
#
# A judge puts each claim into one of four groups, and gives it a type, which has a weight.

# %%
from locus.reasoning import Claim, Partition, decide, gsar_score

full = Claim("The disk is 98 percent full.", "tool_match")
since = Claim("It is full since March.", "specific_data")
log = Claim("The log is the cause.", "inference")
for name, partition in {
    "supported": Partition(grounded=[full, since]),
    "one unsupported": Partition(grounded=[full, since], ungrounded=[log]),
    "one contradicted": Partition(grounded=[full, since], contradicted=[log]),
    "no claims": Partition(),
}.items():
    score = gsar_score(partition)
    print(f"{name:17}{score:.2f} {decide(score)}")

# %% [markdown]
# ## A trajectory
#
# The agent's answer is judged, and has it improved: below 0.65 the model looks for more evidence,
# below 0.80 it writes its answer anew. This judge counts the words "perhaps".

# %%
from locus import GSAREvaluator
from locus.reasoning import JudgeOutput


class CautiousJudge:
    async def judge(self, report, evidence):
        claims = [Claim(text, "tool_match") for text in report.split(". ")]
        unsure = [claim for claim in claims if "perhaps" in claim.text]
        return JudgeOutput([claim for claim in claims if claim not in unsure], unsure)


model = ScriptedModel(
    "The disk is full. It is perhaps the log. It is perhaps an attack",
    call("db1"),
    "The disk is full. It is 98 percent. Since March. It is perhaps the log",
    "The disk is full. It is 98 percent. Since March",
)
agent = Agent(model, [disk], gsar=GSAREvaluator(CautiousJudge()))
with agent.stream_sync("What is wrong with db1?") as run:
    for event in run:
        if isinstance(event, GroundingEvent):
            print(f"{event.score:.2f}, not supported: {list(event.ungrounded)}")

gsar = run.result.gsar
for look in gsar.trajectory:
    print(f"look {look.iteration}: {look.score:.2f} {look.decision}")
print(f"degraded: {gsar.degraded}, replans: {gsar.replans}")

# %%
from importlib.util import find_spec

if find_spec("matplotlib"):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    looks = [look.iteration for look in gsar.trajectory]
    axes.plot(looks, [look.score for look in gsar.trajectory], marker="o")
    for threshold, name in ((0.80, "proceed"), (0.65, "regenerate")):
        axes.axhline(threshold, linestyle="--", linewidth=1, color="gray")
        axes.annotate(name, (looks[0], threshold), va="bottom")
    axes.set(xlabel="look", ylabel="score", ylim=(0, 1.05), xticks=looks)
    print(f"drawn: {len(axes.lines[0].get_xdata())} looks")
else:
    for look in gsar.trajectory:
        print(f"{look.iteration} {'#' * round(look.score * 40)}")

# %% [markdown]
# ## With a real model
#
# The judge is a model that is asked for a structured answer. A small model may not manage that;
# then the answer is kept, and the result says why it is degraded. `k_max=0`: one look.
# (`gsar=True` makes the agent's own model the judge, with two replans.)

# %%
from locus.reasoning import StructuredOutputGSARJudge
from locus.testing.practice import PracticeServer, choose_example_model

practice = PracticeServer().start()
model = choose_example_model(practice, calls_tools=True, temperature=0, max_tokens=500)
evaluator = GSAREvaluator(StructuredOutputGSARJudge(model), k_max=0)
result = await Agent(model, [disk], gsar=evaluator).arun('What does the tool disk say of "db1"?')
print(result.message)
print(f"score {result.gsar.score:.2f}, degraded: {result.gsar.degraded}")
for look in result.gsar.trajectory:
    print(f"claims: {look.verdict.partition.total_claims}, {look.decision}")

# %%
await model.close()
practice.close()
