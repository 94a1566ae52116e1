"""The rows of the input that were set aside, as a page of the Prefect UI."""

from __future__ import annotations

import polars as pl

from convrec.operations.load_summary import reason_examples
from convrec.utils import markdown

MAX_ROWS = 100
"""Rows that the page shows."""

MAX_CELL = 160
"""Characters of a row, and of its reason, that the page shows."""


def quarantine_markdown(quarantine: pl.DataFrame, artifact_id: str) -> str:
    """How many rows have which reason; then the rows: file, line, reason and their beginning."""
    counts = [(reason, f"{count:,}") for reason, count, _ in reason_examples(quarantine)]
    rows = [
        (f"{source}, line {line}", reason, raw)
        for source, line, reason, raw in quarantine.head(MAX_ROWS)
        .select("source", "line", "reason", "raw")
        .iter_rows()
    ]
    of_all = f" (the first {MAX_ROWS})" if quarantine.height > MAX_ROWS else ""
    return "\n\n".join(
        [
            f"## {quarantine.height:,} rows of the input were set aside",
            "The run went on without them. Mend the files and run again, or leave them.",
            "### Why",
            markdown.escaped_table(("reason", "rows"), counts[:MAX_ROWS]),
            f"### Which{of_all}",
            markdown.escaped_table(("where", "reason", "begins with"), rows, MAX_CELL),
            "All of them in full:",
            markdown.code_block(f"convrec artifacts export {artifact_id} quarantine.csv"),
        ]
    )
