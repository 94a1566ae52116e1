"""Migrations of a warehouse from earlier schema versions.

Each migration is numbered by the schema version that it leads to. All run in the transaction that
raises the version, so a warehouse is never between two versions.
"""

from __future__ import annotations

import duckdb

from convrec.artifacts.tables import (
    CATALOGS_SQL,
    CURRENT_ARTIFACTS_SQL,
    EMBEDDINGS_SQL,
    JUDGED_SQL,
    RUNS_SQL,
    SCHEMA_VERSION,
    table_sql,
)
from convrec.errors import WarehouseError
from convrec.utils.error_text import first_line

JUDGED_PAIRS_SQL = """
CREATE TABLE llm_judged (
    judge_key VARCHAR, item VARCHAR, pass INTEGER, position INTEGER, shown INTEGER,
    request_key VARCHAR, context_id VARCHAR
);
"""
"""The table in schemas 3 to 7: one row per pair."""

MIGRATIONS = {
    # Final failures, owners of responses, batches, reasoning tokens and origins of requests.
    2: """
        ALTER TABLE failures ADD COLUMN final BOOLEAN;
        UPDATE failures SET final = false;
        ALTER TABLE llm_answers ADD COLUMN owner VARCHAR;
        ALTER TABLE llm_ledger ADD COLUMN origin VARCHAR;
        ALTER TABLE llm_ledger ADD COLUMN reasoning_tokens BIGINT;
        UPDATE llm_ledger SET origin = 'live', reasoning_tokens = 0;
        CREATE TABLE llm_batches (
            batch_key VARCHAR, endpoint VARCHAR, stage VARCHAR, run VARCHAR, state VARCHAR,
            requests BIGINT, file_id VARCHAR, batch_id VARCHAR, note VARCHAR,
            created_at TIMESTAMP, updated_at TIMESTAMP
        );
        CREATE TABLE llm_batch_requests (
            batch_key VARCHAR, request_key VARCHAR, owner VARCHAR, model VARCHAR, body VARCHAR
        );
    """,
    # Runners-up of links, ratings by pass, judged pairs, embeddings, experiments.
    3: f"""
        ALTER TABLE candidates ADD COLUMN runner_up VARCHAR;
        ALTER TABLE candidates ADD COLUMN runner_up_score DOUBLE;
        CREATE TABLE judgments_by_pass AS SELECT artifact_id, "row", context_id, item_id,
            rating::DOUBLE AS rating, [rating] AS ratings, [position] AS positions, score
            FROM judgments;
        DROP TABLE judgments;
        ALTER TABLE judgments_by_pass RENAME TO judgments;
        {JUDGED_PAIRS_SQL}
        {EMBEDDINGS_SQL}
        {table_sql("ablation")}
        {table_sql("search")}
    """,  # noqa: S608
    # Runs. Earlier runs have the artifacts that they built, not those from the cache.
    4: f"""
        {RUNS_SQL}
        INSERT INTO run_artifacts
            SELECT flow_run_id, kind, artifact_id, 'completed', seconds, created_at
            FROM artifacts WHERE flow_run_id <> '';
        INSERT INTO runs
            SELECT run_id, '', '', '{{}}', '{{}}', '', 'unrecorded', min(noted_at), max(noted_at)
            FROM run_artifacts GROUP BY run_id;
    """,  # noqa: S608
    # Published catalogs.
    5: CATALOGS_SQL,
    # Metrics of slices of the test set.
    6: "ALTER TABLE metrics ADD COLUMN slice VARCHAR;",
    # Up-to-date artifacts, so that their ids are known without building their requests.
    7: CURRENT_ARTIFACTS_SQL,
    # One row per judge request instead of one per pair: a thirtieth of the rows.
    8: f"""
        ALTER TABLE llm_judged RENAME TO llm_judged_pairs;
        {JUDGED_SQL}
        INSERT INTO llm_judged
            SELECT judge_key, pass, list(pair.item ORDER BY position), request_key, min(asked.owner)
            FROM (
                SELECT judge_key, pass, request_key, max(context_id) AS owner,
                    unnest(range(1, max(shown) + 1))::INTEGER AS position
                FROM llm_judged_pairs GROUP BY judge_key, pass, request_key
            ) AS asked
            LEFT JOIN llm_judged_pairs AS pair USING (judge_key, pass, request_key, position)
            GROUP BY judge_key, pass, request_key;
        DROP TABLE llm_judged_pairs;
    """,  # noqa: S608
    # Descriptions of items.
    9: table_sql("descriptions"),
}


def migrate(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    """Migrate a warehouse of schema `version`, inside the caller's transaction.

    Raises WarehouseError if a migration fails; the caller then rolls back.
    """
    for number in range(version + 1, SCHEMA_VERSION + 1):
        try:
            connection.execute(MIGRATIONS[number])
        except duckdb.Error as error:
            raise WarehouseError(
                f"the migration of the warehouse from schema {version} failed at {number} "
                f"({first_line(error)}); it was not changed, and the convrec that created it can "
                "still use it"
            ) from None
    connection.execute(
        "UPDATE meta SET value = ? WHERE key = 'schema_version'", [str(SCHEMA_VERSION)]
    )
