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
# All features of chat models, from one line of text to errors and retries.
#
# *How to open this:* it is a notebook, written as a Python file. In VS Code it opens as it is, with
# "Run Cell" above each cell; `jupytext --to ipynb chat_completions.py` makes a file for Jupyter.
# `python chat_completions.py` does not work, because cells may `await`.
#
# *Which model it uses:* the one in `LOCUS_MODEL_ID`, such as `openai:gpt-4o`. If that is not set, a
# small model inside this process, if it is installed (`local:smollm2`; some of its answers are
# nonsense), and for everything else a practice server on this machine, which answers by a few
# rules. No account is needed. With `LOCUS_MODEL_ID=practice` that server answers everything.

# %%
from locus.testing.practice import PracticeServer, choose_example_model

practice = PracticeServer().start()
model = choose_example_model(practice, temperature=0, max_tokens=24)
print(f"words come from {type(model).__name__}, {model.config.model}")

# %% [markdown]
# ## Text
#
# Blocking, and with `await`: the same object, the same response.

# %%
question = "What is the capital of France? Answer in one sentence."
response = model.complete_sync(question)
print(response.content.strip())

# %%
response = await model.complete(question)
print(response.content.strip())

# %% [markdown]
# A response is more than its text:

# %%
print("why it ended   ", response.finish_reason, "| the provider's word:", response.stop_reason)
print("who answered   ", response.model)
print("tokens         ", dict(response.usage))
print("as a message   ", response.message.role, "|", response.message.text.strip()[:40])

# %% [markdown]
# ## A conversation
#
# Nothing is remembered between calls. A conversation is a list that you pass to each call.

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
# Chunks are printed as they arrive. The last event has the complete response.

# %%
with model.stream_sync("Write two sentences about the sea.") as events:
    for event in events:
        print(event.content or "", end="|" if event.content else "", flush=True)
print()
print(f"[{event.response.completion_tokens} tokens, {event.response.finish_reason}]")

# %% [markdown]
# If you leave the loop early, the connection is closed at once:

# %%
chunks = []
async with model.stream("Write two sentences about the sea.") as events:
    async for event in events:
        chunks.append(event.content or "")
        if len(chunks) == 8:
            break
print("".join(chunks), "…")

# %% [markdown]
# ## Settings
#
# A model cannot be changed; `copy` makes another one. A call may override its options. An unknown
# keyword is an error, which suggests the most similar one.

# %%
short_model = model.copy(max_tokens=5)
print(short_model.complete_sync("Write two sentences about the sea.").content)
print(short_model.complete_sync("Write two sentences about the sea.", max_tokens=12).content)

try:
    model.complete_sync("Hello", max_token=5)
except TypeError as error:
    print(error)

# %% [markdown]
# ## Tools
#
# A tool is described in OpenAI's format. A response may call it several times; each result is sent
# with the id of its call. (Agents do this by themselves: see `tools_and_agents.py`.)

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

tool_model = choose_example_model(
    practice, calls_tools=True, temperature=0, max_tokens=200
).bind_tools([weather])
print(f"tools are called by {type(tool_model).__name__}, {tool_model.config.model}\n")

conversation = [Message.user("Compare the weather in Rome and in Oslo.")]
response = tool_model.complete_sync(conversation)
conversation.append(response.message)
for call in response.tool_calls:
    print("the model calls  ", call.name, dict(call.arguments))
    if call.malformed_arguments is not None:
        result = ToolResult(call.id, call.name, "", error="the arguments are not a JSON object")
    else:
        result = ToolResult(call.id, call.name, f"sunny in {call.arguments['city']}")
    conversation.append(Message.tool(result))
print("and then it says ", (await tool_model.complete(conversation)).content)

# %% [markdown]
# ## Images
#
# The content of a message may be a list of parts: text, and images, as a URL or as bytes.

# %%
import base64

from locus.core.messages import ImagePart

red_pixel = base64.b64decode(  # one red pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
vision_model = choose_example_model(practice, sends_images=True, max_tokens=200)
question = Message.user(
    ["What is on this picture?", ImagePart(data=red_pixel, media_type="image/png")]
)
print(vision_model.complete_sync(question).content)

# %% [markdown]
# ## Structured output
#
# Ask for a type and get a value of that type.

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
response_format = build_response_format(City)
response = model.complete_sync(facts, response_format=response_format)
output = parse_structured(response.content, City)
print(output.parsed if output.success else output.error)

# %% [markdown]
# With a stream, the value is available while it is still incomplete:

# %%
from locus import StructuredOutputError

try:
    async with model.stream(facts, response_format=response_format) as events:
        async for value in parse_partial(events, City):
            print(value)
except StructuredOutputError as error:  # small models
    print(error)

# %% [markdown]
# ## Log probabilities, several candidates
#
# Options that only some providers have are passed in `extra_body`, with the provider's own names.

# %%
from locus import APIStatusError

try:
    response = model.complete_sync("Name a colour.", max_tokens=5, extra_body={"logprobs": True})
    for token in (response.logprobs or {}).get("content", ()):
        print(f"{token['token']!r:12} {token['logprob']:.2f}")
    response = model.complete_sync("Name a colour.", max_tokens=5, extra_body={"n": 2})
    for candidate in response.candidates:
        print("candidate:", candidate.message.text)
except APIStatusError as error:
    print("not with this provider:", error)

# %% [markdown]
# ## Errors
#
# The errors are one class tree, with the names of the provider SDKs. The practice server fails on
# demand, with `enqueue`; so it is used from here on.

# %%
import locus
from locus.testing import Reply

model_without_retries = practice.make_model(max_retries=0)  # one attempt only

practice.enqueue(Reply.error(401, "no such key"))
try:
    model_without_retries.complete_sync("Hello")
except locus.AuthenticationError as error:
    print("401:", error)

practice.enqueue(Reply.error(429, "too fast", retry_after=20))
try:
    await model_without_retries.complete("Hello")
except locus.RateLimitError as error:
    print("429:", error)
    print("     come back in", error.retry_after, "seconds")

# %% [markdown]
# An interrupted stream never looks complete. The error has the part that arrived.

# %%
practice.enqueue(
    Reply.sse(
        [
            {"choices": [{"index": 0, "delta": {"content": text}}]}
            for text in ("Once", " upon", " a")
        ],
        done=False,
    )
)
try:
    with model_without_retries.stream_sync("Write two sentences about the sea.") as events:
        for event in events:
            print(event.content or "", end="")
except locus.StreamInterruptedError as error:
    print("\nbroken off after:", repr(error.partial.content))

# %% [markdown]
# ## Retries
#
# By default there are two more attempts after a delay; the server may set the delay.

# %%
retrying_model = practice.make_model()
count_before = len(practice.requests)
practice.enqueue(
    Reply.error(503, "not now", retry_after=0.1), Reply.error(529, "still not", retry_after=0.1)
)
print(retrying_model.complete_sync("What is the capital of Italy?").content)
print("requests made:", len(practice.requests) - count_before)

# %% [markdown]
# ## Your own HTTP client
#
# For proxies, private certificate authorities, or to see the requests. Locus never closes it.

# %%
import httpx


def print_request(request: httpx.Request) -> None:
    print(request.method, request.url.path, f"({len(request.read())} bytes)")


with httpx.Client(event_hooks={"request": [print_request]}) as client:
    model_with_client = practice.make_model(http_client=client)
    print(model_with_client.complete_sync("Hello").content)

# %%
for model_to_close in (model, tool_model, vision_model, model_without_retries, retrying_model):
    await model_to_close.close()
practice.close()
