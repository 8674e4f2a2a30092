"""Checkpointers save the state of each conversation: in memory, in files or in SQLite."""
