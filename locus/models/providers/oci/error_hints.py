"""Advice for the errors of Oracle's service, by what their bodies say."""

from __future__ import annotations

import re
from typing import Final

from locus.core.error_context import BodyHint

POLICY_HINT: Final = BodyHint(
    re.compile(r"NotAuthorizedOrNotFound|Authorization failed or requested resource not found"),
    "Oracle says so where a policy or the compartment is missing: check that a policy allows the "
    "use of generative-ai-family in the compartment, compartment_id=, the model's name, and that "
    "the region serves it",
    (404,),
)
"""Oracle documents the code under "API Errors": it does not say which of the two is the case."""

RESPONSES_ONLY_HINT: Final = BodyHint(
    re.compile(r"only (supported|available) in v1/responses|use the Responses API", re.I),
    "use OCIResponsesModel",
)
NATIVE_API_ONLY_HINT: Final = BodyHint(
    re.compile(r"Unsupported OpenAI operation", re.I),
    "use OCIModel: the service has this model in Oracle's own API only",
)
CHAT_ONLY_HINT: Final = BodyHint(
    re.compile(r"only (supported|available) in v1/chat/completions", re.I),
    "use OCIChatCompletionsModel",
)
ZERO_RETENTION_HINT: Final = BodyHint(
    re.compile(r"zero data retention", re.I),
    "pass store=False: then every request holds the whole conversation",
)
