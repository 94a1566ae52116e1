"""Deletes a forgotten conversation from the files of a home."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import duckdb
import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.tables import KINDS
from convrec.llm.batch.store import remove_transfers, unreadable_file
from convrec.training.metrics_log import SAMPLES
from convrec.utils.files import atomic_path
from convrec.utils.workspace import remove_workspace, try_lock_workspace


def remove_from_files(
    contexts: Sequence[str],
    texts: Sequence[str],
    reports: Sequence[str],
    checkpoints: Sequence[str],
    store: Store,
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """Delete reports, unfinished work, and all files or lines that contain a context or text.

    `checkpoints` are those whose samples may contain a context. A lake gets new copies of them in
    the transaction of `connection`.
    """
    remove_transfers(store.home / "spool")
    unreadable = unreadable_file(store.home / "spool")  # of any batch: the owners are unknown
    for path in unreadable.parent.glob(unreadable.name):
        path.unlink()
    for report in reports:
        shutil.rmtree(store.folder(report), ignore_errors=True)
        (store.home / "results" / report).unlink(missing_ok=True)
    _remove_uploads([*contexts, *texts], store.home / "demo-endpoint")
    for path in (store.home / "changes").glob("*.csv"):
        _remove_changes(path, contexts)
    _remove_interrupted_writes(store.home / "changes")
    for folder in _workspaces(store.home / "training", connection):
        _clean_workspace(folder, contexts)
    for checkpoint in checkpoints:
        folder = store.fetch_folder(checkpoint)
        if _remove_samples(folder / SAMPLES, contexts):
            store.share_file(connection, str(folder.relative_to(store.home)))


def _remove_uploads(texts: Sequence[str], folder: Path) -> None:
    """Delete files of the embedded endpoint that contain any of the texts."""
    encoded = {text.encode() for text in texts} | {
        json.dumps(text, ensure_ascii=is_ascii)[1:-1].encode()
        for text in texts
        for is_ascii in (True, False)
    }
    for path in folder.glob("file-*.content"):
        content = path.read_bytes()
        if any(text in content for text in encoded):
            path.unlink()
            path.with_suffix(".json").unlink(missing_ok=True)


def _remove_changes(path: Path, contexts: Sequence[str]) -> None:
    """Delete the contexts from the report of a catalog change."""
    lines = pl.read_csv(path, infer_schema=False)
    remaining = lines.filter(~pl.col("context_id").is_in(list(contexts)))
    if remaining.height < lines.height:
        with atomic_path(path) as part:
            remaining.write_csv(part)


def _workspaces(training: Path, connection: duckdb.DuckDBPyConnection) -> Iterator[Path]:
    """Folders of unfinished artifacts, also in `runner.folder` of earlier runs."""
    rows = connection.execute(
        "SELECT DISTINCT json_extract_string(config, '$.runner.folder') FROM runs"
    ).fetchall()
    for parent in {training, *(Path(folder) for (folder,) in rows if folder)}:
        for folder in parent.iterdir() if parent.is_dir() else ():
            if folder.is_dir() and folder.name.rpartition("-")[0] in KINDS:
                yield folder


def _clean_workspace(folder: Path, contexts: Collection[str]) -> None:
    """Delete partitions, which are quick to rebuild, or the data and samples of a training.

    A folder that another process uses is left alone.
    """
    if not folder.name.startswith("checkpoint-"):
        remove_workspace(folder)
        return
    with try_lock_workspace(folder) as is_free:
        if is_free:
            for launch in folder.glob("launch-*/"):
                shutil.rmtree(launch, ignore_errors=True)
            _remove_samples(folder / SAMPLES, contexts)
            _remove_interrupted_writes(folder)


def _remove_samples(path: Path, contexts: Collection[str]) -> bool:
    """Delete the contexts from the samples of a training; returns whether there were any."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [f'"context_id": {json.dumps(name, ensure_ascii=False)}' for name in contexts]
    remaining = [line for line in lines if not any(name in line for name in names)]
    if len(remaining) == len(lines):
        return False
    with atomic_path(path) as part:
        part.write_text("".join(f"{line}\n" for line in remaining), encoding="utf-8")
    return True


def _remove_interrupted_writes(folder: Path) -> None:
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)
