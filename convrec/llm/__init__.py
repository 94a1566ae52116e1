"""The request layer: asking, keeping and accounting for chat completions."""
