"""LLM requests: sending, storing, replaying, budgeting and accounting."""
