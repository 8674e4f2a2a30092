"""Rewrites JSON Schemas for providers that understand only a part of the language."""
