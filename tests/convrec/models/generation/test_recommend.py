"""What `convrec recommend` writes, for one text and for many at once."""

from __future__ import annotations

import pytest

from convrec.config import Config
from convrec.models.generation.catalog_lines import CatalogLines
from convrec.models.generation.recommend import ServedCatalog, recommend_texts
from convrec.models.load import Student

ITEMS = [
    ("1", "Alien", 1979),
    ("2", "Aliens", 1986),
    ("3", "Heat", 1995),
    ("4", "Up", 2009),
    ("5", "Blade Runner", 1982),
    ("6", "Big", 1988),
    ("7", "Heat", 1995),
]
TEXTS = [
    "more like Aliens (1986) please, and nothing too long",
    "Heat",
    "Blade Runner",
    "something funny for the evening",
    "I liked Alien and Big",
]


@pytest.fixture
def catalog(micro: Config) -> ServedCatalog:
    return ServedCatalog(ITEMS, micro.line_format)


def test_lists_have_other_items_than_the_text_names(
    student: Student, micro: Config, catalog: ServedCatalog
) -> None:
    named = [{"Aliens (1986)"}, {"Heat (1995)"}, {"Blade Runner (1982)"}, set()]
    named.append({"Alien (1979)", "Big (1988)"})
    assert [catalog.named(text) for text in TEXTS] == named
    lists = recommend_texts(student, catalog, TEXTS, micro, n=4, batch_size=3)
    for lines, excluded in zip(lists, named, strict=True):
        assert len(set(lines)) == 4
        assert set(lines) <= set(catalog.lines) - excluded


def test_many_texts_get_what_each_gets_alone(
    student: Student, micro: Config, catalog: ServedCatalog
) -> None:
    together = recommend_texts(student, catalog, TEXTS, micro, n=4, batch_size=5)
    alone = [recommend_texts(student, catalog, [text], micro, n=4)[0] for text in TEXTS]
    assert together == alone
    assert len(set(map(tuple, together))) > 1


def test_shares_add_up_to_all_lists(
    student: Student, micro: Config, catalog: ServedCatalog
) -> None:
    def part(share: tuple[int, int]) -> list[list[str]]:
        return recommend_texts(student, catalog, TEXTS, micro, n=4, batch_size=2, share=share)

    first, second = part((0, 2)), part((1, 2))
    assert [bool(lines) for lines in first] == [not lines for lines in second]
    assert [a or b for a, b in zip(first, second, strict=True)] == part((0, 1))


def test_a_text_that_leaves_too_few_lines_gets_none(
    student: Student, micro: Config, catalog: ServedCatalog
) -> None:
    lists = recommend_texts(student, catalog, ["Alien and Heat", "Heat"], micro, n=5)
    assert [len(lines) for lines in lists] == [0, 5]


def test_namesakes_are_two_lines_of_the_trie(student: Student, micro: Config) -> None:
    items = [("1", "Alien", 1979), ("2", "Heat", 1972), ("3", "Heat", 1995), ("4", "Up", 2009)]
    recommend = micro.recommend.model_copy(update={"years": "namesakes"})
    config = micro.model_copy(update={"recommend": recommend})
    catalog = ServedCatalog(items, config.line_format)
    texts = ["anything", "I liked Heat (1995)"]
    everything, others = recommend_texts(student, catalog, texts, config, n=3)
    assert set(everything) < {"Alien", "Heat (1972)", "Heat (1995)", "Up"}
    assert sorted(others) == ["Alien", "Heat (1972)", "Up"]
    lines = CatalogLines(student.tokenizer, catalog.lines, config.line_format)
    assert lines.seen([("Heat", 1972)]) == {"Heat (1972)"}
    assert lines.seen([("Heat", None), ("Up", 1999)]) == {"Heat (1972)", "Heat (1995)", "Up"}
