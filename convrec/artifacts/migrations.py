"""How a warehouse of an earlier version becomes one of this version.

Each migration is numbered by the schema version that it leads to, and runs in the transaction that
raises the version, so that a warehouse is always wholly of one version.
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
"""As it was from schema 3 to 7: one row a pair."""

MIGRATIONS = {
    # Final failures; whose answer it is; batches; reasoning tokens and how a request went out.
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
    # Runners-up of links; ratings by pass, who was asked about which pair; embeddings; experiments.
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
    # Runs. Of earlier ones the warehouse knows what they made, but not what they found made.
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
    # Metrics of a part of the test set.
    6: "ALTER TABLE metrics ADD COLUMN slice VARCHAR;",
    # Artifacts found complete, so that their requests need not be made to name them.
    7: CURRENT_ARTIFACTS_SQL,
    # One row a request of the judge instead of one a pair: a thirtieth of the rows.
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
}


def migrate(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    """Bring a warehouse of schema `version` up to date, inside the caller's transaction.

    Raises WarehouseError where that is not possible; the transaction is then to be rolled back.
    """
    for number in range(version + 1, SCHEMA_VERSION + 1):
        try:
            connection.execute(MIGRATIONS[number])
        except duckdb.Error as error:
            raise WarehouseError(
                f"the warehouse is of schema {version}, and the step to {number} failed "
                f"({first_line(error)}); it stays as it was, and the convrec that made it "
                "can go on using it"
            ) from None
    connection.execute(
        "UPDATE meta SET value = ? WHERE key = 'schema_version'", [str(SCHEMA_VERSION)]
    )
