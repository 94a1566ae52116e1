"""What a conversation that is forgotten leaves in files beside the warehouse, and how it goes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.artifacts.tables import KINDS

if TYPE_CHECKING:
    import duckdb

    from convrec.artifacts import Store


def remove_from_files(
    contexts: Sequence[str],
    texts: Sequence[str],
    reports: Sequence[str],
    checkpoints: Sequence[str],
    store: Store,
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """Remove reports, what trainings and partitions have on the way, and what names a context.

    Also files of the embedded endpoint that hold a text. `checkpoints` may name a context in their
    samples; in a lake their new file is named in the transaction of `connection`.
    """
    from convrec.llm.batch.store import remove_transfers, unreadable_file
    from convrec.training.metrics_log import SAMPLES

    remove_transfers(store.home / "spool")
    everywhere = unreadable_file(store.home / "spool")  # whose they are nobody can say
    for path in everywhere.parent.glob(everywhere.name):
        path.unlink()
    for report in reports:
        shutil.rmtree(store.folder(report), ignore_errors=True)
        (store.home / "results" / report).unlink(missing_ok=True)
    _remove_uploads([*contexts, *texts], store.home / "demo-endpoint")
    for path in (store.home / "changes").glob("*.csv"):
        _cut_changes(path, contexts)
    for folder in _workspaces(store.home / "training", connection):
        _clear(folder, contexts)
    for checkpoint in checkpoints:
        folder = store.fetch_folder(checkpoint)
        if _cut_samples(folder / SAMPLES, contexts):
            store.share_file(connection, str(folder.relative_to(store.home)))


def _remove_uploads(marks: Sequence[str], folder: Path) -> None:
    """Remove files of the embedded endpoint that hold any of the marks."""
    sought = {mark.encode() for mark in marks} | {
        json.dumps(mark, ensure_ascii=ascii)[1:-1].encode()
        for mark in marks
        for ascii in (True, False)
    }
    for path in folder.glob("file-*.content"):
        content = path.read_bytes()
        if any(mark in content for mark in sought):
            path.unlink()
            path.with_suffix(".json").unlink(missing_ok=True)


def _cut_changes(path: Path, contexts: Sequence[str]) -> None:
    """Take the contexts out of the lines of a catalog change."""
    import polars as pl

    lines = pl.read_csv(path, infer_schema=False)
    kept = lines.filter(~pl.col("context_id").is_in(list(contexts)))
    if kept.height < lines.height:
        part = path.with_suffix(".part")
        kept.write_csv(part)
        os.replace(part, path)


def _workspaces(training: Path, connection: duckdb.DuckDBPyConnection) -> Iterator[Path]:
    """Where work on an artifact waits to go on, in `runner.folder` of earlier runs too."""
    rows = connection.execute(
        "SELECT DISTINCT json_extract_string(config, '$.runner.folder') FROM runs"
    ).fetchall()
    for parent in {training, *(Path(folder) for (folder,) in rows if folder)}:
        for folder in parent.iterdir() if parent.is_dir() else ():
            if folder.is_dir() and folder.name.rpartition("-")[0] in KINDS:
                yield folder


def _clear(folder: Path, contexts: Collection[str]) -> None:
    """Remove partitions, which are quickly made again, and what a launched training was given.

    What a living process works in stays to it.
    """
    from convrec.training.metrics_log import SAMPLES
    from convrec.utils.workspace import remove_workspace, try_lock_workspace

    if not folder.name.startswith("checkpoint-"):
        remove_workspace(folder)
        return
    with try_lock_workspace(folder) as ours:
        for given in folder.glob("launch-*/") if ours else ():
            shutil.rmtree(given, ignore_errors=True)
        if ours:
            _cut_samples(folder / SAMPLES, contexts)


def _cut_samples(path: Path, contexts: Collection[str]) -> bool:
    """Take the contexts out of the samples of a training; whether there were any."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line for line in lines if not any(_names(line, context) for context in contexts)]
    if len(kept) == len(lines):
        return False
    part = path.with_suffix(".part")
    part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    os.replace(part, path)
    return True


def _names(line: str, context: str) -> bool:
    return f'"context_id": {json.dumps(context, ensure_ascii=False)}' in line
