"""Checkpointers: the state of each conversation, kept in memory, in files or in SQLite."""
