"""Partitions of contexts: their rows, and their files in a workspace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import ArtifactRef, ArtifactSpec, StepResult, Store
from convrec.config import load
from convrec.stages import contexts, partitions
from convrec.stages.base import StepContext
from convrec.stages.contexts import context_spans, row_slices, rows_of_contexts
from convrec.stages.partitions import CHUNK, NotedRows, ranges, read_notes
from convrec.stages.remap import CANDIDATES, SIMILARITY_BASIS
from convrec.stages.remap import candidates as remapped

CONTEXTS = 7
FILMS = [(f"The {name}", 1990 + n) for n, name in enumerate(("Hunter", "Queen", "Road", "River"))]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (partitions, remapped):
        monkeypatch.setattr(module, "CHUNK", 2)


@pytest.fixture
def ctx(store: Store) -> StepContext:
    """Seven contexts in the warehouse, one of them without a list, one with two samples."""
    owners = [f"c{n}" for n in range(CONTEXTS)]
    samples = [*owners[:4], owners[1], *owners[4:]]
    frames = {
        "catalog": pl.DataFrame(
            [
                {
                    "item_id": f"i{n}",
                    "title": title,
                    "year": year,
                    "aliases": [],
                    "genres": [],
                    "text": "war" if n % 2 else "crime",
                }
                for n, (title, year) in enumerate(FILMS)
            ],
            schema_overrides={"aliases": pl.List(pl.String), "genres": pl.List(pl.String)},
        ),
        "conversations": pl.DataFrame(
            {
                "sample_id": [f"s{n}" for n in range(len(samples))],
                "context_id": samples,
                "split": "train",
                "conversation": [
                    f"a {('war', 'crime')[int(c[1]) % 2]} by the river" for c in samples
                ],
            }
        ).with_columns(
            pl.lit(None).alias(name)
            for name in ("created_utc", "prompt", "seen", "ground_truth", "completion")
        ),
        "teacher_lists": pl.DataFrame(
            [
                {"context_id": owner, "rank": rank + 1, "line": "", "title": title, "year": year}
                for n, owner in enumerate(owners)
                if owner != "c3"
                for rank, (title, year) in enumerate([FILMS[n % 4], ("Unknown", 2001), FILMS[-1]])
            ]
        ),
    }
    refs = {
        kind: store.put(ArtifactSpec(kind, "ingest", 0), StepResult(frame))
        for kind, frame in frames.items()
    }
    sizes = {"remap.keep": 3, "list_length": 2, "reflect.top": 3}
    config = load("demo", {**sizes, "remap.describe": "off"})
    basis = SIMILARITY_BASIS.build(StepContext(config, store, refs))
    refs["similarity_basis"] = store.put(ArtifactSpec("similarity_basis", "remap", 0), basis)
    return StepContext(config, store, refs)


def spread(ctx: StepContext, count: int, **fields: Any) -> StepContext:
    runner = ctx.config.runner.model_copy(update={"partitions": count})
    return replace(ctx, config=ctx.config.model_copy(update={"runner": runner}), **fields)


def put(ctx: StepContext) -> tuple[ArtifactRef, pl.DataFrame]:
    ref = ctx.store.put(CANDIDATES.spec(ctx), CANDIDATES.build(ctx))
    return ref, ctx.store.read(ref.artifact_id)


def test_the_number_of_partitions_changes_neither_id_nor_row(ctx: StepContext) -> None:
    one, rows = put(spread(ctx, 1))
    three, same = put(spread(ctx, 3))
    assert one == three
    assert rows.equals(same)
    assert rows["context_id"].unique(maintain_order=True).to_list() == [
        "c0",
        "c1",
        "c2",
        "c4",
        "c5",
        "c6",
    ]
    assert rows.height == 3 * (CONTEXTS - 1)


def test_only_a_lost_partition_is_rebuilt(ctx: StepContext, tmp_path: Path) -> None:
    built_ranges: list[tuple[int, int]] = []
    broken = True

    def fail_once(ctx: StepContext, pieces: Any) -> None:
        for piece in pieces:
            if broken and piece.start == 2:
                raise OSError("power failure")
            if not piece.file.exists():
                built_ranges.append((piece.start, piece.stop))
            piece.make(ctx)

    partitioned = spread(ctx, 3, spread=fail_once, workspace=tmp_path / "work")
    with pytest.raises(OSError, match="power"):
        CANDIDATES.build(partitioned)
    broken = False
    built = CANDIDATES.build(partitioned)
    assert built_ranges == [(0, 2), (2, 4), (4, 6)]
    assert built.rows.equals(CANDIDATES.build(ctx).rows)


def test_an_unfinished_file_is_not_kept(ctx: StepContext, tmp_path: Path) -> None:
    def fail(ctx: StepContext, shared: Any, start: int, stop: int) -> Any:
        yield pl.DataFrame({"n": [1]})
        raise OSError("power failure")

    with pytest.raises(OSError, match="power"):
        partitions.build_partitions(replace(ctx, workspace=tmp_path / "work"), fail, 2, {})
    assert [path.name for path in (tmp_path / "work").iterdir()] == [".lock"]


def test_notes_of_all_partitions_are_kept(ctx: StepContext, tmp_path: Path) -> None:
    def build(ctx: StepContext, shared: Any, start: int, stop: int) -> Any:
        for first in range(start, stop, 2):
            odd = [n for n in range(first, min(first + 2, stop)) if n % 2]
            rows = pl.DataFrame({"n": range(first, min(first + 2, stop))})
            yield NotedRows(rows, pl.DataFrame({"odd": odd}, schema={"odd": pl.Int64}))

    kept = spread(ctx, 3, workspace=tmp_path / "work")
    built = partitions.build_partitions(kept, build, 7, {})
    assert built.frame()["n"].to_list() == list(range(7))
    assert read_notes(built)["odd"].to_list() == [1, 3, 5]
    built.cleanup.close()


def test_two_builds_do_not_share_a_folder(ctx: StepContext, tmp_path: Path) -> None:
    first = CANDIDATES.build(replace(ctx, workspace=tmp_path / "work"))
    second = CANDIDATES.build(replace(ctx, workspace=tmp_path / "work"))
    first.close()
    assert second.rows.equals(first.rows)
    second.close()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()].count("work") == 1


def test_ranges_begin_at_a_multiple_of_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "CHUNK", CHUNK)
    assert ranges(2000, 3) == [(0, 1024), (1024, 2000)]
    assert ranges(100, 0) == [(0, 100)]
    assert [stop - start for start, stop in ranges(70_000, 0)] == [32_768, 32_768, 4464]


def test_spans_do_not_depend_on_the_block_size(
    ctx: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = {role: context_spans(ctx, role) for role in ("conversations", "teacher_lists")}
    assert spans["conversations"].rows() == [
        ("c0", 0, 0),
        ("c1", 1, 4),
        *((f"c{n}", n, n) for n in (2, 3)),
        *((f"c{n}", n + 1, n + 1) for n in (4, 5, 6)),
    ]
    for size in (1, 2, 5):
        monkeypatch.setattr(contexts, "SPAN_ROWS", size)
        for role, expected in spans.items():
            in_memory = replace(ctx, frames={role: ctx.frame(role)})
            assert context_spans(ctx, role).equals(expected)
            assert context_spans(in_memory, role).equals(expected)


def test_rows_between_distant_contexts_are_not_read(
    ctx: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "SPARSE", 1)
    for role in ("conversations", "teacher_lists"):
        all_rows, spans = ctx.rows(role, 0, 100, "context_id"), context_spans(ctx, role)
        distant = pl.col("context_id").is_in(["c0", "c6"])
        rows = rows_of_contexts(ctx, role, spans.filter(distant), "context_id")
        assert rows.equals(all_rows.filter(distant))
        assert rows_of_contexts(ctx, role, spans, "context_id").equals(all_rows)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_deleted_rows_do_not_hide_other_rows(
    ctx: StepContext, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    before = ctx.frame("conversations", "context_id", "sample_id")
    with ctx.store.transaction() as connection:
        connection.execute("DELETE FROM conversations WHERE context_id = 'c1'")
        connection.execute("UPDATE artifacts SET rows = 6 WHERE kind = 'conversations'")
    refs = {**ctx.parents}
    refs["conversations"] = ctx.store.headers("conversations")[0].ref
    ctx = replace(ctx, parents=refs)
    monkeypatch.setattr(contexts, "PARTITION", size)
    monkeypatch.setattr(contexts, "SPAN_ROWS", size)
    rows = pl.concat(row_slices(ctx, "conversations", "context_id", "sample_id"))
    assert rows.drop("row").equals(before.filter(pl.col("context_id") != "c1"))
    assert context_spans(ctx, "conversations")["last"].to_list() == [0, 2, 3, 5, 6, 7]
