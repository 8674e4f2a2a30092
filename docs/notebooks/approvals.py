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
# # Approvals
#
# An agent that asks a person before it does something that cannot be undone: it stops, the question
# is saved, somebody decides elsewhere, and another process goes on.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb approvals.py` makes a file for Jupyter.
# `python approvals.py` does not work, because cells may `await`.
#
# *Which model it uses:* the one in `LOCUS_MODEL_ID`, such as `openai:gpt-4o`; it must support
# tools. If that is not set, a practice server on this machine, which answers by a few rules and
# not with a model. No account is needed.

# %%
import tempfile
from pathlib import Path

from locus.testing.practice import PracticeServer, choose_example_model

practice = PracticeServer().start()
model = choose_example_model(practice, calls_tools=True, temperature=0, max_tokens=300)
print(f"asking {type(model).__name__}, {model.config.model}")

folder = tempfile.TemporaryDirectory()

# %% [markdown]
# ## A tool that asks
#
# `pay` runs only when a person agrees, if it is about more than 100 euros. The agent is in a file,
# because several processes need it.

# %%
import sys

program = Path(folder.name) / "cashier.py"
program.write_text('''\
from pathlib import Path

from locus import Agent, tool
from locus.memory import SQLiteCheckpointer

FOLDER = Path(__file__).parent


def is_large(arguments):
    return arguments["amount"] > 100


@tool(requires_approval=is_large)
def pay(amount: float) -> str:
    """Pay an amount of euros."""
    with open(FOLDER / "paid.txt", "a") as file:
        print(amount, file=file)
    return f"{amount} euros paid"


def make_cashier(model):
    return Agent(model, [pay], checkpointer=SQLiteCheckpointer(FOLDER / "conversations.db"))
''')

sys.path.append(folder.name)
from cashier import make_cashier

cashier = make_cashier(model)
print(cashier.run_sync("Pay 80 euros.", thread_id="lunch").stop_reason)

# %% [markdown]
# ## The agent asks and stops
#
# A large amount ends the run. Nothing waits in memory: the open call is in the checkpoint.

# %%
result = cashier.run_sync("Pay 900 euros.", thread_id="rent")
print(result.stop_reason)
for call in result.pending:
    print("waiting:", call.name, dict(call.arguments))

result = cashier.run_sync("Pay 5000 euros.", thread_id="car")
paid = Path(folder.name) / "paid.txt"
print("paid so far:", paid.read_text().split())

# %% [markdown]
# ## Somebody decides elsewhere
#
# Another program reads what waits, perhaps days later, and shows it to a person. It needs only the
# database, and no model.

# %%
from locus.memory import SQLiteCheckpointer

decisions = {}
with SQLiteCheckpointer(Path(folder.name) / "conversations.db") as database:
    for thread_id in database.threads():
        for call in database.load(thread_id).pending_calls():
            agreed = call.arguments["amount"] < 1000
            decisions[thread_id] = {call.id: True if agreed else "we cannot afford that"}
            print(
                f"{thread_id}: {call.name} {call.arguments['amount']}?", "yes" if agreed else "no"
            )

# %% [markdown]
# ## Another process goes on
#
# It runs the call that was approved, and tells the model the answer. Here it is a process of its
# own, under asyncio; the first one was blocking.

# %%
import pickle
import subprocess

worker = Path(folder.name) / "worker.py"
worker.write_text("""\
import asyncio, pickle, sys

from cashier import make_cashier

model, thread_id, approvals = pickle.load(sys.stdin.buffer)


async def main():
    result = await make_cashier(model).aresume(thread_id=thread_id, approvals=approvals)
    print(result.stop_reason, "-", result.message)


asyncio.run(main())
""")
message = pickle.dumps((model, "rent", decisions["rent"]))
process = subprocess.run([sys.executable, worker], input=message, capture_output=True, check=True)
print("the other process:", process.stdout.decode().strip())
print("paid so far:", paid.read_text().split())

# %% [markdown]
# ## No
#
# A reason instead of `True` is what the model reads as the result of the call. A decision counts
# once, and may be repeated: a worker that was killed can be started again with the same one.

# %%
for _ in range(2):
    result = await cashier.aresume(thread_id="car", approvals=decisions["car"])
print([message.text for message in result.state.messages if message.role == "tool"])
print("paid in the end:", paid.read_text().split())

# %%
cashier.checkpointer.close()
await model.close()
practice.close()
sys.path.remove(folder.name)
folder.cleanup()
