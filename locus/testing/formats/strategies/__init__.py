"""Random values for tests: texts, conversations, tools, options, contents of responses."""
