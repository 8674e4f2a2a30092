"""How fast Locus is, measured in one run beside its peers and the floor.

``python -m benchmarks`` (``tox run -e bench``) measures CPU and wall time of

- a whole answer and a chunk of a streamed one, blocking, under asyncio and under trio, in the wire
  formats of OpenAI, Anthropic and Ollama;
- a thousand streams that one process reads at the same time, with its memory;
- a process from its start to its first answer, and the imports;
- the same for Oracle Cloud, whose requests are signed, and one signature;

and compares ratios with the targets. (The last three in OpenAI's format alone.) The *floor* is bare
httpx and msgspec in a loop written by hand: what Locus adds to it is Locus's own cost. The peers
are the SDK that each format was made for, and in OpenAI's format locus-sdk, any-llm and litellm,
each in an environment of its own and used as its documentation says.

Everybody talks to one server on 127.0.0.1, a process of its own with canned bytes, so only the
client's work is counted. Times are noisy where cores are shared: subjects are measured by turns,
the best round counts, and only ratios within one run mean anything.

A stream comes in two shapes. *Packed*: many events a write, where decoding is all there is to
measure; the targets are about this one. *Alone*: one event at a time, each waking the client up,
where httpx and the event loop take most of the time, whoever uses them.

``--quick`` is for a look while working: rounds are few, and the thousand streams two hundred.
``--help`` shows the other options. The exit code is 0, or with ``--check`` 1 if a target is missed.
"""
