"""Locus with Oracle's package, whose signers OCI needs: for the cost of the import and of signing.

The programs read a profile at ``{config_file}``. They call the endpoint of OpenAI's format, so that
signed and unsigned requests get the same bytes.
"""

from __future__ import annotations

NAME = "locus-oci"
FORMATS = ()
REQUIREMENTS = ("{root}", "oci>=2.150")
RUNTIMES = ("blocking",)

PROFILE = """
import pathlib
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
config, key = pathlib.Path("{config_file}"), pathlib.Path("{config_file}.pem")
key.write_bytes(
    rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
)
profile = {
    "user": "ocid1.user.oc1..aaaa",
    "tenancy": "ocid1.tenancy.oc1..aaaa",
    "fingerprint": ":".join(["0a"] * 16),
    "region": "us-chicago-1",
    "key_file": str(key),
}
config.write_text("[DEFAULT]\\n" + "".join(f"{k}={v}\\n" for k, v in profile.items()))
print("times", 0, 0)
"""
"""A program that writes the profile, with a new key."""

COLD = {
    "openai": """
from locus.models import OpenAIModel
print(OpenAIModel("m", api_key="x", base_url="{url}").complete_sync("hi").content)
""",
    "oci, API key": """
from locus.models import OCIChatCompletionsModel
print(OCIChatCompletionsModel("m", api_key="x", base_url="{url}").complete_sync("hi").content)
""",
    "oci, signed": """
from locus.models import OCIChatCompletionsModel
model = OCIChatCompletionsModel(
    "m", profile="DEFAULT", config_file="{config_file}", base_url="{url}"
)
print(model.complete_sync("hi").content)
""",
}
"""Programs that print one response; the first two do not import ``oci``."""

IMPORTS = {
    "locus.models": "from locus.models import OCIChatCompletionsModel",
    "oci.signer": "import oci.signer",
    "oci's client": "from oci.generative_ai_inference import GenerativeAiInferenceClient",
}

_REQUEST = """
url = "https://inference.example.com/openai/v1/chat/completions"
headers = {"content-type": "application/json", "opc-compartment-id": "ocid1.compartment.oc1..a"}
body = b"x" * 1000
"""
_TIMING = """
import time
sign_once()
cpu, wall = time.process_time(), time.perf_counter()
for _ in range({n}):
    sign_once()
print("times", (time.process_time() - cpu) / {n}, (time.perf_counter() - wall) / {n})
"""

_FLOOR = """
import base64, hashlib, pathlib
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
key = serialization.load_pem_private_key(pathlib.Path("{config_file}.pem").read_bytes(), None)
def sign_once():
    digest = base64.b64encode(hashlib.sha256(body).digest())
    key.sign(b"x" * 300 + digest, padding.PKCS1v15(), hashes.SHA256())
"""
_LOCUS = """
from locus.models.providers.oci._signer_cache import get_signer
from locus.models.providers.oci.authentication import resolve_auth
from locus.transport.prepared_http_call import HttpRequest
signer = get_signer(resolve_auth(config_file="{config_file}"))
signer.ensure_ready()
request = HttpRequest(url, headers, body)
def sign_once():
    signer.make_signed_copy(request)
"""
_OCI = """
import oci
from oci._vendor import requests
signer = oci.signer.Signer.from_config(oci.config.from_file("{config_file}"))
prepared = requests.Request("POST", url, headers=headers, data=body).prepare()
def sign_once():
    signer(prepared.copy())
"""
SIGN = {
    name: _REQUEST + program + _TIMING
    for name, program in {"floor": _FLOOR, "locus": _LOCUS, "oci": _OCI}.items()
}
"""Programs that sign a request with a 1 kB body ``{n}`` times; the floor is the RSA signature."""
