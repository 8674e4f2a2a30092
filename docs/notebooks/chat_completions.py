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
# # Chat completions in depth
#
# Everything that a chat model can be asked, from one line of text to errors and retries.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb chat_completions.py` makes a file for Jupyter.
# `python chat_completions.py` does not work, for cells may `await`.
#
# *What it asks:* the model that `LOCUS_MODEL_ID` names, such as `openai:gpt-4o`. With nothing set,
# a small model inside this process where it is installed (`local:smollm2`; expect nonsense now and
# then), and for the rest a practice server on this machine, which answers by a few rules. No
# account is needed. `LOCUS_MODEL_ID=practice` leaves everything to that server.

# %%
from locus.testing.practice_server import PracticeServer, example_model

practice = PracticeServer().start()
model = example_model(practice, temperature=0, max_tokens=24)
print(f"words come from {type(model).__name__}, {model.config.model}")

# %% [markdown]
# ## Text
#
# Blocking, and with `await`: the same object, the same answer.

# %%
question = "What is the capital of France? Answer in one sentence."
answer = model.complete_sync(question)
print(answer.content.strip())

# %%
answer = await model.complete(question)
print(answer.content.strip())

# %% [markdown]
# An answer is more than its text:

# %%
print("why it ended   ", answer.finish_reason, "| the provider's word:", answer.stop_reason)
print("who answered   ", answer.model)
print("tokens         ", dict(answer.usage))
print("as a message   ", answer.message.role, "|", answer.message.text.strip()[:40])

# %% [markdown]
# ## A conversation
#
# Nothing is remembered between calls. A conversation is a list that you keep, and pass each time.

# %%
from locus import Message

conversation = [
    Message.system("Answer in one short sentence."),
    Message.user("My name is Ada."),
]
conversation.append(model.invoke(conversation))
conversation.append(Message.user("What is my name?"))
conversation.append(await model.ainvoke(conversation))

for message in conversation:
    print(f"{message.role:10}{message.text.strip()}")

# %% [markdown]
# ## Streams
#
# Pieces, as they come. The last event has the whole answer.

# %%
with model.stream_sync("Write two sentences about the sea.") as events:
    for event in events:
        print(event.content or "", end="|" if event.content else "", flush=True)
print()
print(f"[{event.response.completion_tokens} tokens, {event.response.finish_reason}]")

# %% [markdown]
# Leave early, and the connection is closed at once:

# %%
pieces = []
async with model.stream("Write two sentences about the sea.") as events:
    async for event in events:
        pieces.append(event.content or "")
        if len(pieces) == 8:
            break
print("".join(pieces), "…")

# %% [markdown]
# ## Settings
#
# A model cannot be changed; `copy` makes another one. A call may differ from both. A keyword that
# nobody knows is an error, which suggests the nearest.

# %%
terse = model.copy(max_tokens=5)
print(terse.complete_sync("Write two sentences about the sea.").content)
print(terse.complete_sync("Write two sentences about the sea.", max_tokens=12).content)

try:
    model.complete_sync("Hello", max_token=5)
except TypeError as error:
    print(error)

# %% [markdown]
# ## Tools
#
# A tool is described in OpenAI's format. An answer may call it several times; each result goes back
# under the id of its call. (Agents do this by themselves: see `tools_and_agents.py`.)

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

handy = example_model(practice, tools=True, temperature=0, max_tokens=200).bind_tools([weather])
print(f"tools are called by {type(handy).__name__}, {handy.config.model}\n")

conversation = [Message.user("Compare the weather in Rome and in Oslo.")]
answer = handy.complete_sync(conversation)
conversation.append(answer.message)
for call in answer.tool_calls:
    print("the model calls  ", call.name, dict(call.arguments))
    if call.malformed_arguments is not None:
        result = ToolResult(call.id, call.name, "", error="the arguments are not a JSON object")
    else:
        result = ToolResult(call.id, call.name, f"sunny in {call.arguments['city']}")
    conversation.append(Message.tool(result))
print("and then it says ", (await handy.complete(conversation)).content)

# %% [markdown]
# ## Images
#
# The content of a message may be parts: text, and images, by address or as bytes.

# %%
import base64

from locus.core.messages import ImagePart

dot = base64.b64decode(  # one red pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
seeing = example_model(practice, images=True, max_tokens=200)
question = Message.user(["What is on this picture?", ImagePart(data=dot, media_type="image/png")])
print(seeing.complete_sync(question).content)

# %% [markdown]
# ## Structured output
#
# Ask for a type, get a value of it.

# %%
import attrs

from locus.core.structured import build_response_format, parse_partial, parse_structured


@attrs.frozen
class City:
    """A city, and how many people live there."""

    name: str
    people: int


facts = [
    Message.system("Extract the facts as JSON."),
    Message.user("Cologne is a city of 1087000 people."),
]
wanted = build_response_format(City)
answer = model.complete_sync(facts, response_format=wanted)
output = parse_structured(answer.content, City)
print(output.parsed if output.success else output.error)

# %% [markdown]
# Of a stream the value is there while it still fills:

# %%
from locus import StructuredOutputError

try:
    async with model.stream(facts, response_format=wanted) as events:
        async for value in parse_partial(events, City):
            print(value)
except StructuredOutputError as error:  # small models
    print(error)

# %% [markdown]
# ## Log probabilities, several candidates
#
# What only some providers have goes into `extra_body`, under the provider's own name.

# %%
from locus import APIStatusError

try:
    answer = model.complete_sync("Name a colour.", max_tokens=5, extra_body={"logprobs": True})
    for token in (answer.logprobs or {}).get("content", ()):
        print(f"{token['token']!r:12} {token['logprob']:.2f}")
    answer = model.complete_sync("Name a colour.", max_tokens=5, extra_body={"n": 2})
    for candidate in answer.candidates:
        print("candidate:", candidate.message.text)
except APIStatusError as error:
    print("not with this provider:", error)

# %% [markdown]
# ## Errors
#
# One tree of errors, in the words of the provider SDKs. The practice server fails on demand, with
# `enqueue`; so from here on it is the one that is asked.

# %%
import locus
from locus.testing import Reply

careless = practice.model(max_retries=0)  # one try only

practice.enqueue(Reply.error(401, "no such key"))
try:
    careless.complete_sync("Hello")
except locus.AuthenticationError as error:
    print("401:", error)

practice.enqueue(Reply.error(429, "too fast", retry_after=20))
try:
    await careless.complete("Hello")
except locus.RateLimitError as error:
    print("429:", error)
    print("     come back in", error.retry_after, "seconds")

# %% [markdown]
# A stream that breaks never looks finished. What had arrived is on the error.

# %%
practice.enqueue(
    Reply.sse(
        [
            {"choices": [{"index": 0, "delta": {"content": word}}]}
            for word in ("Once", " upon", " a")
        ],
        done=False,
    )
)
try:
    with careless.stream_sync("Write two sentences about the sea.") as events:
        for event in events:
            print(event.content or "", end="")
except locus.StreamInterruptedError as error:
    print("\nbroken off after:", repr(error.partial.content))

# %% [markdown]
# ## Retries
#
# Two more tries are made by default, after a pause; where the server names a pause, after that one.

# %%
patient = practice.model()
before = len(practice.requests)
practice.enqueue(
    Reply.error(503, "not now", retry_after=0.1), Reply.error(529, "still not", retry_after=0.1)
)
print(patient.complete_sync("What is the capital of Italy?").content)
print("requests made:", len(practice.requests) - before)

# %% [markdown]
# ## Your own HTTP client
#
# For proxies, private certificate authorities, or to see what is sent. Locus never closes it.

# %%
import httpx


def shown(request: httpx.Request) -> None:
    print(request.method, request.url.path, f"({len(request.read())} bytes)")


with httpx.Client(event_hooks={"request": [shown]}) as client:
    own = practice.model(http_client=client)
    print(own.complete_sync("Hello").content)

# %%
for used in (model, handy, seeing, careless, patient):
    await used.close()
practice.close()
