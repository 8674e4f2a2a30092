"""Chooses how a run gets an answer of a type, and does without a schema that the server refuses.

What a server refuses is remembered by the model, once the same request without the schema has
succeeded: a server may name the schema in an error that has another cause.
"""

from __future__ import annotations

import attrs

from locus.agent.output_schema import OutputSchema
from locus.agent.run_context import RunContext
from locus.core.errors import APIStatusError
from locus.core.refused_schema import read_schema_refusal
from locus.core.structured_output_support import get_lesser_support
from locus.models.capabilities import remember_schema_refusal


def choose_output_schema(run: RunContext) -> None:
    """Set how the final answer gets the type that the agent's ``output_schema`` names.

    :raises ConfigurationError: if no schema can be made of that type, or if the model does not have
        the mechanism that ``output_mode`` names.
    """
    settings = run.settings
    if settings.output_schema is not None:
        run.output_schema = OutputSchema.choose_for_model(
            settings.output_schema,
            run.model,
            mode=settings.output_mode,
            tool_names=run.tool_names,
            limit=run.structured_output_limit,
        )


def fall_back_from_schema(run: RunContext, error: APIStatusError) -> bool:
    """Ask for the answer in another way if the server has refused the schema of the last request.

    Returns whether that is so. Nothing changes if an agent's ``output_mode`` asks for the schema,
    or if the caller has received a part of a response already.
    """
    schema = run.output_schema
    is_sent = schema is not None and all(
        run.sent_options.get(name) == value for name, value in schema.options.items()
    )
    if schema is None or not schema.options or not is_sent or run.settings.output_mode != "auto":
        return False
    if error.partial is not None and error.partial.message.has_content:
        return False
    refusal = read_schema_refusal(error, has_tools=bool(run.sent_tools))
    if refusal is None:
        return False
    left = refusal.support
    if left == "without_tools" and not schema.enforced_always and not schema.allows_tools:
        left = "never"
    run.structured_output_limit = get_lesser_support(run.structured_output_limit, left)
    run.unconfirmed_refusal = attrs.evolve(refusal, support=left)
    choose_output_schema(run)
    return True


def remember_refused_schema(run: RunContext) -> None:
    """Let the model remember what its server has refused, as the request has succeeded without."""
    refusal, run.unconfirmed_refusal = run.unconfirmed_refusal, None
    if refusal is not None:
        remember_schema_refusal(run.model, refusal)
