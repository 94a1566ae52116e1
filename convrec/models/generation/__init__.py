"""Generate lists: freely, stopped after N lines, without repeats, or from a catalog only."""
