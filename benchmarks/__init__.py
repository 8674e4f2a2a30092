"""Measures how fast Locus is, in one run with other packages and with a baseline, the floor.

``python -m benchmarks`` (``tox run -e bench``) measures CPU and wall time of

- a complete response and a chunk of a streamed one, blocking, under asyncio and under trio, in the
  wire formats of OpenAI, Anthropic and Ollama;
- a thousand streams that one process reads at the same time, with its memory;
- a chunk that arrives alone, in 10, 300 and 1,000 streams at once on asyncio, trio and uvloop, and
  in 200 blocking threads, with the memory of a stream;
- a process from its start to its first response, and the imports; and what is installed;
- the same for Oracle Cloud, whose requests are signed, and one signature;

and compares ratios with the targets. (The last five in OpenAI's format only.) The *floor* is
sockets, httptools and msgspec in a hand-written loop: what Locus adds to it is Locus's own cost.
The other packages are bare httpx, the SDK of each format's provider, and in OpenAI's format
locus-sdk, any-llm and litellm, each in its own environment and used as its documentation says.

All of them call one server on 127.0.0.1, a separate process that sends fixed bytes, so only the
client's work is counted. Times are noisy where cores are shared: the measurements are interleaved,
the best round counts, and only ratios within one run can be compared.

There are two kinds of stream. *Packed*: many events in each write, so that decoding takes most of
the time; the targets are about this kind. *Alone*: one event at a time, each of which wakes the
client up, so that the transport and the event loop take most of the time in every package.

``--quick`` is for use during development: it has fewer rounds, and two hundred streams, not a
thousand.
``--docs docs`` writes ``docs/benchmarks.md`` and its charts; ``--help`` shows the other options.
The exit code is 0, or with ``--check`` 1 if a target is missed.
"""
