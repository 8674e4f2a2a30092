"""Providers with more to them than a wire format: one package each."""
