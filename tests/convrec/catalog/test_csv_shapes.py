"""Tables as spreadsheets and other programs write them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from convrec.catalog.load import load_catalog, read_configured_catalog
from convrec.config import Config
from convrec.errors import CatalogError, InputError
from convrec.stages.ingest.read import catalog_inputs
from tests.support.conversation_files import data_config

TABLE = 'title,year,genres\nHeat,1995,Crime|Drama\n"Good, the Bad, The",1966,\nAmélie,2001,Comedy\n'
ITEMS = [("Heat", 1995), ("Good, the Bad, The", 1966), ("Amélie", 2001)]


def with_delimiter(sign: str) -> str:
    """The table with another delimiter; no field has one."""
    rows = [["title", "year", "genres"], ["Heat", "1995", "Crime"],
            ["Good, the Bad, The", "1966", ""], ["Amélie", "2001", "Comedy"]]  # fmt: skip
    return "\n".join(sign.join(row) for row in rows) + "\n"


SHAPES: dict[str, bytes] = {
    "plain": TABLE.encode(),
    "byte order mark": TABLE.encode("utf-8-sig"),
    "UTF-16": TABLE.encode("utf-16"),
    "UTF-16, big endian": ("\ufeff" + TABLE).encode("utf-16-be"),
    "CRLF": TABLE.replace("\n", "\r\n").encode(),
    "no last newline": TABLE.rstrip().encode(),
    "empty columns": TABLE.replace("\n", ",,,\n").encode(),
    "empty columns in the header": TABLE.replace("genres\n", "genres,,\n", 1)
    .replace("Drama\n", "Drama,,\n").replace("1966,\n", "1966,,,\n")
    .replace("Comedy\n", "Comedy,,\n").encode(),
    "empty columns in rows": TABLE.replace("Comedy\n", "Comedy,,,\n").encode(),
    "blank first lines": ("\n \n,,\n" + TABLE).encode(),
    "blank rows": TABLE.replace("\n", "\n,,\n\n").encode(),
    "sep=,": ("sep=,\n" + TABLE).encode(),
    "sep=;": ("sep=;\n" + with_delimiter(";")).encode(),
    "quoted sep": ('"sep=;"\r\n' + with_delimiter(";")).encode(),
    "sep and mark": ("SEP=;\n" + with_delimiter(";")).encode("utf-8-sig"),
    "semicolons": with_delimiter(";").encode(),
    "tabs": with_delimiter("\t").encode(),
    "bars": with_delimiter("|").encode(),
    "Excel's Unicode text": with_delimiter("\t").encode("utf-16"),
    "upper case header": TABLE.replace("title,year", " Title , YEAR ").encode(),
    "index of pandas": "".join(
        f"{number},{line}\n" if number else f",{line}\n"
        for number, line in enumerate(TABLE.splitlines())
    ).encode(),
    "years as numbers": TABLE.replace(",1995,", ",1995.0,").replace(",2001,", ", 2001 ,").encode(),
    "years in brackets": TABLE.replace(",1995,", ",(1995),").encode(),
    "dates": TABLE.replace(",1995,", ",1995-12-15,").replace(",1966,", ",1966-12,").encode(),
    "years in titles, too": TABLE.replace("Heat,", "Heat (1995),").encode(),
    "gzip": gzip.compress(TABLE.encode()),
    "zstd": pa.compress(TABLE.encode(), codec="zstd", asbytes=True),
    "entities": TABLE.replace("Amélie", "Am&eacute;lie").encode(),
    "invisible characters": TABLE.replace("Heat", "\u200bHe\u00adat").encode(),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_items(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "catalog.csv"
    path.write_bytes(SHAPES[shape])
    items, bad = load_catalog(path)
    assert items.select("title", "year").rows() == ITEMS
    assert items["text"].to_list() == ["", "", ""]
    assert bad.height == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_only_a_newer_reading_changes_the_id(tmp_path: Path, shape: str) -> None:
    config = data_config(tmp_path)
    (tmp_path / "catalog.csv").write_bytes(SHAPES[shape])
    old = {
        "plain", "byte order mark", "CRLF", "no last newline", "upper case header",
        "index of pandas", "years as numbers", "years in titles, too",
        "UTF-16", "UTF-16, big endian", "gzip", "zstd",  # could not be read, so had no id
    }  # fmt: skip
    assert ("catalog_reading" in catalog_inputs(config)) == (shape not in old)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('"Ran,1985,Drama', "a quote that is not closed"),
        ('Ran,"1985,Drama', "a quote that is not closed"),
        ("Ran,1985,Drama,more", "4 fields where the header has 3"),
        ("Source: somewhere", "1 fields where the header has 3"),
        ("title,year,genres", "repeats the header"),
        ("Title,Year,Genres", "repeats the header"),
        ("Total,,3", "looks like the sum of the other rows"),
        ("TOTAL:,,", "looks like the sum of the other rows"),
        ("Ran,1985 or 1986,Drama", "broken year '1985 or 1986'"),
        ("Ran,85,Drama", "broken year '85'"),
        ("Ran,3/1/85,Drama", "broken year '3/1/85'"),
        ("\u200b,1985,Drama", "no title"),
        ("&nbsp;,1985,Drama", "no title"),
        ("R\0an,1985,", "a control character in the title"),
        ("Heat,1995,again", "repeats the title and year of line 2"),
        ("Ran" * 50_000 + ",1985,", "not CSV (field larger than field limit"),
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_bad_row_costs_only_its_line(
    tmp_path: Path, line: str, reason: str, is_last: bool
) -> None:
    path = tmp_path / "catalog.csv"
    more = "" if is_last else "\nThief,1981,"
    path.write_text(f"{TABLE}{line}{more}\n", encoding="utf-8")
    items, bad = load_catalog(path)
    assert items.select("title", "year").rows() == ITEMS + ([] if is_last else [("Thief", 1981)])
    assert bad["line"].to_list() == [5]
    assert reason in bad["reason"][0]


def test_a_film_of_the_name_total_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "catalog.csv"
    path.write_text("title,year,genres\nTotal,2011,\nTotal Recall,,\nSum,,Drama\nTitle,1999,\n")
    assert load_catalog(path)[0].height == 4


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("title,year,title\nHeat,1995,x\n", "repeats a column name: title, year, title"),
        ("title;year;year\nHeat;1995;1995\n", "repeats a column name: title, year, year"),
        ("name;year\nHeat;1995\n", "has no column title"),
        ("", "has no column title and no column year"),
        ("\n\n,,\n", "has no column title and no column year"),
        ("title,genres\nHeat,Crime\n", "or set recommend.years=false for lists without"),
        ("title\nHeat (1995)\nRan (1985)\n", "use ingest.year_in_title=true in the profile"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run `git lfs pull`"),
        ("<!DOCTYPE html>\n<title>Sign in</title>", "is a web page, not CSV or Parquet"),
        ("PK\x03\x04", "is a ZIP archive, not CSV or Parquet"),
    ],
)
def test_an_unusable_table_is_one_sentence(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "catalog.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_catalog(path)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["catalog.tsv", "catalog.csv.gz", "catalog.txt", "catalog"])
def test_names_of_catalogs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(with_delimiter("\t").encode()))
    assert load_catalog(tmp_path / name)[0].height == 3


@pytest.mark.parametrize(
    "name", ["a[1].csv", "a?.csv", "*.csv", "{a,b}.csv", "a b#%20.csv", "ü.csv"]
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_path_is_no_pattern(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / name
    path.write_text(TABLE, encoding="utf-8")
    items = load_catalog(path)[0]
    if ending == "parquet":
        path = path.with_suffix(".parquet")
        with path.open("wb") as file:
            items.select("title", "year").write_parquet(file)
        assert load_catalog(path)[0].height == 3


def test_mapped_columns_are_found_between_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "catalog.csv"
    path.write_text("primaryTitle;startYear;tconst\nHeat;1995;tt1\nRan;\\N;tt2\n")
    columns = {"title": "primaryTitle", "year": "startYear", "item_id": "tconst"}
    items = load_catalog(path, columns)[0]
    assert items.select("item_id", "title", "year").rows() == [
        ("tt1", "Heat", 1995), ("tt2", "Ran", None),
    ]  # fmt: skip


MOVIES = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation
2,"Matrix, The (1999)",Action
3,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Adventure
4,Shanghai Triad (Yao a yao yao dao waipo qiao) (1995),Drama
5,Seven (a.k.a. Se7en) (1995),Mystery
6,Twelve Monkeys (a.k.a. 12 Monkeys) (1995),Mystery
7,Babylon 5,Sci-Fi
8,(500) Days of Summer (2009),Romance
9,Birdman: Or (The Unexpected Virtue of Ignorance) (2014),Drama
10,Death Note: Desu nôto (2006–2007),(no genres listed)
11,"Jetée, La (1962)",Romance
12,"Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",Western
13,Kill Bill (Part 1) (2003),Action
14,"Misérables, Les (1995)",Drama
15,"I, Robot (2004)",Action
"""
LISTED = [
    ("Toy Story", 1995, []),
    ("The Matrix", 1999, []),
    ("The City of Lost Children", 1995, ["La Cité des enfants perdus"]),
    ("Shanghai Triad", 1995, ["Yao a yao yao dao waipo qiao"]),
    ("Seven", 1995, ["Se7en"]),
    ("Twelve Monkeys", 1995, ["12 Monkeys"]),
    ("Babylon 5", None, []),
    ("(500) Days of Summer", 2009, []),
    ("Birdman: Or (The Unexpected Virtue of Ignorance)", 2014, []),
    ("Death Note: Desu nôto", 2006, []),
    ("La Jetée", 1962, []),
    ("The Good, the Bad and the Ugly", 1966, ["Il Buono, il brutto, il cattivo"]),
    ("Kill Bill (Part 1)", 2003, []),
    ("Les Misérables", 1995, []),
    ("I, Robot", 2004, []),
]


def test_titles_as_movielens_lists_them(tmp_path: Path) -> None:
    path = tmp_path / "movies.csv"
    path.write_text(MOVIES, encoding="utf-8")
    with pytest.raises(CatalogError, match="--year-in-title of `convrec catalog`"):
        load_catalog(path)
    config = Config.model_validate({"ingest": {"year_in_title": True}})
    items, bad = read_configured_catalog(path, config)[:2]
    assert items.select("title", "year", "aliases").rows() == LISTED
    assert items["genres"].to_list()[:2] == [["Adventure", "Animation"], ["Action"]]
    assert items["genres"].to_list()[9] == []
    assert bad.height == 0


def test_a_year_column_goes_before_the_title(tmp_path: Path) -> None:
    path = tmp_path / "movies.csv"
    path.write_text('title,year\n"Matrix, The (1999)",\nHeat (1972),1995\n')
    items = load_catalog(path, year_in_title=True)[0]
    assert items.select("title", "year").rows() == [("The Matrix", 1999), ("Heat", 1995)]
