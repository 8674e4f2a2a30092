"""The models of Oracle Cloud Infrastructure's Generative AI service: three APIs, three classes.

``OCIChatCompletionsModel`` uses OpenAI's chat completions format; begin with this one.
``OCIModel`` uses OCI's own format: for Cohere's command-r models, and for models on dedicated AI
clusters. ``OCIResponsesModel`` uses OpenAI's responses format, where the service stores the
conversations.

Importing this package and creating a model do not import the ``oci`` package; the first request
does.
"""

from locus.models.providers.oci.authentication import OCIAuth, OCIAuthType
from locus.models.providers.oci.chat import OCIModel
from locus.models.providers.oci.chat_completions import (
    OCIChatCompletionsConfig,
    OCIChatCompletionsModel,
    OCIOpenAIModel,
)
from locus.models.providers.oci.chat_config import OCIConfig
from locus.models.providers.oci.endpoints import DEFAULT_OCI_GENAI_REGION, build_oci_openai_base_url
from locus.models.providers.oci.model_factory import make_oci_model
from locus.models.providers.oci.responses import OCIResponsesConfig, OCIResponsesModel
from locus.models.providers.oci.responses_errors import (
    OCIProjectRequiredError,
    OCIResponsesStateLostError,
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
    "make_oci_model",
]
