"""The ingest stage: input files or generated posts to catalog, conversations and quarantine."""

from convrec.stages.ingest.read import IngestedData, is_input_local, read_data
from convrec.stages.ingest.steps import CATALOG, CONVERSATIONS, QUARANTINE

__all__ = ["CATALOG", "CONVERSATIONS", "QUARANTINE", "IngestedData", "is_input_local", "read_data"]
