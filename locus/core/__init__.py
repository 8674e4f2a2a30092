"""Values: messages, responses, events, errors. Nothing here does I/O or knows a provider."""
