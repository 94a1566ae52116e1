from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts.tables import KINDS
from convrec.catalog.load import load_catalog
from convrec.errors import CatalogError, InputError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_file_with_every_column(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        "Title,year,item_id,genres,aliases,plot,rating\n"
        "Heat,1995,tt1,Crime|Drama,Fuego contra fuego | Hitze,A thief.,8.3\n"
        "Ronin,,,,,,7\n",
    )
    items, bad = load_catalog(path)
    assert items.columns == list(KINDS["catalog"])
    assert items.row(0) == (
        "tt1", "Heat", 1995, ["Fuego contra fuego", "Hitze"], ["Crime", "Drama"], "A thief.",
    )  # fmt: skip
    assert items.row(1) == ("Ronin", "Ronin", None, [], [], "")
    assert bad.columns == list(KINDS["quarantine"])
    assert bad.height == 0


def test_a_column_of_web_addresses_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "games.csv"
    path.write_text(
        "title,year,url,notes\n"
        "Catan,1995,https://games.example/catan,trade; see https://games.example\n"
        "Azul,2017,,tiles\n",
        encoding="utf-8",
    )
    items, _ = load_catalog(path)
    assert items["text"].to_list() == ["trade; see https://games.example", "tiles"]


def test_parquet_gives_the_same_rows_as_csv(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"title": ["Heat", "Dune"], "year": [1995, None], "genres": [["Crime", "Drama"], []]}
    )
    table.write_parquet(tmp_path / "c.parquet")
    text = "title,year,genres\nHeat,1995,Crime|Drama\nDune,,\n"
    from_csv, _ = load_catalog(write(tmp_path / "c.csv", text))
    assert load_catalog(tmp_path / "c.parquet")[0].equals(from_csv)


def test_bad_rows_are_quarantined_with_line_and_reason(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        'title,year\n"Heat\n",1995\nThe Wall,201\n,1999\nHEAT,1995\nHeat,1986\nOne,two,three\n'
        "Dune,1984.5\nRonin,1998.0\n",
    )
    items, bad = load_catalog(path)
    assert items["item_id"].to_list() == ["Heat (1995)", "Heat (1986)", "Ronin (1998)"]
    assert bad.select("line", "reason").rows() == [
        (4, "broken year '201' (allowed are 1400 to 2035, or empty)"),
        (5, "no title"),
        (6, "repeats the title and year of line 2"),
        (8, "3 fields where the header has 2"),
        (9, "broken year '1984.5' (allowed are 1400 to 2035, or empty)"),
    ]
    assert bad["raw"][0] == "The Wall,201"
    assert set(bad["source"]) == {"c.csv"}


def test_a_stray_quote_costs_only_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        'title,year,plot\n"Heat,1995,A thief\nRonin,1998,"A case,\nand ""Sam""."\n'
        'Dune,1984,"Sand\n"The Bad, the Good",1966,\nAlien,"1979,\n',
    )
    items, bad = load_catalog(path)
    assert items["title"].to_list() == ["Ronin", "The Bad, the Good"]
    assert items["text"].to_list() == ['A case,\nand "Sam".', ""]
    assert bad.select("line", "reason").rows() == [
        (line, "a quote that is not closed") for line in (2, 5, 7)
    ]
    assert bad["raw"][1] == "Dune,1984,Sand"


def test_a_field_over_the_limit_costs_only_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", f"title,year\n{'x' * 200_000},1995\nRonin,1998\n")
    items, bad = load_catalog(path)
    assert items["title"].to_list() == ["Ronin"]
    assert bad["reason"].to_list() == ["not CSV (field larger than field limit (131072))"]


def test_a_repeated_item_id_is_quarantined(tmp_path: Path) -> None:
    items, bad = load_catalog(
        write(tmp_path / "c.csv", "item_id,title,year\nx,Heat,1995\nx,Ronin,1998\n")
    )
    assert items["title"].to_list() == ["Heat"]
    assert bad["reason"].to_list() == ["repeats the item_id 'x' of line 2"]


def test_an_agreeing_year_in_the_title_is_removed(tmp_path: Path) -> None:
    items, _ = load_catalog(
        write(tmp_path / "c.csv", "title,year\nHeat (1995),1995\nDune (1984),\nBen (1972),2020\n")
    )
    assert list(items.select("title", "year").iter_rows()) == [
        ("Heat", 1995), ("Dune", 1984), ("Ben (1972)", 2020),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("c.csv", "name,year\nHeat,1995\n", "no column title"),
        ("c.csv", "", "no column title and no column year"),
        ("c.csv", "title,year\n,1995\n", "no usable row (line 2: no title)"),
        ("c.csv", "title,title,year\nHeat,Heat,1995\n", "repeats a column name"),
        ("c.csv", 'title,"year\nHeat,1995\n', "close every quote"),
        ("c.csv", 'title,"year\nHeat,"1995"\n', "close every quote"),
        ("c.csv", 'title,"year\n' + "Heat,1995\n" * 20_000, "close every quote"),
        ("c.csv", '"my\ntitle",year\nHeat,1995\n', "no column title (its columns: my title, year)"),
        ("c.json", "[]", "use CSV (.csv) or Parquet"),
        ("c.parquet", "title,year\n", "not a Parquet file"),
    ],
)
def test_an_unusable_file_is_one_sentence(tmp_path: Path, name: str, text: str, part: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load_catalog(write(tmp_path / name, text))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="does not exist"):
        load_catalog(tmp_path / "none.csv")
    with pytest.raises(CatalogError, match="is a folder"):
        load_catalog(tmp_path)
    (tmp_path / "latin.csv").write_bytes("title,year\nHeat,1995\nAmélie,2001\n".encode("latin-1"))
    with pytest.raises(CatalogError, match=r"line 3: .* is not UTF-8 .*save the file as UTF-8"):
        load_catalog(tmp_path / "latin.csv")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('loaded')",))


@pytest.mark.parametrize("name", ["c.pkl", "c.csv", "c.parquet"])
def test_a_pickle_is_never_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="throw-away environment"):
        load_catalog(tmp_path / name)


def test_a_title_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pl.DataFrame({"title": [1917, None], "year": [2019, 2019]}).write_parquet(path)
    with pytest.raises(CatalogError, match=r"line 1: the title is not text but 1917") as caught:
        load_catalog(path)
    assert [reason for _, reason in caught.value.rows][1] == "no title"


def test_a_control_character_in_a_title_is_quarantined(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(b"title,year\nHe\x00at,1995\nRonin,1998\n")
    items, bad = load_catalog(tmp_path / "c.csv")
    assert items["title"].to_list() == ["Ronin"]
    assert bad["reason"].to_list() == ["a control character in the title"]


def test_reddit_catalog(shared: Path) -> None:
    items, bad = load_catalog(shared / "data" / "reddit_v2" / "catalog.csv")
    assert items.height == 7399
    assert items["item_id"].n_unique() == 7399
    assert bad.height == 5
    assert "broken year '201'" in " ".join(bad["reason"])
    assert bad.filter(pl.col("reason").str.starts_with("repeats")).height == 4
