"""The ledger: requests that were sent and billed, by run, stage, model and day."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convrec.artifacts.store import Store
from convrec.errors import InputError
from convrec.llm.response_store import ResponseStore

GROUPS = ("run", "stage", "model", "day", "origin")
SUMS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "usd")


def ledger_rows(store: Store) -> list[dict[str, Any]]:
    """The ledger by GROUPS, in the order of the first purchase: number of requests, and SUMS.

    `day` is UTC in ISO 8601, `origin` is `live` or `batch`. `cached_tokens` are part of
    `prompt_tokens`, `reasoning_tokens` of `completion_tokens`.
    """
    with store.read_connection() as connection:
        found = connection.execute(
            "SELECT run, stage, model, strftime(created_at, '%Y-%m-%d') AS day, origin, "  # noqa: S608
            f"count(*) AS requests, {_sums(SUMS)} FROM llm_ledger "
            "GROUP BY run, stage, model, day, origin ORDER BY min(created_at)"
        )
        return found.pl().to_dicts()


def sum_rows(rows: Iterable[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """Rows summed by the named columns (`run,model`), in order of first appearance.

    Raises InputError for an unknown column.
    """
    names = [name.strip() for name in by.split(",") if name.strip()]
    if not names or not set(names) <= set(GROUPS):
        raise InputError(
            f"--by {by!r} is invalid. Use a comma-separated list of {', '.join(GROUPS)}"
        )
    totals: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in names)
        total = totals.setdefault(key, dict(zip(names, key, strict=True)))
        for name in ("requests", *SUMS):
            total[name] = total.get(name, 0) + row[name]
    return list(totals.values())


def spent_usd(store: Store, run: str) -> float:
    """US dollars billed to a run so far, including what a crashed attempt left in the spool."""
    ResponseStore(store).recover()
    return float(billed_usage(store, run)["usd"])


def billed_usage(store: Store, run: str) -> dict[str, float]:
    """prompt_tokens, completion_tokens and usd of a run, including its earlier attempts."""
    sums = _sums(("prompt_tokens", "completion_tokens", "usd"))
    with store.read_connection() as connection:
        query = f"SELECT {sums} FROM llm_ledger WHERE run = ?"  # noqa: S608
        return connection.execute(query, [run]).pl().row(0, named=True)


def _sums(names: Iterable[str]) -> str:
    types = {"usd": "DOUBLE"}
    return ", ".join(
        f"coalesce(sum({name}), 0)::{types.get(name, 'BIGINT')} AS {name}" for name in names
    )
