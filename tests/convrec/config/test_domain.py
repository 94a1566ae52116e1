"""What a domain is: its words, its templates, and which artifacts know of them."""

from __future__ import annotations

from typing import get_args

import pytest

from convrec import config
from convrec.artifacts.identity import digest
from convrec.config import Config, Ingest
from convrec.config.domain import Domain
from convrec.demo.world import WORLDS
from convrec.errors import ConfigError
from convrec.models.identity import prompt_settings
from convrec.models.manifest import serving_settings
from convrec.models.prompts import student_prompt
from convrec.stages.recommend.step import teacher_messages

BOOKS = {"domain": {"noun": "story", "plural": "stories"}, "recommend": {"years": False}}


def test_a_noun_alone_is_a_domain() -> None:
    assert Config.model_validate({"domain": "book"}).domain == Domain(noun="book")
    assert config.load("demo", {"domain": "book"}).domain.many == "books"
    kept = config.load("demo-books", {"domain": "novel"}).domain
    assert (kept.noun, kept.teacher) == ("novel", config.load("demo-books").domain.teacher)
    assert config.load("demo", {"domain.noun": "song"}).domain.many == "songs"


def test_noun_plural_and_form_stand_in_both_prompts() -> None:
    asked = Config.model_validate(BOOKS)
    rules = teacher_messages("x", asked)[0]["content"]
    assert "exactly 20 different stories" in rules
    assert "each written as: Title. " in rules
    assert "every story that they name" in student_prompt("x", None, asked)


def test_prompts_are_templates() -> None:
    own = {"teacher": "{n} {plural}, {form}!", "student": "{noun}? {conversation}"}
    asked = Config.model_validate({"domain": own})
    assert teacher_messages("{n}", asked)[0]["content"] == "20 movies, Title (year)!"
    assert student_prompt("{n}", None, asked) == "movie? {n}"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("line", "{title}", "{title} and {year} once each"),
        ("line", "{title} {title} {year}", "once each"),
        ("line", "{title}\n{year}", "no line break"),
        ("line_without_year", "{title} ({year})", "{year} is no field of it"),
        ("teacher", "{catalog}", "allowed are {n} and {noun} and {plural} and {form}"),
        ("teacher", "{n.__class__}", "is no field of it"),
        ("teacher", "{n!r}", "is no field of it"),
        ("teacher", "{", "a brace that is meant is written twice"),
        ("student", "no talk", "as {conversation}"),
        ("noun", "", "at least 1 character"),
    ],
)
def test_a_template_that_cannot_be_used_gets_one_sentence(key: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load("demo", {f"domain.{key}": value})
    assert says in str(error.value)
    assert f"domain.{key}" in str(error.value)


def test_the_default_domain_is_in_no_key_and_another_one_is() -> None:
    plain = Config.model_validate({"model": {"prompt": "instruct"}})
    assert prompt_settings(plain) == {
        "prompt": "instruct",
        "domain": "movie",
        "list_length": 20,
        "years": True,
    }
    assert plain.domain.changed("line", "student", "plural") == {}
    other = Config.model_validate({**BOOKS, "model": {"prompt": "instruct"}})
    assert prompt_settings(other)["plural"] == "stories"


def test_a_checkpoint_is_served_in_the_words_that_it_was_trained_with() -> None:
    trained = config.load("demo-books")
    served = Config.model_validate(serving_settings(trained))
    assert student_prompt("x", None, served) == student_prompt("x", None, trained)
    assert served.line_format is trained.line_format
    assert served.ingest.columns == trained.ingest.columns
    old = serving_settings(trained) | {"domain": "movie"}  # as checkpoints had it before
    assert Config.model_validate(old).domain == Domain()


def test_the_worlds_of_the_configuration_are_those_that_ship() -> None:
    field = Ingest.model_fields["world"]
    assert get_args(field.annotation) == WORLDS


def test_demo_books_asks_another_teacher_request_than_the_films() -> None:
    films, books = (digest(teacher_messages("x", config.load(p))) for p in ("demo", "demo-books"))
    assert films != books
