"""Experiments: nodes that measure the pipeline and are no part of it."""
