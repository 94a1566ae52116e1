"""Traces: one conversation through all stages, from the post to the trained student's lists."""
