"""Experiments: nodes that measure the pipeline and are not part of it."""
