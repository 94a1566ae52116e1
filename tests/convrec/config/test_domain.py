"""The domain: its nouns, its templates, and which of them enter an artifact id."""

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
    assert config.load("demo", {"domain": "book"}).domain.plural_noun == "books"
    domain = config.load("demo-books", {"domain": "novel"}).domain
    assert (domain.noun, domain.teacher) == ("novel", config.load("demo-books").domain.teacher)
    assert config.load("demo", {"domain.noun": "song"}).domain.plural_noun == "songs"


def test_both_prompts_use_noun_plural_and_format() -> None:
    settings = Config.model_validate(BOOKS)
    instructions = teacher_messages("x", settings)[0]["content"]
    assert "exactly 20 different stories" in instructions
    assert "each written as: Title. " in instructions
    assert "every story that they name" in student_prompt("x", None, settings)


def test_prompts_are_templates() -> None:
    templates = {"teacher": "{n} {plural}, {form}!", "student": "{noun}? {conversation}"}
    settings = Config.model_validate({"domain": templates})
    assert teacher_messages("{n}", settings)[0]["content"] == "20 movies, Title (year)!"
    assert student_prompt("{n}", None, settings) == "movie? {n}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("line", "{title}", "{title} and {year} exactly once"),
        ("line", "{title} {title} {year}", "exactly once"),
        ("line", "{title}\n{year}", "no line breaks"),
        ("line_without_year", "{title} ({year})", "{year} is not a field"),
        ("teacher", "{catalog}", "allowed: {n} and {noun} and {plural} and {form}"),
        ("teacher", "{n.__class__}", "is not a field"),
        ("teacher", "{n!r}", "is not a field"),
        ("teacher", "{", "for a literal brace"),
        ("student", "no talk", "must contain {conversation}"),
        ("noun", "", "at least 1 character"),
    ],
)
def test_an_invalid_template_is_one_sentence(key: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load("demo", {f"domain.{key}": value})
    assert message in str(error.value)
    assert f"domain.{key}" in str(error.value)


def test_only_another_domain_enters_an_id() -> None:
    plain = Config.model_validate({"model": {"prompt": "instruct"}})
    assert prompt_settings(plain) == {
        "prompt": "instruct",
        "domain": "movie",
        "list_length": 20,
        "years": True,
    }
    assert plain.domain.identity_settings("line", "student", "plural") == {}
    other = Config.model_validate({**BOOKS, "model": {"prompt": "instruct"}})
    assert prompt_settings(other)["plural"] == "stories"


def test_a_checkpoint_is_served_with_its_domain() -> None:
    trained = config.load("demo-books")
    served = Config.model_validate(serving_settings(trained))
    assert student_prompt("x", None, served) == student_prompt("x", None, trained)
    assert served.line_format is trained.line_format
    assert served.ingest.columns == trained.ingest.columns
    old = serving_settings(trained) | {"domain": "movie"}  # the manifest of an older checkpoint
    assert Config.model_validate(old).domain == Domain()


def test_configured_worlds_are_shipped() -> None:
    field = Ingest.model_fields["world"]
    assert get_args(field.annotation) == WORLDS


def test_books_and_movies_have_different_requests() -> None:
    films, books = (digest(teacher_messages("x", config.load(p))) for p in ("demo", "demo-books"))
    assert films != books
