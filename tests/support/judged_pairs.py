"""The pairs that a judge has rated, the requests of a run, and a copy of all responses."""

from __future__ import annotations

from typing import Any

from convrec.artifacts import Store

RESPONSE_TABLES = ("llm_answers", "llm_judged")


def judged_pairs(store: Store) -> set[tuple[Any, ...]]:
    """Each (conversation and judge, item, pass) that the judge was asked about."""
    with store.read_connection() as connection:
        query = "SELECT judge_key, unnest(items), pass FROM llm_judged"
        return set(connection.execute(query).fetchall())


def requests_by_stage(store: Store, run: str) -> dict[str, int]:
    """Number of requests that a run sent, by stage."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT stage, count(*) FROM llm_ledger WHERE run = ? GROUP BY stage", [run]
        ).fetchall()
    return dict(rows)


def copy_responses(old: Store, new: Store) -> None:
    """Copy the responses, the pair index and the pinned artifacts to an empty warehouse."""
    with old.read_connection() as connection:
        tables = {
            name: connection.execute(f"SELECT * FROM {name}").pl() for name in RESPONSE_TABLES
        }
        pins = connection.execute("SELECT * FROM pins").pl()
        pinned = pins["artifact_id"].to_list()
        for name in ("artifacts", "similarity_basis", "adjustment"):
            tables[name] = connection.execute(
                f"SELECT * FROM {name} WHERE artifact_id IN (SELECT unnest(?))",
                [pinned],
            ).pl()
    with new.transaction() as connection:
        for name, rows in {**tables, "pins": pins}.items():
            connection.register("copied_rows", rows.to_arrow())
            connection.execute(f"INSERT INTO {name} SELECT * FROM copied_rows")
