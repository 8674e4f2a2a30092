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
# # Responses, in four parts
#
# The responses API is OpenAI's newer one; OCI has it too. What it adds: the service may keep the
# conversation, so that only what is new has to be sent.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb responses.py` makes a file for Jupyter.
# `python responses.py` does not work, for cells may `await`.
#
# *What it asks:* with nothing set, a practice server on your own machine, which keeps conversations
# as the service does and answers by a few rules. No account and no extra is needed. With
# `OCI_PROFILE` set (and the extra `oci` installed) it asks the real service, the model that
# `LOCUS_MODEL_ID` names, such as `oci:openai.gpt-4.1`.

# %%
import os

from locus import Message, OCIResponsesModel
from locus.testing.practice_server import PracticeServer

practice = PracticeServer().start()
profile = os.environ.get("OCI_PROFILE")
named = os.environ.get("LOCUS_MODEL_ID", "")
name = named.removeprefix("oci:") if named.startswith("oci:") else "openai.gpt-4.1"
way_in = {"profile": profile} if profile else {"api_key": "any", "base_url": practice.url}

stored = OCIResponsesModel(name, store=True, **way_in)
unstored = OCIResponsesModel(name, store=False, **way_in)
print("asking", f"OCI as the profile {profile}" if profile else f"practice at {practice.url}")


def on_the_wire() -> None:
    """Show what the practice server was sent last; the real service cannot be asked that."""
    if not practice.requests:
        return
    body = practice.requests[-1].json()
    print(f"    store={body.get('store')}, previous={body.get('previous_response_id')}")
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "message":
            content = item["content"]
            said = content if isinstance(content, str) else content[0]["text"]
        else:
            said = item.get("output") or item.get("arguments")
        print(f"    > {item.get('role', kind)}: {said}")


# %% [markdown]
# ## 1. Turns that nobody keeps
#
# `store=False`: the service keeps nothing (zero data retention). As in chat completions, the whole
# conversation is passed each time, and the model recalls from that.

# %%
conversation = [Message.user("My name is Ada.")]
answer = unstored.complete_sync(conversation)
print(answer.content)
on_the_wire()

conversation += [answer.message, Message.user("What is my name?")]
answer = unstored.complete_sync(conversation)
print(answer.content)
on_the_wire()
print("left with the service:", answer.provider_state)

# %% [markdown]
# Without the history the model cannot know:

# %%
print((await unstored.complete("What is my name?")).content)

# %% [markdown]
# ## 2. Turns that the service keeps
#
# `store=True`, the default: each answer has an id. Pass `provider_state` on, and only the new
# message goes over the wire.

# %%
first = stored.complete_sync("My name is Ada.")
print(first.content, "|", dict(first.provider_state))
on_the_wire()

second = stored.complete_sync("What is my name?", provider_state=first.provider_state)
print(second.content)
on_the_wire()

# %% [markdown]
# A program that keeps the whole conversation anyway may pass the whole; what the service has is
# left out of the request.

# %%
conversation = [
    Message.user("My name is Ada."),
    first.message,
    Message.user("What is the capital of Norway?"),
]
answer = await stored.complete(conversation, provider_state=first.provider_state)
print(answer.content)
on_the_wire()

# %% [markdown]
# Services forget, after some weeks. That is an error of its own, and the way on is to send the
# whole conversation without an id.

# %%
from locus.models.providers.oci import OCIResponsesStateLostError

lost = {"previous_response_id": "resp_of_last_year"}
try:
    stored.complete_sync("What is my name?", provider_state=lost)
except OCIResponsesStateLostError as error:
    print(error)

# %% [markdown]
# ## 3. A round of tools
#
# The model's calls come back as items of the answer, and their results are posted under the same
# `call_id`. The service keeps the calls too: the results alone are sent.

# %%
from locus import ToolResult

weather = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city, now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}

conversation = [Message.user("Compare the weather in Rome and in Oslo.")]
asked = stored.complete_sync(conversation, tools=[weather])
conversation.append(asked.message)
for call in asked.tool_calls:
    print("the model calls", call.name, dict(call.arguments))
    result = ToolResult(call.id, call.name, f"sunny in {call.arguments['city']}")
    conversation.append(Message.tool(result))

answer = stored.complete_sync(conversation, tools=[weather], provider_state=asked.provider_state)
print(answer.content)
on_the_wire()

# %% [markdown]
# ## 4. Streams
#
# The last event has the `provider_state`, so a streamed conversation goes on like any other.

# %%
with stored.stream_sync("Tell me a story.") as events:
    for event in events:
        print(event.content or "", end="|" if event.content else "", flush=True)
print(f"\n[{event.stop_reason}; kept as {dict(event.provider_state)}]")

# %%
async with stored.stream("Summarise it.", provider_state=event.provider_state) as events:
    async for event in events:
        print(event.content or "", end="", flush=True)
print()

# %%
await stored.close()
await unstored.close()
practice.close()
