"""The providers' JSON: one module a format, pure functions both ways."""
