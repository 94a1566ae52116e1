"""Forgetting: a conversation is removed from every table, the spool, stored answers and files.

What stays are counts and dollars (the ledger), measures, and the weights of checkpoints that were
trained on it, which are named so that somebody can train them anew. DuckDB keeps deleted rows in
free blocks, so the file is written anew and put in the place of the old one while we still hold
that one: no other process can write to it in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from convrec.artifacts.tables import KINDS
from convrec.errors import InputError, WarehouseError
from convrec.operations.forget_files import remove_from_files
from convrec.stages.reflect import sanitize

if TYPE_CHECKING:
    import duckdb

    from convrec.artifacts import Store

CONTEXT_TABLES = [
    *(kind for kind, columns in KINDS.items() if "context_id" in columns),
    "failures",
    "embeddings",
]
"""Tables whose rows name their context."""

MIN_TRUNCATED_LENGTH = 500
"""Characters from which on a text that goes on differently may be the same one, cut."""

_ANSWERS = """
CREATE TEMP TABLE gone_{table} AS
SELECT DISTINCT {key} AS key FROM {table} JOIN forgotten ON owner = context_id
UNION
SELECT DISTINCT {key} FROM {table}, forgotten_texts
WHERE contains(body, opening || escaped || closing)
   OR (length(escaped) > {shortest} AND contains(body, opening || left(escaped, {shortest})))
"""


@dataclass
class ForgetReport:
    """What was removed: rows by table, reports, and the checkpoints that were trained on it."""

    conversations: list[str]
    removed: dict[str, int] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)


def forget_conversations(
    names: Sequence[str], store: Store, *, dry_run: bool = False
) -> ForgetReport:
    """Remove conversations, named by context or sample, and every trace of their text.

    With `dry_run` only counts. Raises InputError for a name that is in no table, WarehouseError
    while another process is asking an endpoint or has the file open.
    """
    from convrec.llm.response_store import ResponseStore
    from convrec.llm.spool import count_live_owners, spool_lock

    responses = ResponseStore(store)
    responses.recover()
    with spool_lock(store.home / "spool"):
        if count_live_owners(store.home / "spool") or responses.has_lake_claims():
            raise WarehouseError(
                "a run is asking an endpoint right now and may be keeping answers to this "
                "conversation; wait for it to end, or stop it, and run this again"
            )
        with store.backend.erase_transaction(dry_run=dry_run) as connection:
            contexts = _contexts(names, connection)
            texts = _mark(contexts, connection)
            forgotten = ForgetReport(contexts, checkpoints=_checkpoints(connection))
            forgotten.reports = _reports(connection)
            marked = _checkpoints(connection, split="validation")
            forgotten.removed = _remove(forgotten.reports, connection)
            if not dry_run:  # before the commit: who is cut off here finds its conversation again
                remove_from_files(contexts, texts, forgotten.reports, marked, store, connection)
    return forgotten


def _contexts(names: Sequence[str], connection: duckdb.DuckDBPyConnection) -> list[str]:
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
                f"no conversation {name!r} in the warehouse: name a context_id or sample_id of a "
                "`conversations` artifact, as `convrec artifacts show ID` prints them"
            )
        found.update(dict.fromkeys(row[0] for row in rows))
    return list(found)


def _mark(contexts: list[str], connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Note which contexts and answers are meant; the texts of the conversations."""
    import json

    from convrec.stages.remap.texts import text_key, truncate

    connection.execute("CREATE TEMP TABLE forgotten (context_id VARCHAR)")
    connection.executemany("INSERT INTO forgotten VALUES (?)", [[name] for name in contexts])
    texts = [
        text
        for (text,) in connection.execute(
            "SELECT DISTINCT conversation FROM conversations JOIN forgotten USING (context_id)"
        ).fetchall()
    ]
    connection.execute(
        "CREATE TEMP TABLE forgotten_texts (opening VARCHAR, escaped VARCHAR, closing VARCHAR)"
    )
    for text in texts:
        for one in {text, sanitize(text, len(text))}:
            escaped = json.dumps(one, ensure_ascii=False)[1:-1]
            connection.execute(
                "INSERT INTO forgotten_texts VALUES (?, ?, ?)",
                ["<conversation>\\n", escaped, "\\n</conversation>"],
            )
        # A request for embeddings lists texts of several conversations.
        read = json.dumps(text.strip(), ensure_ascii=False)[1:-1]
        for opening in ('["', '", "') if read else ():
            connection.execute("INSERT INTO forgotten_texts VALUES (?, ?, ?)", [opening, read, '"'])
    connection.execute("CREATE TEMP TABLE gone_embeddings (key VARCHAR)")
    for text in texts:  # which another conversation, that is gone by now, may have read first
        connection.execute("INSERT INTO gone_embeddings VALUES (?)", [text_key(truncate(text))])
    for table in ("llm_answers", "llm_batch_requests"):
        sql = _ANSWERS.format(table=table, key="request_key", shortest=MIN_TRUNCATED_LENGTH)
        connection.execute(sql)
    return texts


def _checkpoints(connection: duckdb.DuckDBPyConnection, split: str = "train") -> list[str]:
    """Checkpoints that descend from conversations with one of these in a split."""
    rows = connection.execute(
        "WITH RECURSIVE line(artifact_id) AS ("
        "SELECT DISTINCT artifact_id FROM conversations JOIN forgotten USING (context_id) "
        "WHERE split = ? UNION "
        "SELECT lineage.artifact_id FROM lineage JOIN line ON parent_id = line.artifact_id) "
        "SELECT artifact_id FROM line JOIN artifacts USING (artifact_id) "
        "WHERE kind = 'checkpoint' ORDER BY created_at",
        [split],
    ).fetchall()
    return [name for (name,) in rows]


def _reports(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Reports that descend from the conversations in `forgotten`: they show examples."""
    rows = connection.execute(
        "WITH RECURSIVE line(artifact_id) AS ("
        "SELECT DISTINCT artifact_id FROM conversations JOIN forgotten USING (context_id) UNION "
        "SELECT lineage.artifact_id FROM lineage JOIN line ON parent_id = line.artifact_id) "
        "SELECT artifact_id FROM line JOIN artifacts USING (artifact_id) WHERE kind = 'report'"
    ).fetchall()
    return [name for (name,) in rows]


def _remove(reports: list[str], connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    removed: dict[str, int] = {}

    def delete(table: str, condition: str, values: Sequence[object] = ()) -> None:
        done = connection.execute(
            f'DELETE FROM "{table}" WHERE {condition}',  # noqa: S608
            list(values),
        ).fetchone()
        if done and done[0]:
            removed[table] = removed.get(table, 0) + int(done[0])

    delete(
        "quarantine",
        "EXISTS (SELECT 1 FROM forgotten WHERE contains(raw, context_id)) OR "
        "EXISTS (SELECT 1 FROM forgotten_texts WHERE contains(raw, escaped))",
    )
    for table in CONTEXT_TABLES:
        delete(table, "context_id IN (SELECT context_id FROM forgotten)")
    delete("embeddings", "text_key IN (SELECT key FROM gone_embeddings)")
    for table in ("llm_answers", "llm_batch_requests"):
        delete(table, f"request_key IN (SELECT key FROM gone_{table})")  # noqa: S608
    delete(
        "llm_judged",
        "request_key IN (SELECT key FROM gone_llm_answers) "
        "OR context_id IN (SELECT context_id FROM forgotten)",
    )
    for report in reports:
        for table in ("report", "artifacts", "lineage"):
            delete(table, "artifact_id = ?", [report])
    for kind in KINDS:
        connection.execute(
            f'UPDATE artifacts SET rows = (SELECT count(*) FROM "{kind}" AS left_over '  # noqa: S608
            "WHERE left_over.artifact_id = artifacts.artifact_id) WHERE kind = ?",
            [kind],
        )
    for table in ("answers", "batch_requests"):
        connection.execute(f"DROP TABLE gone_llm_{table}")
    for table in ("gone_embeddings", "forgotten", "forgotten_texts"):
        connection.execute(f"DROP TABLE {table}")
    return removed
