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
# The responses API is OpenAI's newer API; OCI has it too. It adds that the service may store the
# conversation, so that only new messages have to be sent.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb responses.py` makes a file for Jupyter.
# `python responses.py` does not work, because cells may `await`.
#
# *Which model it uses:* by default a practice server on your own machine, which stores
# conversations as the service does and answers by a few rules. No account and no extra is needed.
# If `OCI_PROFILE` is set (and the extra `oci` installed), it uses the real service and the model in
# `LOCUS_MODEL_ID`, such as `oci:openai.gpt-4.1`.

# %%
import os

from locus import Message, OCIResponsesModel
from locus.testing.practice import PracticeServer

practice = PracticeServer().start()
profile = os.environ.get("OCI_PROFILE")
environment_model = os.environ.get("LOCUS_MODEL_ID", "")
name = (
    environment_model.removeprefix("oci:")
    if environment_model.startswith("oci:")
    else "openai.gpt-4.1"
)
auth_arguments = {"profile": profile} if profile else {"api_key": "any", "base_url": practice.url}

stored = OCIResponsesModel(name, store=True, **auth_arguments)
unstored = OCIResponsesModel(name, store=False, **auth_arguments)
print("asking", f"OCI as the profile {profile}" if profile else f"practice at {practice.url}")


def print_last_request() -> None:
    """Print the last request to the practice server; nothing for the real service."""
    if not practice.requests:
        return
    body = practice.requests[-1].json()
    print(f"    store={body.get('store')}, previous={body.get('previous_response_id')}")
    for item in body["input"]:
        item_type = item.get("type", "message")
        if item_type == "message":
            content = item["content"]
            text = content if isinstance(content, str) else content[0]["text"]
        else:
            text = item.get("output") or item.get("arguments")
        print(f"    > {item.get('role', item_type)}: {text}")


# %% [markdown]
# ## 1. Conversations that are not stored
#
# `store=False`: the service stores nothing (zero data retention). As in chat completions, all
# messages are sent each time, so that the model knows them.

# %%
conversation = [Message.user("My name is Ada.")]
response = unstored.complete_sync(conversation)
print(response.content)
print_last_request()

conversation += [response.message, Message.user("What is my name?")]
response = unstored.complete_sync(conversation)
print(response.content)
print_last_request()
print("stored by the service:", response.provider_state)

# %% [markdown]
# Without the earlier messages the model cannot know:

# %%
print((await unstored.complete("What is my name?")).content)

# %% [markdown]
# ## 2. Conversations that the service stores
#
# `store=True`, the default: each response has an id. If you pass `provider_state` to the next call,
# only the new message is sent.

# %%
first = stored.complete_sync("My name is Ada.")
print(first.content, "|", dict(first.provider_state))
print_last_request()

second = stored.complete_sync("What is my name?", provider_state=first.provider_state)
print(second.content)
print_last_request()

# %% [markdown]
# A program that has all messages may pass all of them; those that the service has are not sent.

# %%
conversation = [
    Message.user("My name is Ada."),
    first.message,
    Message.user("What is the capital of Norway?"),
]
response = await stored.complete(conversation, provider_state=first.provider_state)
print(response.content)
print_last_request()

# %% [markdown]
# Services delete conversations after some weeks. That is a separate error; to continue, send all
# messages without an id.

# %%
from locus.models.providers.oci import OCIResponsesStateLostError

lost_state = {"previous_response_id": "resp_of_last_year"}
try:
    stored.complete_sync("What is my name?", provider_state=lost_state)
except OCIResponsesStateLostError as error:
    print(error)

# %% [markdown]
# ## 3. A round of tools
#
# The model's calls are items of the response, and their results are sent with the same `call_id`.
# The service has stored the calls, so only the results are sent.

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
response_with_calls = stored.complete_sync(conversation, tools=[weather])
conversation.append(response_with_calls.message)
for call in response_with_calls.tool_calls:
    print("the model calls", call.name, dict(call.arguments))
    result = ToolResult(call.id, call.name, f"sunny in {call.arguments['city']}")
    conversation.append(Message.tool(result))

response = stored.complete_sync(
    conversation, tools=[weather], provider_state=response_with_calls.provider_state
)
print(response.content)
print_last_request()

# %% [markdown]
# ## 4. Streams
#
# The last event has the `provider_state`, so a streamed conversation continues like any other.

# %%
with stored.stream_sync("Tell me a story.") as events:
    for event in events:
        print(event.content or "", end="|" if event.content else "", flush=True)
print(f"\n[{event.stop_reason}; stored as {dict(event.provider_state)}]")

# %%
async with stored.stream("Summarise it.", provider_state=event.provider_state) as events:
    async for event in events:
        print(event.content or "", end="", flush=True)
print()

# %%
await stored.close()
await unstored.close()
practice.close()
