"""Catalog files with other column names."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from convrec.catalog.load import load_catalog
from convrec.config import ROOT, Config, load
from convrec.errors import CatalogError, ConfigError
from convrec.stages.ingest.read import catalog_config, read_catalog

NAMES = {"title": "name", "year": "published", "genres": "subjects"}
TEXT = "Name,published,subjects,title\nDune,1965,Deserts|Empires,Dr\nEmma,,,none\n"


def write_catalog(tmp_path: Path, text: str = TEXT) -> Path:
    path = tmp_path / "books.csv"
    path.write_text(text)
    return path


def test_mapped_columns_and_text_columns(tmp_path: Path) -> None:
    items, bad = load_catalog(write_catalog(tmp_path), NAMES)
    assert bad.is_empty()
    assert items.rows() == [
        ("Dune (1965)", "Dune", 1965, [], ["Deserts", "Empires"], "Dr"),
        ("Emma", "Emma", None, [], [], "none"),
    ]


def test_mapped_parquet_columns(tmp_path: Path) -> None:
    path = tmp_path / "books.parquet"
    pl.DataFrame({"Name": ["Dune"], "published": [1965], "Author": ["Herbert"]}).write_parquet(path)
    items, _ = load_catalog(path, {"title": "name", "year": "published"})
    assert items.select("title", "year", "text").rows() == [("Dune", 1965, "Herbert")]


def test_a_missing_mapped_column_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as error:
        load_catalog(write_catalog(tmp_path), NAMES | {"aliases": "other_names"})
    assert "no column other_names, which ingest.columns maps to aliases" in str(error.value)
    assert "its columns: name, published, subjects, title" in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_without_years_need_no_year_column(tmp_path: Path) -> None:
    path = write_catalog(tmp_path, "name\nDune\n")
    items, _ = load_catalog(path, {"title": "name"}, years=False)
    assert items.select("item_id", "title", "year").rows() == [("Dune", "Dune", None)]
    with pytest.raises(CatalogError, match=r"no column year .* set ingest\.columns"):
        load_catalog(path, {"title": "name"})


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"ingest\.columns\.titel"):
        load("demo", {"ingest.columns": {"titel": "name"}})


def test_demo_books_maps_its_columns() -> None:
    config = load("demo-books")
    items, bad = read_catalog(config)
    assert (items.height, bad.height, items["year"].null_count()) == (150, 0, 0)
    dune = items.row(by_predicate=pl.col("title") == "Dune", named=True)
    assert dune["year"] == 1965
    assert dune["text"] == "Frank Herbert Science fiction Deserts epic postwar years"
    with pytest.raises(CatalogError, match="no column title"):
        load_catalog(ROOT / "catalog" / "demo-books.csv")


def test_columns_enter_an_id_only_if_set() -> None:
    assert catalog_config(load("demo")) == {}
    assert catalog_config(load("demo-books"))["columns"]["title"] == "name"
    assert catalog_config(Config.model_validate({"ingest": {"format": "demo"}})) == {}
