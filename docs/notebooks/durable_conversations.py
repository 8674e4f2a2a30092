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
# # Durable conversations
#
# Conversations that go on tomorrow, in another process, also where a process was killed in the
# middle of its work; and what an agent remembers beyond them.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb durable_conversations.py` makes a file for
# Jupyter. `python durable_conversations.py` does not work, for cells may `await`.
#
# *What it asks:* the model that `LOCUS_MODEL_ID` names, such as `openai:gpt-4o`; it has to know
# tools. With nothing set, a practice server on this machine, which answers by a few rules and not
# by a model. No account is needed.

# %%
import tempfile
from pathlib import Path

from locus import Agent, tool
from locus.memory import SQLiteCheckpointer
from locus.testing.practice_server import PracticeServer, example_model

practice = PracticeServer().start()
model = example_model(practice, tools=True, temperature=0, max_tokens=300)
print(f"asking {type(model).__name__}, {model.config.model}")

folder = tempfile.TemporaryDirectory()
database = Path(folder.name) / "conversations.db"
checkpointer = SQLiteCheckpointer(database)

# %% [markdown]
# ## A thread
#
# A thread is a conversation with a name. Each step of it is saved, and the next run goes on where
# the last one ended.

# %%
agent = Agent(model, checkpointer=checkpointer)
print(agent.run_sync("My name is Ada.", thread_id="ada").message)
print(agent.run_sync("What is my name?", thread_id="ada").message)

# %% [markdown]
# Another agent object, another checkpointer on the same file, tomorrow: the same thread.

# %%
with SQLiteCheckpointer(database) as tomorrow:
    result = await Agent(model, checkpointer=tomorrow).arun("What is my name?", thread_id="ada")
    print(result.message)
    print(f"[{len(result.state.messages)} messages; threads: {', '.join(tomorrow.threads())}]")

# %% [markdown]
# ## Killed in the middle
#
# Another process reserves a room and then pays; in the middle of paying the power fails. The
# program stands in a file, because both processes need it.

# %%
import pickle
import subprocess
import sys

program = Path(folder.name) / "booking.py"
program.write_text('''\
import os, pickle, sys
from pathlib import Path

from locus import Agent, tool
from locus.memory import SQLiteCheckpointer

HERE = Path(__file__).parent
POWER_FAILS = __name__ == "__main__"


def note(line):
    with open(HERE / "done.txt", "a") as file:
        print(line, file=file)


@tool
def reserve(city: str) -> str:
    """Reserve a room in a city."""
    note(f"process {'1' if POWER_FAILS else '2'}: reserved a room in {city}")
    return f"a room in {city}"


@tool
def pay(amount: float) -> str:
    """Pay an amount of euros."""
    if POWER_FAILS:
        os._exit(9)
    note(f"process {'1' if POWER_FAILS else '2'}: paid {amount}")
    return f"{amount} euros paid"


def booking(model):
    checkpointer = SQLiteCheckpointer(HERE / "conversations.db")
    return Agent(model, [reserve, pay], checkpointer=checkpointer)


if __name__ == "__main__":
    agent = booking(pickle.load(sys.stdin.buffer))
    agent.run_sync("Reserve a room in Rome, then pay 80 euros.", thread_id="trip")
''')

ended = subprocess.run([sys.executable, program], input=pickle.dumps(model), check=False)
print("the process ended with", ended.returncode)
print((Path(folder.name) / "done.txt").read_text(), end="")

# %% [markdown]
# The reservation is in the checkpoint, the payment is not. `resume` does what was left undone, and
# nothing twice.

# %%
sys.path.append(folder.name)
from booking import booking

trip = booking(model)
print("waiting to be run:", [call.name for call in trip.checkpointer.load("trip").pending_calls()])

result = await trip.aresume(thread_id="trip")
print(result.message)
print((Path(folder.name) / "done.txt").read_text(), end="")

# %% [markdown]
# ## One at a time
#
# Two processes that go on with one thread would write over each other. The second one is told so.

# %%
from locus.memory import ThreadBusyError

with checkpointer.claim("ada"):  # as a run does
    try:
        agent.run_sync("What is my name?", thread_id="ada")
    except ThreadBusyError as error:
        print(error)

# %% [markdown]
# ## Once and no more
#
# An idempotent tool runs once for the same arguments in a thread. A repeat gets the first result.

# %%
charged = []


@tool(idempotent=True)
def charge(amount: float) -> str:
    """Charge the customer's card."""
    charged.append(amount)
    return f"charged {amount}"


careful = Agent(model, [charge], checkpointer=checkpointer)
for _ in range(2):
    print(careful.run_sync("Charge 25 euros.", thread_id="order 7").message)
print("the card was charged", len(charged), "time")

# %% [markdown]
# ## Long conversations
#
# A conversation manager keeps what is sent within bounds. What is saved stays whole.

# %%
from locus.memory import SlidingWindowManager

brief = Agent(
    model,
    checkpointer=checkpointer,
    conversation_manager=SlidingWindowManager(max_messages=3),
)
for country in ("France", "Italy", "Norway", "Spain"):
    result = brief.run_sync(f"What is the capital of {country}?", thread_id="quiz")
    if practice.requests:
        sent = len(practice.requests[-1].json()["messages"])
        print(f"{result.message:35} sent: {sent}, kept: {len(result.state.messages)} messages")

# %% [markdown]
# ## Facts that outlive a conversation
#
# A memory store holds facts by namespace and key. They are shown to the model in its system prompt,
# in every thread.

# %%
from locus.memory import SQLiteStore

store = SQLiteStore(Path(folder.name) / "facts.db")
store.put("ada", "favourite colour", "green")
print(store.render("ada"))

remembering = Agent(model, memory=store, memory_namespace="ada")
print(remembering.run_sync("What is my favourite colour?").message)

# %% [markdown]
# ## Conversations that the service keeps
#
# On a stored responses model the service keeps the conversation. The agent sends new messages only
# and saves the service's id with the thread. (This part asks the practice server; `responses.py`
# says how to ask OCI.)

# %%
from locus import OCIResponsesModel

service = OCIResponsesModel("openai.gpt-4.1", api_key="any", base_url=practice.url)
kept = Agent(service, checkpointer=checkpointer)
kept.run_sync("My name is Ada.", thread_id="kept")
result = await kept.arun("What is my name?", thread_id="kept")
print(result.message)

body = practice.requests[-1].json()
print(f"sent: {len(body['input'])} message, and {body['previous_response_id']}")
print("saved:", dict(result.state.provider_state))

# %%
store.close()
trip.checkpointer.close()
checkpointer.close()
for used in (model, service):
    await used.close()
practice.close()
sys.path.remove(folder.name)
folder.cleanup()
