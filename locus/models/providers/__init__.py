"""Providers that need more than a wire format, such as request signing: one package each."""
