"""`recommend.years=namesakes`: every place that writes or reads a line names one item."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import Config, load
from convrec.errors import ConfigError, InputError
from convrec.metrics.list_quality import quality_of_list
from convrec.metrics.matcher import Matcher
from convrec.metrics.protocols.per_label import CatalogNames, match_per_label
from convrec.metrics.relevance import TitleAndYear, match_lines
from convrec.metrics.scored_lists import ListToScore
from convrec.models.generation.recommend import ServedCatalog
from convrec.models.manifest import serving_settings
from convrec.models.prompts import student_prompt
from convrec.stages.adjust import DEMONSTRATIONS
from convrec.stages.base import StepContext
from convrec.stages.contexts import catalog_lines
from convrec.stages.evaluate.score_file import score_file
from convrec.stages.rank_grpo.reward_function import ListScorer
from convrec.stages.recommend.step import teacher_messages
from convrec.titles.index import TitleIndex

BEAST_1991, BEAST_2017 = "Beauty and the Beast (1991)", "Beauty and the Beast (2017)"
ITEMS = [
    ("b91", "Beauty and the Beast", 1991),
    ("b17", "Beauty and the Beast", 2017),
    ("u", "Up", 2009),
    ("z", "Zodiac", 2007),
]
LINES = [BEAST_1991, BEAST_2017, "Up", "Zodiac"]
TRUTHS: list[TitleAndYear] = [item[1:] for item in ITEMS[:3]]
INDEX = TitleIndex(ITEMS)


@pytest.fixture
def config() -> Config:
    return Config.model_validate({"recommend": {"years": "namesakes"}, "reflect": {"top": 20}})


def test_demonstrations_and_judge(config: Config, store: Store) -> None:
    catalog = pl.DataFrame(ITEMS, ["item_id", "title", "year"], orient="row")
    ctx = StepContext(config, store, frames={"catalog": catalog})
    assert catalog_lines(ctx, "line", config.line_format)["line"].to_list() == LINES
    judged = catalog_lines(ctx, "line", config.llm_line_format)["line"].to_list()
    assert judged == [BEAST_1991, BEAST_2017, "Up (2009)", "Zodiac (2007)"]


def test_prompts_of_teacher_and_student(config: Config) -> None:
    with_years = Config.model_validate({"reflect": {"top": 20}})
    assert teacher_messages("Hi", config) == teacher_messages("Hi", with_years)
    instruct = config.model_copy(
        update={"model": config.model.model_copy(update={"prompt": "instruct"})}
    )
    assert "written as Title." in student_prompt("Hi", None, instruct)


def test_served_lines_and_the_titles_that_a_text_names(config: Config) -> None:
    served = ServedCatalog(ITEMS, config.line_format)
    assert served.lines == LINES
    assert served.named("I loved Beauty and the Beast (2017) and Zodiac") == {BEAST_2017, "Zodiac"}
    checkpoint = Config.model_validate(serving_settings(config))
    assert ServedCatalog(ITEMS, checkpoint.line_format).lines == LINES


@pytest.mark.parametrize(
    ("line", "item", "hits"),
    [
        (BEAST_1991, "b91", [TRUTHS[0]]),
        (BEAST_2017, "b17", [TRUTHS[1]]),
        ("Beauty and the Beast", "b91", [TRUTHS[0], TRUTHS[1]]),
        ("Up", "u", [TRUTHS[2]]),
        ("Up (2009)", "u", [TRUTHS[2]]),
    ],
)
def test_a_line_hits_what_it_names(
    config: Config, line: str, item: str, hits: list[TitleAndYear]
) -> None:
    for truth in TRUTHS:
        (matched,) = match_lines([line], INDEX, [], [truth], config.line_format)
        assert (matched.item_id, matched.truth is not None) == (item, truth in hits)
        many = Matcher(INDEX, config.line_format).match([ListToScore(line, [], [truth])], 1)
        assert bool(many.hit[0, 0]) == (truth in hits)


def test_rewards_and_quality_take_both_forms(config: Config) -> None:
    text = f"{BEAST_2017}\nUp\nNo such film"
    scorer = ListScorer(
        INDEX, 3, list, years=config.line_format.has_years, line_format=config.line_format
    )
    row = {"seen": [], "ground_truth": [{"title": "Beauty and the Beast", "year": 2017}]}
    assert scorer.rank_rewards(text, row) == [1, 0, 0]
    assert scorer.rank_rewards(text.replace("2017", "1991"), row) == [0, 0, 0]
    matched = match_lines(text.split("\n"), INDEX, [], [], config.line_format)
    in_catalog, well_formed, *_ = quality_of_list(matched, 3, 3, years=scorer.years)
    assert (in_catalog, well_formed) == (2 / 3, 1)


def test_per_label_names(config: Config) -> None:
    names = CatalogNames([item[1:] for item in ITEMS], config.line_format)
    truth = [("Beauty and the Beast", 2017)]
    lists = [ListToScore(line, [], truth) for line in (BEAST_2017, BEAST_1991, "Up (2009)")]
    assert match_per_label(lists, names).relevance[:, 0].tolist() == [1, 0, 0]


def test_ids_differ_from_those_of_both_other_values(store: Store) -> None:
    configs = [load("demo", {"recommend.years": years}) for years in (True, False, "namesakes")]
    frames = {"catalog": pl.DataFrame(ITEMS[1:], ["item_id", "title", "year"], orient="row")}
    settings = [
        tuple(sorted(DEMONSTRATIONS.spec(StepContext(config, store, frames=frames)).config.items()))
        for config in configs
    ]
    assert len(set(settings)) == 3


def test_reference_protocol_is_refused(config: Config, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("title,year\nUp,2009\n")
    with pytest.raises(InputError, match="reference protocol parses lines as Title"):
        score_file(tmp_path / "lists.jsonl", catalog, protocol="reference", config=config)


def test_other_values_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"recommend\.years"):
        load("demo", {"recommend.years": "some"})
