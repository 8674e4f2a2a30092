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
# # Three APIs of Oracle Cloud
#
# OCI's Generative AI service has three APIs for chat. This notebook compares them: the same
# questions, the same code, and what was sent each time.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb oci_transports.py` makes a file for Jupyter.
# `python oci_transports.py` does not work, because cells may `await`.
#
# *Which model it uses:* by default a practice server on your own machine, which answers by a few
# rules and not with a model. No account is needed, only the extra `oci` of Locus. If `OCI_PROFILE`
# is set, it uses the real service with that profile of `~/.oci/config`, and the model in
# `LOCUS_MODEL_ID` (such as `oci:meta.llama-3.3-70b-instruct`).

# %%
import os
import tempfile
from importlib.util import find_spec

from locus.testing.practice import PracticeServer

practice = PracticeServer().start()
folder = tempfile.TemporaryDirectory()

profile = os.environ.get("OCI_PROFILE")
environment_model = os.environ.get("LOCUS_MODEL_ID", "")
name = (
    environment_model.removeprefix("oci:")
    if environment_model.startswith("oci:")
    else "meta.llama-3.3-70b-instruct"
)
can_sign = find_spec("oci") is not None  # Oracle's package signs requests
print("asking", f"OCI as the profile {profile}" if profile else f"practice at {practice.url}")

# %% [markdown]
# ## Credentials
#
# A profile says who you are; its key signs every request. For the practice server a profile is
# created: `practice.write_oci_profile` writes a key and a config file into a folder.
#
# Nothing can be signed without Oracle's package. The two OpenAI-compatible models also take an API
# key of the service, which needs no signature; the third model is then left out.

# %%
if profile:
    openai_arguments = {"profile": profile}
    oci_arguments = {"profile_name": profile}
elif can_sign:
    config_file = practice.write_oci_profile(folder.name)
    openai_arguments = {"profile": "PRACTICE", "config_file": config_file, "base_url": practice.url}
    oci_arguments = {
        "profile_name": "PRACTICE",
        "config_file": config_file,
        "service_endpoint": practice.url,
    }
else:
    openai_arguments = {"api_key": "any", "base_url": practice.url}
    oci_arguments = None
    print('OCIModel is left out: pip install "locus-llm[oci]"')

# %% [markdown]
# ## Three models
#
# | class | endpoint | use it for |
# |---|---|---|
# | `OCIChatCompletionsModel` | `/openai/v1/chat/completions` | chat models, if in doubt |
# | `OCIModel` | `/20231130/actions/chat` | Cohere's command-r, and dedicated clusters |
# | `OCIResponsesModel` | `/openai/v1/responses` | conversations that the service stores |

# %%
from locus import OCIChatCompletionsModel, OCIModel, OCIResponsesModel

options = {"max_tokens": 200, "temperature": 0}
models = {
    "chat completions": OCIChatCompletionsModel(name, **openai_arguments, **options),
    "responses": OCIResponsesModel(name, **openai_arguments, **options),
}
if oci_arguments:
    models["actions/chat"] = OCIModel(name, **oci_arguments, **options)
    models["actions/chat, Cohere"] = OCIModel("cohere.command-r-plus", **oci_arguments, **options)

for api, model in models.items():
    print(f"{api:22}{type(model).__name__:25}{model.config.model}")

# %% [markdown]
# ## One question, blocking

# %%
for api, model in models.items():
    response = model.complete_sync("What is the capital of France?")
    print(f"{api:22}{response.content.strip()}")
    print(f"{'':22}[{response.finish_reason}; {response.total_tokens} tokens]")

# %% [markdown]
# Four wire formats, one kind of response. The requests that the practice server received show the
# difference (with the real service nothing is printed here):

# %%
for request in practice.requests:
    body = request.json()
    signature = "signed" if "Signature" in request.headers["authorization"] else "with a key"
    print(f"POST {request.path}, {signature}")
    print("    ", ", ".join(body.get("chatRequest", body)))

# %% [markdown]
# ## The same, with `await`
#
# In Jupyter a cell may `await`. It is the same model object, without further setup.

# %%
for api, model in models.items():
    response = await model.complete("Why is the sky blue?")
    print(f"{api:22}{response.content.strip()}")

# %% [markdown]
# ## Streams
#
# Each chunk is printed as it arrives, with a bar after it.

# %%
for api, model in models.items():
    print(f"{api}: ", end="")
    async with model.stream("Tell me a story.") as events:
        async for event in events:
            print(event.content or "", end="|" if event.content else "")
    print()

# %% [markdown]
# ## Tools
#
# The model calls a tool, we run it, the model reads the result: the same code for each API. (The
# practice server supports only text in Cohere's format, so that model is left out.)

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

for api, model in models.items():
    if api.endswith("Cohere"):
        continue
    conversation = [Message.user("Compare the weather in Rome and in Oslo.")]
    response = model.complete_sync(conversation, tools=[weather])
    conversation.append(response.message)
    for call in response.tool_calls:
        print(f"{api:22}{call.name}({dict(call.arguments)})")
        result = ToolResult(call.id, call.name, f"{15 + len(call.arguments['city'])} °C")
        conversation.append(Message.tool(result))
    print(f"{'':22}{model.complete_sync(conversation, tools=[weather]).content}")

# %% [markdown]
# ## One conversation, several APIs
#
# Messages are not bound to a model. Each model continues the conversation of another.

# %%
conversation = [Message.user("My name is Ada.")]
apis = list(models.items())
for number, (api, model) in enumerate(apis):
    response = await model.complete(conversation)
    print(f"{api:22}{response.content.strip()}")
    conversation.append(response.message)
    if number + 1 < len(apis):
        conversation.append(Message.user("What is my name?"))

# %% [markdown]
# ## By name
#
# `get_model` chooses between the first two by the model's name. It never chooses the third.

# %%
from locus import get_model

for model_name in ("oci:openai.gpt-4.1", "oci:cohere.command-r-plus"):
    model = get_model(model_name, profile="DEFAULT")  # creating a model reads no file
    print(f"{model_name:28}{type(model).__name__}")

# %%
for model in models.values():
    await model.close()
practice.close()
folder.cleanup()
