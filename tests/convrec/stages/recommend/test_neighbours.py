"""Lists of neighbours: what they are made of, and what must never reach them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages import partitions
from convrec.stages.base import StepContext
from convrec.stages.recommend import TEACHER_LISTS
from convrec.utils import nearest

TITLED = pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))
Titles = list[tuple[str, int | None]]

HEIST, SPACE = ("Heat", 1995), ("Alien", 1979)
SAMPLES: list[tuple[str, str, str, Titles, Titles]] = [
    ("a_0", "train", "a slow heist with a crew", [], [HEIST]),
    ("a_1", "train", "a slow heist with a crew and a boss", [], [("Thief", 1981)]),
    ("b_0", "train", "another heist with a crew", [], [("Ronin", 1998), HEIST]),
    ("c_0", "train", "scary space ship", [], [SPACE]),
    ("d_0", "train", "space station horror", [], [("Solaris", 1972), SPACE]),
    ("v_0", "validation", "heist crew on a space ship", [], [("Secret", 2000)]),
    ("t_0", "test", "scary space station", [SPACE], [("Hidden", 2001)]),
]

Rows = list[tuple[str, str, str, Titles, Titles]]
Build = Callable[..., dict[str, list[str]]]


def conversations(rows: Rows) -> pl.DataFrame:
    """Samples whose context is their text."""
    titles = [
        [dict(zip(("title", "year"), title, strict=True)) for title in row[4]] for row in rows
    ]
    seen = [[dict(zip(("title", "year"), title, strict=True)) for title in row[3]] for row in rows]
    return pl.DataFrame(
        {
            "sample_id": [row[0] for row in rows],
            "context_id": [row[2] for row in rows],
            "split": [row[1] for row in rows],
            "conversation": [row[2] for row in rows],
            "seen": pl.Series(seen, dtype=TITLED),
            "ground_truth": pl.Series(titles, dtype=TITLED),
        }
    )


@pytest.fixture
def make_ctx(store: Store) -> Callable[..., StepContext]:
    """A step context over samples; keywords are settings of `recommend`."""

    def make(rows: Rows, length: int = 4, **recommend: Any) -> StepContext:
        config = Config.model_validate(
            {
                "list_length": length,
                "ingest": {"dialogue": r"^(.+)_\d+$"},
                "recommend": {"source": "neighbours", **recommend},
            }
        )
        return StepContext(config, store, frames={"conversations": conversations(rows)})

    return make


@pytest.fixture
def build(make_ctx: Callable[..., StepContext]) -> Build:
    """Context → lines of its list."""

    def build(*args: Any, **kwargs: Any) -> dict[str, list[str]]:
        rows = TEACHER_LISTS.build(make_ctx(*args, **kwargs)).rows
        lists = rows.group_by("context_id", maintain_order=True).agg("line", "rank")
        assert all(rank == list(range(1, len(rank) + 1)) for rank in lists["rank"].to_list())
        return dict(lists.select("context_id", "line").iter_rows())

    return build


def changed(name: str, titles: Titles) -> Rows:
    """The samples with another ground truth in those whose id starts with `name`."""
    return [(*row[:4], titles) if row[0].startswith(name) else row for row in SAMPLES]


def test_titles_of_the_nearest_dialogues_come_first(build: Build) -> None:
    lists = build(SAMPLES)
    assert list(lists) == [row[2] for row in SAMPLES]
    assert lists["scary space ship"][:2] == ["Alien (1979)", "Solaris (1972)"]
    assert lists["a slow heist with a crew"][:2] == ["Heat (1995)", "Ronin (1998)"]
    assert lists["another heist with a crew"][0] == "Heat (1995)"


def test_only_a_dialogue_itself_is_never_its_neighbour(build: Build) -> None:
    lists = build(SAMPLES)
    assert "Thief (1981)" in lists["another heist with a crew"]
    for text in ("a slow heist with a crew", "a slow heist with a crew and a boss"):
        assert "Thief (1981)" not in lists[text]
    apart = [(row[0].replace("a_1", "z_1"), *row[1:]) for row in SAMPLES]
    assert "Thief (1981)" in build(apart)["a slow heist with a crew"]


@pytest.mark.parametrize("own", ["a", "b", "c", "d", "v", "t"])
def test_own_ground_truth_changes_no_list(build: Build, own: str) -> None:
    lists, found = build(SAMPLES), build(changed(f"{own}_", [("Solaris", 1972), ("New", 2020)]))
    for row in SAMPLES:
        if row[0].startswith(own):
            assert found[row[2]] == lists[row[2]]
    assert (found == lists) == (own in "vt"), "another training dialogue must change some list"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_ground_truth_is_in_no_list(build: Build, split: str) -> None:
    lists = build(SAMPLES)
    assert build([row for row in SAMPLES if row[1] != split]) == {
        text: lines for text, lines in lists.items() if text not in _texts(split)
    }
    written = {line for lines in lists.values() for line in lines}
    assert not written & {"Secret (2000)", "Hidden (2001)"}


def _texts(split: str) -> set[str]:
    return {row[2] for row in SAMPLES if row[1] == split}


def test_a_text_of_two_dialogues_knows_neither(build: Build) -> None:
    shared: Rows = [
        ("e_0", "train", "hello", [], [("Own", 1990)]),
        ("f_0", "train", "hello", [], [("Other", 1991)]),
        ("f_1", "train", "hello a heist", [], [("Later", 1992)]),
    ]
    lists = build([*SAMPLES, *shared], length=20)
    unwanted = {"Own (1990)", "Other (1991)", "Later (1992)"}
    assert not unwanted & set(lists["hello"])
    assert unwanted & set(lists["hello a heist"]) == {"Own (1990)"}
    assert unwanted <= set(lists["scary space ship"])


def test_seen_titles_are_left_out(build: Build) -> None:
    assert "Alien (1979)" not in build(SAMPLES)["scary space station"]
    rows = [(*row[:3], [("HEAT", None)], row[4]) for row in SAMPLES]
    assert all("Heat (1995)" not in lines for lines in build(rows).values())


def test_popularity_completes_a_list_and_decides_ties(build: Build) -> None:
    lists = build([*SAMPLES, ("w_0", "test", "zzz", [], [])], length=9)
    assert lists["zzz"] == [
        *("Alien (1979)", "Heat (1995)", "Ronin (1998)", "Solaris (1972)", "Thief (1981)")
    ]
    assert len(lists["scary space ship"]) == 5, "no title is invented to reach list_length"
    nearest_one = build(SAMPLES, neighbours=1)["another heist with a crew"]
    assert nearest_one[:2] == ["Heat (1995)", "Alien (1979)"]


@pytest.mark.parametrize("years", [True, False])
def test_years_are_written_as_configured(make_ctx: Callable[..., StepContext], years: bool) -> None:
    rows = TEACHER_LISTS.build(make_ctx(SAMPLES, years=years)).rows
    first = rows.filter(pl.col("context_id") == "scary space ship").row(0, named=True)
    assert first["line"] == ("Alien (1979)" if years else "Alien")
    assert (first["title"], first["year"]) == SPACE, "namesakes are told apart when linked"


def test_blocks_and_order_change_nothing(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = build(SAMPLES)
    assert build(SAMPLES[::-1]) == lists
    monkeypatch.setattr(nearest, "MAX_CELLS", 6)
    monkeypatch.setattr(partitions, "PARTITION", 3)
    monkeypatch.setattr(partitions, "CHUNK", 3)
    monkeypatch.setattr("convrec.stages.recommend.neighbours.CHUNK", 2)
    assert build(SAMPLES) == lists


def test_figures_name_what_was_learned_from(make_ctx: Callable[..., StepContext]) -> None:
    figures = TEACHER_LISTS.build(make_ctx(SAMPLES)).figures
    assert (figures["training turns"], figures["dialogues"], figures["contexts"]) == (5, 4, 7)
    assert figures["without a year"] == 0


def test_too_little_to_learn_from_is_refused(make_ctx: Callable[..., StepContext]) -> None:
    with pytest.raises(InputError, match="no training conversation has one"):
        TEACHER_LISTS.build(make_ctx([(*row[:4], []) for row in SAMPLES]))
    with pytest.raises(InputError, match=r"at least two training dialogues.*ingest\.dialogue"):
        TEACHER_LISTS.build(make_ctx([row for row in SAMPLES if row[0][0] in "avt"]))
    wordless = [(*row[:2], "and " * number, *row[3:]) for number, row in enumerate(SAMPLES, 1)]
    with pytest.raises(InputError, match="compares conversations by their words"):
        TEACHER_LISTS.build(make_ctx(wordless))


def test_ids_depend_on_what_changes_the_lists(make_ctx: Callable[..., StepContext]) -> None:
    spec = TEACHER_LISTS.spec(make_ctx(SAMPLES))
    assert spec.inputs == {}
    assert spec.config == {
        "list_length": 4,
        "source": "neighbours",
        "neighbours": 300,
        "dialogue": r"^(.+)_\d+$",
    }
    same = TEACHER_LISTS.spec(make_ctx(SAMPLES, model="other", temperature=1))
    assert same.artifact_id == spec.artifact_id
    assert TEACHER_LISTS.spec(make_ctx(SAMPLES, neighbours=9)).artifact_id != spec.artifact_id
    live = Config.model_validate({"recommend": {"neighbours": 9}})
    assert "neighbours" not in TEACHER_LISTS.config(live)
    assert not TEACHER_LISTS.needs_responses(make_ctx(SAMPLES).config)
