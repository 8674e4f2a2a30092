"""Makes the error for a keyword that nobody knows; it names what Locus calls the same thing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from locus.core.frozendict import EMPTY

_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "max_tokens": (
        "max_completion_tokens",
        "max_output_tokens",
        "max_new_tokens",
        "max_tokens_to_sample",
        "max_length",
        "num_predict",
        "n_predict",
    ),
    "stop": ("stop_words", "stop_strings", "stops", "stop_sequence"),
    "seed": ("random_seed",),
    "n": ("candidate_count", "num_generations", "num_return_sequences", "best_of"),
    "reasoning_effort": ("reasoning", "effort", "think", "thinking_level", "thinking_effort"),
    "thinking": ("thinking_budget", "budget_tokens"),
    "think": ("thinking",),
    "logprobs": ("log_probs", "return_logprobs", "response_logprobs"),
    "response_format": (
        *("response_schema", "json_schema", "response_model", "output_schema", "output_type"),
        *("format", "json_mode", "response_mime_type", "text_format", "output_format"),
    ),
    "tool_choice": ("function_call", "tool_config", "toolchoice"),
    "parallel_tool_calls": ("disable_parallel_tool_use", "parallel_function_calls"),
    "timeout": ("timeout_s", "timeout_ms", "timeout_seconds", "request_timeout", "read_timeout"),
    "deadline": ("total_timeout", "max_time", "overall_timeout"),
    "max_retries": ("retries", "num_retries", "max_retry", "retry", "max_attempts"),
    "extra_headers": ("headers", "default_headers", "custom_headers", "http_options"),
    "extra_body": (
        *("body", "extra_kwargs", "model_kwargs", "additional_kwargs", "provider_options"),
        *("extra_query", "default_query"),
    ),
    "provider_state": ("previous_response_id", "conversation", "conversation_id", "session_id"),
    "base_url": ("api_base", "openai_api_base", "azure_endpoint", "host", "endpoint", "url"),
    "service_endpoint": ("host", "endpoint", "url"),
    "api_key": (
        *("openai_api_key", "anthropic_api_key", "azure_ad_token", "azure_ad_token_provider"),
        *("token", "key", "api_token", "access_token"),
    ),
    "model": ("model_name", "deployment_name", "azure_deployment", "deployment", "engine"),
    "model_id": ("model_name", "deployment_name", "engine"),
    "http_client": ("client", "session", "http_async_client", "proxy", "proxies", "verify"),
    "prompt_cache": ("cache_control", "cache", "caching"),
    "context": ("n_ctx", "num_ctx", "context_length", "max_model_len"),
    "threads": ("n_threads", "num_threads", "num_thread"),
    "user": ("user_id", "end_user", "enduser"),
    "store": ("storage",),
}
"""Names that other libraries use, by Locus's keyword. The first one that an owner has counts."""

_LOCUS_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(keyword for keyword, names in _OTHER_NAMES.items() if name in names)
    for names in _OTHER_NAMES.values()
    for name in names
}

_ADVICE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("system_instruction", "system_prompt", "instructions", "preamble", "system_message"),
        "begin the messages with Message.system(…), or pass Agent(system_prompt=…)",
    ),
    **dict.fromkeys(
        ("functions", "tool", "available_tools", "toolsets"),
        "tools is the second argument of a call",
    ),
    **dict.fromkeys(
        ("prompt", "input", "contents", "chat_history", "message", "history"),
        "the prompt or the messages are the first argument of a call",
    ),
    **dict.fromkeys(
        ("stream", "streaming"), "stream_sync(…) and stream(…) stream, complete does not"
    ),
    **dict.fromkeys(
        ("num_ctx", "n_ctx"),
        "OllamaModel takes options={'num_ctx': …}, and LocalModel context=",
    ),
    **dict.fromkeys(
        ("num_gpu", "num_thread", "num_batch", "num_keep", "repeat_penalty", "min_p", "top_k"),
        "extra_body= takes provider extras, and OllamaModel options=",
    ),
    "options": "OllamaModel takes options= when it is made; for one call, pass extra_body=",
    "stream_options": "token counts are requested by default; extra_body= takes the other members",
    "provider_state": "it belongs to one conversation: pass it to the call",
    "async_client": "every model has blocking and async methods",
}
"""Advice for names that no keyword of the owner stands for."""


def make_unknown_keyword_error(
    name: str,
    known_names: Iterable[str],
    owner: str,
    elsewhere: Mapping[str, Collection[str]] = EMPTY,
) -> TypeError:
    """Make the error for an unknown keyword argument. It says where the thing belongs, or else
    names the most similar keyword, or else ``extra_body``.

    :param owner: the function or class that got the keyword.
    :param elsewhere: keywords that belong to another function, by the advice how to pass them.
    """
    advice = _find_advice(name, set(known_names), elsewhere)
    return TypeError(f"{owner} got an unknown keyword {name!r}; {advice}")


def _find_advice(name: str, known_names: set[str], elsewhere: Mapping[str, Collection[str]]) -> str:
    for keyword in _LOCUS_NAMES.get(name, ()):
        if keyword in known_names:
            return f"here it is {keyword}="
    if name in _ADVICE:
        return _ADVICE[name]
    for advice, names in elsewhere.items():
        if name in names:
            return advice
        for keyword in _LOCUS_NAMES.get(name, ()):
            if keyword in names:
                return f"here it is {keyword}=; {advice}"
    from difflib import get_close_matches  # imported here, because only an error needs it

    # A private name or a seldom one never hides the likely one: an underscore counts as a letter.
    matches = get_close_matches(name.lower(), sorted(known_names), n=1)
    if matches:
        return f"did you mean {matches[0]!r}?"
    for advice, names in elsewhere.items():
        close = get_close_matches(name.lower(), sorted(names), n=1)
        if close:
            return f"did you mean {close[0]!r}? {advice}"
    return "extra_body= takes provider extras"
