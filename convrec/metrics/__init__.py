"""Ranking metrics, one per file: pure functions of lines, relevance and the catalog."""
