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
# # Three ways into Oracle Cloud
#
# OCI's Generative AI service can be asked in three ways. Here they stand side by side: the same
# questions, the same code around them, and what went over the wire each time.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb oci_transports.py` makes a file for Jupyter.
# `python oci_transports.py` does not work, for cells may `await`.
#
# *What it asks:* with nothing set, a practice server on your own machine, which answers by a few
# rules and not by a model. No account is needed, only the extra `oci` of Locus. With
# `OCI_PROFILE` set it asks the real service, in the name of that profile of `~/.oci/config`, the
# model that `LOCUS_MODEL_ID` names (such as `oci:meta.llama-3.3-70b-instruct`).

# %%
import os
import tempfile
from importlib.util import find_spec

from locus.testing.practice_server import PracticeServer

practice = PracticeServer().start()
folder = tempfile.TemporaryDirectory()

profile = os.environ.get("OCI_PROFILE")
named = os.environ.get("LOCUS_MODEL_ID", "")
name = named.removeprefix("oci:") if named.startswith("oci:") else "meta.llama-3.3-70b-instruct"
signed = find_spec("oci") is not None  # Oracle's package signs requests
print("asking", f"OCI as the profile {profile}" if profile else f"practice at {practice.url}")

# %% [markdown]
# ## The way in
#
# A profile says who you are; its key signs every request. For practice one is made up on the spot:
# `practice.oci_profile` writes a key and a config file into a folder of their own.
#
# Without Oracle's package nothing can be signed. The two OpenAI-style models also take an API key
# of the service, which needs no signature; the third is then left out.

# %%
if profile:
    openai_style = {"profile": profile}
    oracle_style = {"profile_name": profile}
elif signed:
    config_file = practice.oci_profile(folder.name)
    openai_style = {"profile": "PRACTICE", "config_file": config_file, "base_url": practice.url}
    oracle_style = {
        "profile_name": "PRACTICE",
        "config_file": config_file,
        "service_endpoint": practice.url,
    }
else:
    openai_style = {"api_key": "any", "base_url": practice.url}
    oracle_style = None
    print('OCIModel is left out: pip install "locus-llm[oci]"')

# %% [markdown]
# ## Three models
#
# | class | asks at | take it for |
# |---|---|---|
# | `OCIChatCompletionsModel` | `/openai/v1/chat/completions` | chat models, if in doubt |
# | `OCIModel` | `/20231130/actions/chat` | Cohere's command-r, and dedicated clusters |
# | `OCIResponsesModel` | `/openai/v1/responses` | conversations that the service keeps |

# %%
from locus import OCIChatCompletionsModel, OCIModel, OCIResponsesModel

few = {"max_tokens": 200, "temperature": 0}
models = {
    "chat completions": OCIChatCompletionsModel(name, **openai_style, **few),
    "responses": OCIResponsesModel(name, **openai_style, **few),
}
if oracle_style:
    models["actions/chat"] = OCIModel(name, **oracle_style, **few)
    models["actions/chat, Cohere"] = OCIModel("cohere.command-r-plus", **oracle_style, **few)

for way, model in models.items():
    print(f"{way:22}{type(model).__name__:25}{model.config.model}")

# %% [markdown]
# ## One question, blocking

# %%
for way, model in models.items():
    answer = model.complete_sync("What is the capital of France?")
    print(f"{way:22}{answer.content.strip()}")
    print(f"{'':22}[{answer.finish_reason}; {answer.total_tokens} tokens]")

# %% [markdown]
# Four dialects, one kind of answer. What the practice server received shows the difference (against
# the real service there is nothing to see here):

# %%
for request in practice.requests:
    body = request.json()
    signature = "signed" if "Signature" in request.headers["authorization"] else "with a key"
    print(f"POST {request.path}, {signature}")
    print("    ", ", ".join(body.get("chatRequest", body)))

# %% [markdown]
# ## The same, with `await`
#
# In Jupyter a cell may `await`. It is the same model object; nothing has to be set up for it.

# %%
for way, model in models.items():
    answer = await model.complete("Why is the sky blue?")
    print(f"{way:22}{answer.content.strip()}")

# %% [markdown]
# ## Streams
#
# Each piece is printed as it comes, with a bar behind it.

# %%
for way, model in models.items():
    print(f"{way}: ", end="")
    async with model.stream("Tell me a story.") as events:
        async for event in events:
            print(event.content or "", end="|" if event.content else "")
    print()

# %% [markdown]
# ## Tools
#
# The model asks for a tool, we run it, the model reads the result: the same code for each way. (The
# practice server speaks of Cohere's format only the words, so that one sits this out.)

# %%
from locus import Message, ToolResult

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

for way, model in models.items():
    if way.endswith("Cohere"):
        continue
    conversation = [Message.user("Compare the weather in Rome and in Oslo.")]
    answer = model.complete_sync(conversation, tools=[weather])
    conversation.append(answer.message)
    for call in answer.tool_calls:
        print(f"{way:22}{call.name}({dict(call.arguments)})")
        result = ToolResult(call.id, call.name, f"{15 + len(call.arguments['city'])} °C")
        conversation.append(Message.tool(result))
    print(f"{'':22}{model.complete_sync(conversation, tools=[weather]).content}")

# %% [markdown]
# ## A conversation that changes its way
#
# Messages belong to nobody. Each model continues what another one began.

# %%
conversation = [Message.user("My name is Ada.")]
ways = list(models.items())
for number, (way, model) in enumerate(ways):
    answer = await model.complete(conversation)
    print(f"{way:22}{answer.content.strip()}")
    conversation.append(answer.message)
    if number + 1 < len(ways):
        conversation.append(Message.user("What is my name?"))

# %% [markdown]
# ## By name
#
# `get_model` picks between the first two by the model's name. The third is never picked for you.

# %%
from locus import get_model

for said in ("oci:openai.gpt-4.1", "oci:cohere.command-r-plus"):
    picked = get_model(said, profile="DEFAULT")  # making a model reads no file
    print(f"{said:28}{type(picked).__name__}")

# %%
for model in models.values():
    await model.close()
practice.close()
folder.cleanup()
