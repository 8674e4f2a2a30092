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
# Conversations that continue later in another process, even if a process was killed during a run;
# and facts that an agent remembers for all conversations.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb durable_conversations.py` makes a file for
# Jupyter. `python durable_conversations.py` does not work, because cells may `await`.
#
# *Which model it uses:* the one in `LOCUS_MODEL_ID`, such as `openai:gpt-4o`; it must support
# tools. If that is not set, a practice server on this machine, which answers by a few rules and
# not with a model. No account is needed.

# %%
import tempfile
from pathlib import Path

from locus import Agent, tool
from locus.memory import SQLiteCheckpointer
from locus.testing.practice import PracticeServer, choose_example_model

practice = PracticeServer().start()
model = choose_example_model(practice, calls_tools=True, temperature=0, max_tokens=300)
print(f"asking {type(model).__name__}, {model.config.model}")

folder = tempfile.TemporaryDirectory()
database = Path(folder.name) / "conversations.db"
checkpointer = SQLiteCheckpointer(database)

# %% [markdown]
# ## A thread
#
# A thread is a conversation with a name. Each step is saved, and the next run continues where the
# last one ended.

# %%
agent = Agent(model, checkpointer=checkpointer)
print(agent.run_sync("My name is Ada.", thread_id="ada").message)
print(agent.run_sync("What is my name?", thread_id="ada").message)

# %% [markdown]
# Another agent object and another checkpointer on the same file continue the same thread.

# %%
with SQLiteCheckpointer(database) as second_checkpointer:
    result = await Agent(model, checkpointer=second_checkpointer).arun(
        "What is my name?", thread_id="ada"
    )
    print(result.message)
    threads = ", ".join(second_checkpointer.threads())
    print(f"[{len(result.state.messages)} messages; threads: {threads}]")

# %% [markdown]
# ## Killed in the middle
#
# Another process reserves a room and then pays; it is killed in the middle of the payment. The
# program is in a file, because both processes need it.

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

FOLDER = Path(__file__).parent
IS_KILLED = __name__ == "__main__"


def log(line):
    with open(FOLDER / "done.txt", "a") as file:
        print(line, file=file)


@tool
def reserve(city: str) -> str:
    """Reserve a room in a city."""
    log(f"process {'1' if IS_KILLED else '2'}: reserved a room in {city}")
    return f"a room in {city}"


@tool
def pay(amount: float) -> str:
    """Pay an amount of euros."""
    if IS_KILLED:
        os._exit(9)
    log(f"process {'1' if IS_KILLED else '2'}: paid {amount}")
    return f"{amount} euros paid"


def make_booking_agent(model):
    checkpointer = SQLiteCheckpointer(FOLDER / "conversations.db")
    return Agent(model, [reserve, pay], checkpointer=checkpointer)


if __name__ == "__main__":
    agent = make_booking_agent(pickle.load(sys.stdin.buffer))
    agent.run_sync("Reserve a room in Rome, then pay 80 euros.", thread_id="trip")
''')

process = subprocess.run([sys.executable, program], input=pickle.dumps(model), check=False)
print("the process ended with", process.returncode)
print((Path(folder.name) / "done.txt").read_text(), end="")

# %% [markdown]
# The reservation is in the checkpoint, the payment is not. `resume` runs the remaining calls, and
# no call twice.

# %%
sys.path.append(folder.name)
from booking import make_booking_agent

trip_agent = make_booking_agent(model)
print(
    "waiting to be run:",
    [call.name for call in trip_agent.checkpointer.load("trip").pending_calls()],
)

result = await trip_agent.aresume(thread_id="trip")
print(result.message)
print((Path(folder.name) / "done.txt").read_text(), end="")

# %% [markdown]
# ## One at a time
#
# Two processes that continue one thread would overwrite each other's steps. The second one gets an
# error.

# %%
from locus.memory import ThreadBusyError

with checkpointer.claim("ada"):  # as a run does
    try:
        agent.run_sync("What is my name?", thread_id="ada")
    except ThreadBusyError as error:
        print(error)

# %% [markdown]
# ## Idempotent tools
#
# An idempotent tool runs once for the same arguments in a thread. A second call gets the first
# result.

# %%
charges = []


@tool(idempotent=True)
def charge(amount: float) -> str:
    """Charge the customer's card."""
    charges.append(amount)
    return f"charged {amount}"


charging_agent = Agent(model, [charge], checkpointer=checkpointer)
for _ in range(2):
    print(charging_agent.run_sync("Charge 25 euros.", thread_id="order 7").message)
print("the card was charged", len(charges), "time")

# %% [markdown]
# ## Long conversations
#
# A conversation manager limits the messages that are sent. All messages are saved.

# %%
from locus.memory import SlidingWindowManager

short_agent = Agent(
    model,
    checkpointer=checkpointer,
    conversation_manager=SlidingWindowManager(max_messages=3),
)
for country in ("France", "Italy", "Norway", "Spain"):
    result = short_agent.run_sync(f"What is the capital of {country}?", thread_id="quiz")
    if practice.requests:
        sent_count = len(practice.requests[-1].json()["messages"])
        print(
            f"{result.message:35} sent: {sent_count}, saved: {len(result.state.messages)} messages"
        )

# %% [markdown]
# ## Facts that outlive a conversation
#
# A memory store contains facts by namespace and key. The model sees them in its system prompt, in
# every thread.

# %%
from locus.memory import SQLiteStore

store = SQLiteStore(Path(folder.name) / "facts.db")
store.put("ada", "favourite colour", "green")
print(store.render("ada"))

agent_with_memory = Agent(model, memory=store, memory_namespace="ada")
print(agent_with_memory.run_sync("What is my favourite colour?").message)

# %% [markdown]
# ## Conversations that the service stores
#
# With a responses model and `store=True` the service stores the conversation. The agent sends only
# new messages, and saves the service's id with the thread. (This part uses the practice server;
# `responses.py` shows how to use OCI.)

# %%
from locus import OCIResponsesModel

service = OCIResponsesModel("openai.gpt-4.1", api_key="any", base_url=practice.url)
stored_agent = Agent(service, checkpointer=checkpointer)
stored_agent.run_sync("My name is Ada.", thread_id="stored")
result = await stored_agent.arun("What is my name?", thread_id="stored")
print(result.message)

body = practice.requests[-1].json()
print(f"sent: {len(body['input'])} message, and {body['previous_response_id']}")
print("saved:", dict(result.state.provider_state))

# %%
store.close()
trip_agent.checkpointer.close()
checkpointer.close()
for model_to_close in (model, service):
    await model_to_close.close()
practice.close()
sys.path.remove(folder.name)
folder.cleanup()
