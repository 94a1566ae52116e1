"""The ledger: what was sent and billed, by run, stage and model."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from convrec.artifacts.store import Store


class LedgerRow(TypedDict):
    """Billed requests of one run, stage and model."""

    run: str
    stage: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float


def ledger_rows(store: Store, run: str | None = None) -> list[LedgerRow]:
    """The ledger in the order of first purchase; of one run, or of all."""
    with store.read_connection() as connection:
        found = connection.execute(
            "SELECT run, stage, model, count(*), sum(prompt_tokens)::BIGINT, "
            "sum(completion_tokens)::BIGINT, sum(usd) FROM llm_ledger "
            "WHERE ? IS NULL OR run = ? GROUP BY run, stage, model ORDER BY min(created_at)",
            [run, run],
        ).fetchall()
    return [
        LedgerRow(
            run=run_,
            stage=stage,
            model=model,
            requests=requests,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            usd=usd,
        )
        for run_, stage, model, requests, prompt_tokens, completion_tokens, usd in found
    ]


def spent(store: Store, run: str) -> float:
    """US dollars that a run has paid so far."""
    return sum(row["usd"] for row in ledger_rows(store, run))
