"""The catalog of the items that the training ground truth names."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.catalog.load import load_catalog
from convrec.config import Config, load
from convrec.errors import CatalogError, ConfigError
from convrec.stages.base import StepContext
from convrec.stages.ingest import CATALOG, CONVERSATIONS, QUARANTINE
from convrec.stages.ingest.read import read_catalog, read_conversations
from convrec.titles.index import TitleIndex

Titles = list[tuple[str, int | None]]

TRAIN: list[Titles] = [
    [("Heat", 1995), ("Up", 2009)],
    [("heat", 1995), ("Up", None)],
    [("Heat", 1995), ("Beauty and the Beast", 1991)],
    [("Beauty and the Beast", 2017), ("Beauty and the Beast", None)],
    [("%22Crocodile%22 Dundee", 1986), ("Annie", None)],
]


def write(folder: Path, train: list[Titles] = TRAIN, test: list[Titles] | None = None) -> Path:
    """Rows of both splits, as files of the authors' schema."""
    folder.mkdir(exist_ok=True)
    for split, answers in {"train": train, "test": test or [[("Only in test", 2000)]]}.items():
        rows = [
            {
                "sample_id": f"{split}{number}_0",
                "prompt": f"Here is the conversation: USER: {split} {number}",
                "seen_titles": [],
                "groundtruth_with_release_year": [[t, y and str(y)] for t, y in titles],
            }
            for number, titles in enumerate(answers)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def config(folder: Path, **ingest: Any) -> Config:
    settings = {"path": str(folder), "catalog": "", "catalog_from": "ground_truth", **ingest}
    return load("reddit-v2", {f"ingest.{key}": value for key, value in settings.items()})


def items(config: Config) -> list[tuple[str, int | None]]:
    return list(read_catalog(config)[0].select("title", "year").iter_rows())


def test_items_are_the_named_titles(tmp_path: Path) -> None:
    assert items(config(write(tmp_path))) == [
        ('"Crocodile" Dundee', 1986),
        ("Annie", None),
        ("Beauty and the Beast", None),  # two films have this title
        ("Beauty and the Beast", 1991),
        ("Beauty and the Beast", 2017),
        ("Heat", 1995),  # the more frequent spelling
        ("Up", 2009),  # with and without its year
    ]
    frequent = config(write(tmp_path), catalog_min_count=2)
    assert items(frequent) == [("Heat", 1995), ("Up", 2009)]


def test_file_adds_facts_and_no_items(tmp_path: Path) -> None:
    file = tmp_path / "facts.csv"
    file.write_text(
        "title,year,item_id,aliases,genres,plot\n"
        "HEAT,1995,tt1,Hitze,crime|drama,A thief\n"
        "Beauty and the Beast,2017,tt2,,,\n"
        "Dune,1984,tt3,,,\n"
        "Broken,19,tt4,,,\n"
    )
    rows, bad = read_catalog(config(write(tmp_path / "data"), catalog=str(file)))
    by_id = {row["item_id"]: row for row in rows.iter_rows(named=True)}
    assert by_id["tt1"] == {
        "item_id": "tt1", "title": "Heat", "year": 1995, "aliases": ["Hitze"],
        "genres": ["crime", "drama"], "text": "A thief",
    }  # fmt: skip
    assert (by_id["tt2"]["title"], by_id["tt2"]["year"]) == ("Beauty and the Beast", 2017)
    assert by_id["Up (2009)"]["aliases"] == []
    assert "tt3" not in by_id
    assert rows.height == 7
    assert bad["line"].to_list() == [5]


def test_figures_tell_the_covered_share(store: Store, tmp_path: Path) -> None:
    folder = write(tmp_path)
    built = CATALOG.build(StepContext(config(folder, catalog_min_count=2), store))
    assert isinstance(built.rows, pl.DataFrame)
    assert dict(built.figures) == {
        "items": 2,
        "with_year": 2,
        "quarantined": 0,
        "training ground truths": 10,
        "training ground truths in the catalog": 0.5,
    }
    file = config(folder, catalog_from="file", catalog=str(_catalog(tmp_path)))
    assert set(CATALOG.build(StepContext(file, store)).figures) == {
        "items", "with_year", "quarantined",
    }  # fmt: skip


def _catalog(folder: Path) -> Path:
    file = folder / "catalog.csv"
    file.write_text("title,year\nHeat,1995\n")
    return file


def test_ids_depend_on_the_conversations_only(store: Store, tmp_path: Path) -> None:
    folder = write(tmp_path / "data")

    def ids(**ingest: Any) -> list[str]:
        ctx = StepContext(config(folder, **ingest), store)
        return [step.spec(ctx).artifact_id for step in (CATALOG, CONVERSATIONS, QUARANTINE)]

    first = ids()
    _catalog(folder)  # next to the data, and not read
    assert ids() == first
    assert ids(catalog_min_count=2)[0] != first[0]
    assert ids(catalog_min_count=2)[1] == first[1]
    facts = ids(catalog=str(_catalog(tmp_path)))
    assert (facts[0] != first[0], facts[1] == first[1]) == (True, True)
    assert CATALOG.spec(StepContext(config(folder), store)).parents == {}
    write(folder, [*TRAIN, [("Dune", 1984)]])
    assert all(new != old for new, old in zip(ids(), first, strict=True))


def test_too_rare_items_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no item 4 times .* 3 times.*catalog_min_count"):
        read_catalog(config(write(tmp_path), catalog_min_count=4))


def test_contradictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"published catalog.*name a file"):
        config(tmp_path, catalog="catalog:demo@2")
    with pytest.raises(ConfigError, match="catalog_min_count needs"):
        config(tmp_path, catalog_from="file", catalog_min_count=2)


def test_dialogues_need_no_item_of_their_entity_files(tmp_path: Path) -> None:
    (tmp_path / "item_ids.json").write_text("[1, 2]")
    entities = {
        "<http://dbpedia.org/resource/Heat_(1995_film)>": 1,
        "<http://dbpedia.org/resource/Up_(2009_film)>": 2,
    }
    (tmp_path / "entity2id.json").write_text(json.dumps(entities))
    turn = {
        "context": ["Hi"],
        "input": "A thriller?",
        "rec": [1],
        "prev_entity": [],
        "dialog_id": 1,
        "turn_id": 1,
    }
    rows = [json.dumps({**turn, "dialog_id": number}) for number in range(40)]
    (tmp_path / "conversations.jsonl").write_text("\n".join(rows) + "\n")
    named = config(tmp_path, format="redial")
    assert items(named) == [("Heat", 1995)]
    assert len(items(config(tmp_path, format="redial", catalog_from="file"))) == 2


def test_redial_in_the_authors_schema(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "redial_full"
    if not source.is_dir():
        pytest.skip("no ../shared/data/redial_full next to the checkout")
    with (source / "train.jsonl").open(encoding="utf-8") as file:
        (tmp_path / "train.jsonl").write_text("".join(islice(file, 1000)), encoding="utf-8")
    dialogues = config(tmp_path)
    conversations = read_conversations(dialogues)[0]
    assert conversations.height == 1000
    assert conversations["conversation"].str.contains("^(USER|SYSTEM): ").all()
    assert conversations["prompt"].str.contains("Pretend you are").all()
    named = TitleIndex(read_catalog(dialogues)[0].select("item_id", "title", "year").iter_rows())
    train = conversations.filter(pl.col("split") == "train")
    truths = [(t["title"], t["year"]) for row in train["ground_truth"] for t in row]
    assert len(truths) > 800
    assert all(named.find(title, year) for title, year in truths)
    file_items, bad = load_catalog(source / "catalog.csv")
    assert (file_items.height, bad.height) == (6302, 0)
    assert {'"Crocodile" Dundee', "O Brother, Where Art Thou?"} < set(file_items["title"])
    every = TitleIndex(file_items.select("item_id", "title", "year").iter_rows())
    assert all(every.find(title, year) for title, year in truths)
