"""Generating lists: free, ended after N lines, without repeats, or from a catalog only."""
