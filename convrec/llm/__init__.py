"""The request layer: asking, keeping and accounting for chat completions."""

from convrec.llm.answers import AnswerStore
from convrec.llm.endpoint import endpoint_name
from convrec.llm.estimate import Bracket, estimate
from convrec.llm.fetch import Fetched, fetch
from convrec.llm.ledger import ledger_rows, spent
from convrec.llm.replay import Imported, import_batch_output
from convrec.llm.requests import Request

__all__ = [
    "AnswerStore",
    "Bracket",
    "Fetched",
    "Imported",
    "Request",
    "endpoint_name",
    "estimate",
    "fetch",
    "import_batch_output",
    "ledger_rows",
    "spent",
]
