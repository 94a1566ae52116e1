"""`artifacts forget`: deletes conversations from every table, the spool, responses and files.

Counts and costs in the ledger, metrics, and the weights of checkpoints trained on a conversation
stay; those checkpoints are listed so that they can be retrained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from convrec.artifacts import Store
from convrec.artifacts.tables import KINDS
from convrec.errors import InputError, WarehouseError
from convrec.llm.response_store import recovered_responses
from convrec.llm.spool import count_live_owners, spool_lock
from convrec.operations.forget_files import remove_from_files
from convrec.stages.reflect import sanitize
from convrec.stages.remap.texts import text_key, truncate

CONTEXT_TABLES = [
    *(kind for kind, columns in KINDS.items() if "context_id" in columns),
    "failures",
    "embeddings",
]
"""Tables with a column `context_id`."""

MIN_TRUNCATED_LENGTH = 500
"""A text that starts with this many characters of a conversation may be that one, truncated."""

_FIND_REQUESTS = """
CREATE TEMP TABLE forgotten_{table} AS
SELECT DISTINCT request_key FROM {table} JOIN forgotten ON owner = context_id
UNION
SELECT DISTINCT request_key FROM {table}, forgotten_texts
WHERE contains(body, opening || escaped || closing)
   OR (length(escaped) > {minimum} AND contains(body, opening || left(escaped, {minimum})))
"""

_DESCENDANTS = """
WITH RECURSIVE line(artifact_id) AS (
    SELECT DISTINCT artifact_id FROM conversations JOIN forgotten USING (context_id)
    WHERE $split IN ('', split)
    UNION
    SELECT lineage.artifact_id FROM lineage JOIN line ON parent_id = line.artifact_id
)
SELECT artifact_id FROM line JOIN artifacts USING (artifact_id)
WHERE kind = $kind ORDER BY created_at
"""


@dataclass
class ForgetReport:
    """What was deleted: rows by table, and reports. `checkpoints` were trained on it, and stay."""

    conversations: list[str]
    removed: dict[str, int] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)


def forget_conversations(
    names: Sequence[str], store: Store, *, dry_run: bool = False
) -> ForgetReport:
    """Delete conversations, named by context_id or sample_id, and every copy of their text.

    A dry run only counts. Raises InputError for a name in no table, and WarehouseError while a
    process sends requests to an endpoint or has the warehouse open.
    """
    responses = recovered_responses(store)
    with spool_lock(store.home / "spool"):
        if count_live_owners(store.home / "spool") or responses.has_lake_claims():
            raise WarehouseError(
                "a run is sending requests and may store responses about this conversation; wait "
                "until it ends, or stop it, and run this again"
            )
        with store.backend.erase_transaction(dry_run=dry_run) as connection:
            contexts = _find_contexts(names, connection)
            texts = _create_forgotten_tables(contexts, connection)
            report = ForgetReport(contexts)
            report.checkpoints = _find_descendants("checkpoint", connection, split="train")
            report.reports = _find_descendants("report", connection)
            validated = _find_descendants("checkpoint", connection, split="validation")
            report.removed = _delete_rows(report.reports, connection)
            if not dry_run:  # before the commit: after a crash the command can be run again
                remove_from_files(contexts, texts, report.reports, validated, store, connection)
    return report


def _find_contexts(names: Sequence[str], connection: duckdb.DuckDBPyConnection) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        rows = connection.execute(
            "SELECT DISTINCT context_id FROM conversations WHERE context_id = $1 OR sample_id = $1",
            [name],
        ).fetchall()
        rows += connection.execute(
            "SELECT DISTINCT owner FROM llm_answers WHERE owner = ?", [name]
        ).fetchall()
        if not rows:
            raise InputError(
                f"no conversation {name!r} in the warehouse: give a context_id or sample_id of a "
                "`conversations` artifact, as `convrec artifacts show ID` prints them"
            )
        found.update(dict.fromkeys(context for (context,) in rows))
    return list(found)


def _create_forgotten_tables(
    contexts: list[str], connection: duckdb.DuckDBPyConnection
) -> list[str]:
    """Create temporary tables of contexts, texts and requests to delete; returns the texts."""
    connection.execute("CREATE TEMP TABLE forgotten (context_id VARCHAR)")
    connection.executemany("INSERT INTO forgotten VALUES (?)", [[name] for name in contexts])
    rows = connection.execute(
        "SELECT DISTINCT conversation FROM conversations JOIN forgotten USING (context_id)"
    ).fetchall()
    texts = [text for (text,) in rows]
    connection.execute(
        "CREATE TEMP TABLE forgotten_texts (opening VARCHAR, escaped VARCHAR, closing VARCHAR)"
    )
    connection.execute("CREATE TEMP TABLE forgotten_embeddings (text_key VARCHAR)")
    for text in texts:
        for row in _request_patterns(text):
            connection.execute("INSERT INTO forgotten_texts VALUES (?, ?, ?)", row)
        # By text: the vector may belong to another conversation that was forgotten before.
        key = text_key(truncate(text))
        connection.execute("INSERT INTO forgotten_embeddings VALUES (?)", [key])
    for table in ("llm_answers", "llm_batch_requests"):
        sql = _FIND_REQUESTS.format(table=table, minimum=MIN_TRUNCATED_LENGTH)
        connection.execute(sql)
    return texts


def _request_patterns(text: str) -> list[list[str]]:
    """(opening, text, closing) of a conversation in the JSON of a request."""
    patterns = [
        [
            "<conversation>\\n",
            json.dumps(variant, ensure_ascii=False)[1:-1],
            "\\n</conversation>",
        ]
        for variant in {text, sanitize(text, len(text))}
    ]
    # A request for embeddings contains a list of texts of several conversations.
    if embedded := json.dumps(text.strip(), ensure_ascii=False)[1:-1]:
        patterns += [[opening, embedded, '"'] for opening in ('["', '", "')]
    return patterns


def _find_descendants(
    kind: str, connection: duckdb.DuckDBPyConnection, *, split: str = ""
) -> list[str]:
    """Artifacts of a kind made from a forgotten conversation; of one split, if given."""
    rows = connection.execute(_DESCENDANTS, {"kind": kind, "split": split}).fetchall()
    return [artifact_id for (artifact_id,) in rows]


def _delete_rows(reports: list[str], connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Delete rows; returns table → number of rows. Drops the temporary tables."""
    removed: dict[str, int] = {}

    def delete(table: str, condition: str, values: Sequence[object] = ()) -> None:
        [(count,)] = connection.execute(
            f'DELETE FROM "{table}" WHERE {condition}',  # noqa: S608
            list(values),
        ).fetchall()
        if count:
            removed[table] = removed.get(table, 0) + int(count)

    delete(
        "quarantine",
        "EXISTS (SELECT 1 FROM forgotten WHERE contains(raw, context_id)) OR "
        "EXISTS (SELECT 1 FROM forgotten_texts WHERE contains(raw, escaped))",
    )
    for table in CONTEXT_TABLES:
        delete(table, "context_id IN (SELECT context_id FROM forgotten)")
    delete("embeddings", "text_key IN (SELECT text_key FROM forgotten_embeddings)")
    for table in ("llm_answers", "llm_batch_requests"):
        delete(table, f"request_key IN (SELECT request_key FROM forgotten_{table})")  # noqa: S608
    delete(
        "llm_judged",
        "request_key IN (SELECT request_key FROM forgotten_llm_answers) "
        "OR context_id IN (SELECT context_id FROM forgotten)",
    )
    for report in reports:
        for table in ("report", "artifacts", "lineage"):
            delete(table, "artifact_id = ?", [report])
    for kind in KINDS:
        connection.execute(
            f'UPDATE artifacts SET rows = (SELECT count(*) FROM "{kind}" AS remaining '  # noqa: S608
            "WHERE remaining.artifact_id = artifacts.artifact_id) WHERE kind = ?",
            [kind],
        )
    for table in ("llm_answers", "llm_batch_requests", "embeddings", "texts"):
        connection.execute(f"DROP TABLE forgotten_{table}")
    connection.execute("DROP TABLE forgotten")
    return removed
