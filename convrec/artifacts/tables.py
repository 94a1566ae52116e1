"""The columns of every kind of artifact, and the SQL that creates an empty warehouse.

Every kind has its own table with `artifact_id` first and `row` (position in the artifact) second.
There are no primary keys and no sequences, because DuckLake has none; ids are unique because they
are content hashes and an insert replaces.
"""

from __future__ import annotations

from datetime import UTC, datetime

SCHEMA_VERSION = 9

STORAGE_OPTION = "STORAGE_VERSION 'v1.3.0'"
"""Option to attach a warehouse file for writing: the first format with small dictionaries.

The first write converts a file of an older format.
"""

_TITLE = "STRUCT(title VARCHAR, year INTEGER)"

KINDS: dict[str, dict[str, str]] = {
    "catalog": {
        "item_id": "VARCHAR",
        "title": "VARCHAR",
        "year": "INTEGER",
        "aliases": "VARCHAR[]",
        "genres": "VARCHAR[]",
        "text": "VARCHAR",
    },
    "conversations": {
        "sample_id": "VARCHAR",
        "context_id": "VARCHAR",
        "split": "VARCHAR",
        "created_utc": "BIGINT",
        "conversation": "VARCHAR",
        "prompt": "VARCHAR",
        "seen": f"{_TITLE}[]",
        "ground_truth": f"{_TITLE}[]",
        "completion": "VARCHAR",
    },
    "quarantine": {
        "source": "VARCHAR",
        "line": "BIGINT",
        "reason": "VARCHAR",
        "raw": "VARCHAR",
    },
    "teacher_lists": {
        "context_id": "VARCHAR",
        "rank": "INTEGER",
        "line": "VARCHAR",
        "title": "VARCHAR",
        "year": "INTEGER",
    },
    "descriptions": {
        "item_id": "VARCHAR",
        "title": "VARCHAR",
        "year": "INTEGER",
        "source": "VARCHAR",
        "keywords": "VARCHAR[]",
        "plot": "VARCHAR",
    },
    "similarity_basis": {
        "term": "VARCHAR",
        "column": "INTEGER",
        "idf": "DOUBLE",
    },
    "candidates": {
        "context_id": "VARCHAR",
        "rank": "INTEGER",
        "item_id": "VARCHAR",
        "score": "DOUBLE",
        "identity": "DOUBLE",
        "similarity": "DOUBLE",
        "conversation": "DOUBLE",
        "linked_from": "VARCHAR",
        "link_method": "VARCHAR",
        "link_score": "DOUBLE",
        "runner_up": "VARCHAR",
        "runner_up_score": "DOUBLE",
    },
    "judgments": {
        "context_id": "VARCHAR",
        "item_id": "VARCHAR",
        "rating": "DOUBLE",
        "ratings": "INTEGER[]",
        "positions": "INTEGER[]",
        "score": "DOUBLE",
    },
    "adjustment": {
        "item_id": "VARCHAR",
        "weight": "DOUBLE",
        "bias": "DOUBLE",
    },
    "demonstrations": {
        "context_id": "VARCHAR",
        "sample_id": "VARCHAR",
        "split": "VARCHAR",
        "items": "VARCHAR[]",
        "completion": "VARCHAR",
    },
    "checkpoint": {
        "path": "VARCHAR",
        "base": "VARCHAR",
        "parameters": "BIGINT",
        "manifest": "VARCHAR",
    },
    "generations": {
        "system": "VARCHAR",
        "sample_id": "VARCHAR",
        "context_id": "VARCHAR",
        "draw": "INTEGER",
        "completion": "VARCHAR",
    },
    "metrics": {
        "system": "VARCHAR",
        "versus": "VARCHAR",
        "protocol": "VARCHAR",
        "slice": "VARCHAR",
        "metric": "VARCHAR",
        "value": "DOUBLE",
        "low": "DOUBLE",
        "high": "DOUBLE",
        "n": "INTEGER",
    },
    "ablation": {
        "split": "VARCHAR",
        "step": "VARCHAR",
        "metric": "VARCHAR",
        "value": "DOUBLE",
        "low": "DOUBLE",
        "high": "DOUBLE",
        "gain": "DOUBLE",
        "gain_low": "DOUBLE",
        "gain_high": "DOUBLE",
        "n": "INTEGER",
    },
    "search": {
        "round": "VARCHAR",
        "similarity_weight": "DOUBLE",
        "conversation_weight": "DOUBLE",
        "weight": "DOUBLE",
        "top": "INTEGER",
        "length": "INTEGER",
        "value": "DOUBLE",
        "low": "DOUBLE",
        "high": "DOUBLE",
        "chosen": "BOOLEAN",
        "best": "BOOLEAN",
        "configured": "BOOLEAN",
    },
    "report": {
        "path": "VARCHAR",
        "sha256": "VARCHAR",
    },
}

ARTIFACT_TABLES = ("artifacts", "lineage", "failures", "curves")
"""Tables that have rows of every artifact, in addition to the table of its kind."""

JUDGED_SQL = """
CREATE TABLE llm_judged (
    judge_key VARCHAR, pass INTEGER, items VARCHAR[], request_key VARCHAR, context_id VARCHAR
);
"""
"""Which request asked a judge about which pairs.

`judge_key` is the digest of the conversation, the judge and the prompt settings; `items` are the
lines that the judge saw, in the order shown.
"""

EMBEDDINGS_SQL = """
CREATE TABLE embeddings (model VARCHAR, text_key VARCHAR, context_id VARCHAR, vector FLOAT[]);
"""
"""Vectors by model and SHA-256 of the text; `context_id` is empty for the text of an item."""

CURRENT_ARTIFACTS_SQL = """
CREATE TABLE current_artifacts (mark VARCHAR, artifact_id VARCHAR, requests BIGINT);
"""
"""Artifacts that are up to date, by the fingerprint of all their inputs (stages/fingerprint.py)."""

RUNS_SQL = """
CREATE TABLE runs (
    run_id VARCHAR, flow VARCHAR, profile VARCHAR, overrides VARCHAR, config VARCHAR,
    revision VARCHAR, state VARCHAR, started_at TIMESTAMP, ended_at TIMESTAMP
);
CREATE TABLE run_artifacts (
    run_id VARCHAR, node VARCHAR, artifact_id VARCHAR, state VARCHAR, seconds DOUBLE,
    noted_at TIMESTAMP
);
"""
"""All runs, and for each node of a run the artifact that it built or found in the cache."""

CATALOGS_SQL = """
CREATE TABLE catalog_versions (
    name VARCHAR, version INTEGER, sha256 VARCHAR, file VARCHAR, source VARCHAR, items BIGINT,
    quarantined BIGINT, compared_with VARCHAR, published_at TIMESTAMP, announced_at TIMESTAMP
);
CREATE TABLE catalog_changes (
    name VARCHAR, version INTEGER, change VARCHAR, item_id VARCHAR, title VARCHAR, year INTEGER,
    old_item_id VARCHAR, old_title VARCHAR, old_year INTEGER, fields VARCHAR[]
);
"""
"""Published catalogs, and the items that each version added, removed, renamed or changed."""

COMMON_SQL = f"""
CREATE TABLE meta (key VARCHAR, value VARCHAR);
CREATE TABLE artifacts (
    artifact_id VARCHAR, kind VARCHAR, stage VARCHAR, version INTEGER, config VARCHAR,
    inputs VARCHAR, rows BIGINT, partial BOOLEAN, figures VARCHAR, seconds DOUBLE,
    created_at TIMESTAMP, flow_run_id VARCHAR, task_run_id VARCHAR
);
CREATE TABLE lineage (artifact_id VARCHAR, role VARCHAR, parent_id VARCHAR);
CREATE TABLE failures (
    artifact_id VARCHAR, context_id VARCHAR, reason VARCHAR, final BOOLEAN
);
CREATE TABLE curves (artifact_id VARCHAR, step INTEGER, name VARCHAR, value DOUBLE);
CREATE TABLE pins (name VARCHAR, artifact_id VARCHAR, created_at TIMESTAMP);
CREATE TABLE llm_answers (
    request_key VARCHAR, owner VARCHAR, endpoint VARCHAR, model VARCHAR, body VARCHAR,
    response VARCHAR, response_digest VARCHAR, origin VARCHAR, created_at TIMESTAMP
);
CREATE TABLE llm_ledger (
    request_key VARCHAR, run VARCHAR, stage VARCHAR, endpoint VARCHAR, model VARCHAR,
    origin VARCHAR, prompt_tokens BIGINT, cached_tokens BIGINT, completion_tokens BIGINT,
    reasoning_tokens BIGINT, usd DOUBLE, created_at TIMESTAMP
);
CREATE TABLE llm_batches (
    batch_key VARCHAR, endpoint VARCHAR, stage VARCHAR, run VARCHAR, state VARCHAR,
    requests BIGINT, file_id VARCHAR, batch_id VARCHAR, note VARCHAR,
    created_at TIMESTAMP, updated_at TIMESTAMP
);
CREATE TABLE llm_batch_requests (
    batch_key VARCHAR, request_key VARCHAR, owner VARCHAR, model VARCHAR, body VARCHAR
);
{JUDGED_SQL}
{EMBEDDINGS_SQL}
{CURRENT_ARTIFACTS_SQL}
{RUNS_SQL}
{CATALOGS_SQL}
INSERT INTO meta VALUES
    ('convrec', 'warehouse'), ('schema_version', '{SCHEMA_VERSION}'), ('store_id', uuid()::VARCHAR);
"""  # noqa: S608


def sql_literal(text: str) -> str:
    """A text as an SQL literal, for statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def utc_now() -> datetime:
    """The current time as the warehouse stores it: UTC, without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def table_sql(kind: str) -> str:
    """SQL that creates the table of one kind of artifact."""
    columns = ", ".join(f'"{name}" {sql}' for name, sql in KINDS[kind].items())
    return f'CREATE TABLE "{kind}" (artifact_id VARCHAR, "row" BIGINT, {columns});\n'


def creation_sql() -> str:
    """SQL that creates every table of an empty warehouse."""
    return COMMON_SQL + "".join(map(table_sql, KINDS))
