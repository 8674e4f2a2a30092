"""Oracle Cloud Infrastructure's Generative AI service, by three ways in.

``OCIChatCompletionsModel`` speaks OpenAI's chat completions and is the one to begin with.
``OCIModel`` speaks OCI's own format: the command-r models of Cohere, and models on dedicated AI
clusters. ``OCIResponsesModel`` speaks OpenAI's responses, whose conversations the service keeps.

Importing this, and making a model, does not import the ``oci`` package; the first request does.
"""

from locus.models.providers.oci.chat import OCIAuthType, OCIConfig, OCIModel
from locus.models.providers.oci.chat_completions import (
    OCIChatCompletionsConfig,
    OCIChatCompletionsModel,
    OCIOpenAIModel,
)
from locus.models.providers.oci.errors import OCIProjectRequiredError, OCIResponsesStateLostError
from locus.models.providers.oci.responses import OCIResponsesConfig, OCIResponsesModel
from locus.models.providers.oci.routing import oci_model
from locus.models.providers.oci.settings import (
    DEFAULT_OCI_GENAI_REGION,
    OCIAuth,
    build_oci_openai_base_url,
)

__all__ = [
    "DEFAULT_OCI_GENAI_REGION",
    "OCIAuth",
    "OCIAuthType",
    "OCIChatCompletionsConfig",
    "OCIChatCompletionsModel",
    "OCIConfig",
    "OCIModel",
    "OCIOpenAIModel",
    "OCIProjectRequiredError",
    "OCIResponsesConfig",
    "OCIResponsesModel",
    "OCIResponsesStateLostError",
    "build_oci_openai_base_url",
    "oci_model",
]
