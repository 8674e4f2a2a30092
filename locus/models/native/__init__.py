"""Models of providers with an API of their own: OpenAI, Anthropic, Ollama."""
