"""After a catalog edit: patched earlier candidates equal those of a fresh warehouse."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import ArtifactRef, ArtifactSpec, StepResult, Store, digest
from convrec.artifacts.patched_rows import PatchedRows
from convrec.config import load
from convrec.errors import WarehouseError
from convrec.stages import contexts
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES, SIMILARITY_BASIS
from convrec.stages.remap.incremental import edited_items, longest_increasing_subsequence

pytestmark = pytest.mark.on_ducklake

WORDS = ("Alpha", "Beta", "Gamma", "Delta", "Épsilon", "Zeta", "Eta", "Theta", "Iota", "Kappa", "2")
CONTEXTS = 60
Items = list[dict[str, Any]]
Frames = dict[str, pl.DataFrame]


def item(rng: random.Random) -> dict[str, Any]:
    """Of so few words that many items have the same, and the same score."""
    title, year = " ".join(rng.choices(WORDS, k=rng.randint(1, 3))), rng.choice((1999, 2000, 2004))
    genres = rng.sample(("Crime", "Drama", "Horror"), rng.randint(0, 2))
    name = f"{title} ({year})"
    return {
        "item_id": name, "title": title, "year": year, "aliases": [], "genres": genres, "text": ""
    }  # fmt: skip


def edit(items: Items, rng: random.Random) -> Items:
    """One or two changes of every kind that people make."""
    items = [dict(one) for one in items]
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(items))
        kind = rng.choice(("remove", "add", "rename", "text", "alias", "move"))
        if kind == "remove":
            del items[at]
        elif kind == "add":
            items.insert(at, item(rng))
        elif kind == "rename":
            items[at] = item(rng)
        elif kind == "text":
            items[at]["text"] = " ".join(rng.choices(WORDS, k=2))
        elif kind == "alias":
            items[at]["aliases"] = [" ".join(rng.choices(WORDS, k=2))]
        else:
            items.insert(rng.randrange(len(items)), items.pop(at))
    return list({one["item_id"]: one for one in items}.values())


def catalog(items: Items) -> pl.DataFrame:
    types = {"year": pl.Int32, "aliases": pl.List(pl.String), "genres": pl.List(pl.String)}
    return pl.DataFrame(items, schema_overrides=types)


def make_frames(rng: random.Random, items: Items) -> Frames:
    """Conversations, some by two people, and lists of titles, some of them outside the catalog."""
    samples, lines = [], []
    for number in range(CONTEXTS):
        name = f"c{rng.random()}"
        text = " ".join(rng.choices([*map(str.lower, WORDS), "crime", "I", "’", "1999"], k=6))
        samples += [(f"{name}.{n}", name, "train", text) for n in range(1 + number % 2)]
        named = [rng.choice(items) if rng.random() < 0.7 else item(rng) for _ in range(4)]
        lines += [
            (name, rank, "", one["title"], one["year"]) for rank, one in enumerate(named, start=1)
        ]
    schema = {"context_id": pl.String, "rank": pl.Int32, "line": pl.String, "title": pl.String}
    return {
        "conversations": pl.DataFrame(
            samples, schema=["sample_id", "context_id", "split", "conversation"], orient="row"
        ).with_columns(
            created_utc=None, prompt=None, completion=None, seen=None, ground_truth=None
        ),
        "teacher_lists": pl.DataFrame(lines, schema=schema | {"year": pl.Int32}, orient="row"),
    }


class EditedWarehouse:
    """A warehouse with conversations and lists, whose catalog changes."""

    def __init__(self, store: Store, frames: Mapping[str, pl.DataFrame], first: Items) -> None:
        self.store = store
        sizes = {"remap.keep": 8, "list_length": 5, "reflect.top": 7}
        self._config = load("demo", {**sizes, "remap.describe": "off"})
        self._parents = {name: self._put(name, frame) for name, frame in frames.items()}
        self._parents["catalog"] = self._put("catalog", catalog(first))
        basis = SIMILARITY_BASIS.build(self.ctx(first)).rows
        self._parents["similarity_basis"] = self._put("similarity_basis", basis)

    def _put(self, kind: str, frame: pl.DataFrame) -> ArtifactRef:
        inputs = {"rows": digest(frame.to_dicts())}
        return self.store.put(ArtifactSpec(kind, "test", 1, inputs=inputs), StepResult(frame))

    def ctx(self, items: Items) -> StepContext:
        ref = self._put("catalog", catalog(items))
        return StepContext(self._config, self.store, self._parents | {"catalog": ref})

    def candidates(self, items: Items, **changes: Any) -> tuple[pl.DataFrame, int]:
        """The rows as they are read again, and how many of them were computed."""
        ctx = replace(self.ctx(items), **changes)
        with closing(CANDIDATES.build(ctx)) as built:
            output = built.output
            computed = sum(output.heights) if isinstance(output, PatchedRows) else output.height
            ref = self.store.put(CANDIDATES.spec(ctx), built)
            rows = self.store.read(ref.artifact_id)
            assert built.rows.select(rows.columns).equals(rows)
        return rows, computed


@pytest.mark.parametrize("seed", range(8))
def test_edits_equal_a_fresh_warehouse(
    seed: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "SPARSE", 8 * (seed % 2))
    rng = random.Random(seed)
    items = list({one["item_id"]: one for one in (item(rng) for _ in range(40))}.values())
    first, frames = items, make_frames(rng, items)
    kept = EditedWarehouse(store, frames, first)
    kept.candidates(items)
    fewer = 0
    for step in range(2):
        items = edit(items, rng)
        rows, computed = kept.candidates(items)
        other = Store(tmp_path / f"fresh-{step}", ("", ""))
        fresh, all_of_them = EditedWarehouse(other, frames, first).candidates(items)
        assert rows.equals(fresh)
        assert all_of_them == rows.height
        fewer += computed < rows.height
    assert fewer


def small(store: Store) -> tuple[EditedWarehouse, Items]:
    rng = random.Random(1)
    items = list({one["item_id"]: one for one in (item(rng) for _ in range(40))}.values())
    warehouse = EditedWarehouse(store, make_frames(rng, items), items)
    warehouse.candidates(items)
    return warehouse, items[1:]


def test_a_rebuild_uses_no_earlier_rows(store: Store) -> None:
    kept, items = small(store)
    rows, computed = kept.candidates(items, rebuild=True)
    assert computed == rows.height
    assert kept.candidates(items)[1] < rows.height


def test_patching_leaves_nothing_in_the_workspace(store: Store, tmp_path: Path) -> None:
    kept, items = small(store)
    folder = tmp_path / "work"
    rows, computed = kept.candidates(items, workspace=folder)
    assert computed < rows.height
    assert not folder.exists()


def test_after_a_forget_all_rows_are_computed(store: Store) -> None:
    kept, items = small(store)
    gone = kept.ctx(items).frame("conversations")["context_id"][0]
    with store.transaction() as connection:
        for table in ("candidates", "conversations", "teacher_lists"):
            connection.execute(f"DELETE FROM {table} WHERE context_id = ?", [gone])
            connection.execute(
                f"UPDATE artifacts SET rows = (SELECT count(*) FROM {table}) WHERE kind = ?",
                [table],
            )
    rows, computed = kept.candidates(items)
    assert computed == rows.height == 8 * (CONTEXTS - 1)


def test_deleted_earlier_rows_abort_the_commit(store: Store) -> None:
    kept, items = small(store)
    ctx = kept.ctx(items)
    with closing(CANDIDATES.build(ctx)) as built:
        with store.transaction() as connection:
            connection.execute("DELETE FROM candidates")
        with pytest.raises(WarehouseError, match="was deleted while candidates were built from it"):
            store.put(CANDIDATES.spec(ctx), built)
    assert store.find(CANDIDATES.spec(ctx).artifact_id) is None


def test_edited_items_differ_in_text_or_order() -> None:
    rng = random.Random(3)
    one, two, three, four = ({**item(rng), "item_id": name} for name in "abcd")
    before = catalog([one, two, three])
    assert edited_items(before, catalog([one, two, three])) == set()
    assert edited_items(before, catalog([one, four, three])) == {"b", "d"}
    assert edited_items(before, catalog([one, {**two, "text": "new"}, three])) == {"b"}
    assert edited_items(before, catalog([three, one, two])) == {"c"}


def test_the_longest_rising_sequence() -> None:
    numbers = [3, 0, 1, 7, 2, 5]
    assert sorted(numbers[at] for at in longest_increasing_subsequence(numbers)) == [0, 1, 2, 5]
    assert longest_increasing_subsequence([]) == []
