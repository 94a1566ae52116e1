"""Helpers without knowledge of the pipeline: files, locks, retries, markdown, numerics."""
