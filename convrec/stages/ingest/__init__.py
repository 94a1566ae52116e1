"""Ingest: files or generated posts → catalog, conversations, and a quarantine of bad rows."""

from convrec.stages.ingest.source import Source, read
from convrec.stages.ingest.steps import CATALOG, CONVERSATIONS, QUARANTINE

__all__ = ["CATALOG", "CONVERSATIONS", "QUARANTINE", "Source", "read"]
