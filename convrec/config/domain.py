"""What is recommended, and in which words: the part of a profile that says films or books.

Every text in which a domain shows is a template here; the defaults are films. Only settings that
differ from the defaults enter an artifact's key, so that a new setting rebuilds nothing.
"""

from __future__ import annotations

from string import Formatter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from convrec.titles.line_format import LINE, LINE_WITHOUT_YEAR

TEACHER = (
    "You recommend {plural}. You get a conversation and answer with exactly {n} different {plural} "
    "that fit it, the best first. One a line, each written as: {form}. Use the usual English "
    "title, leave out what the conversation already names, and write nothing else."
)
STUDENT = (
    "Someone describes below what they look for. Recommend exactly {n} {plural} to them, best "
    "first, one a line, written as {form}. Write nothing else, repeat none, and leave out every "
    "{noun} that they name themselves.\n\n{conversation}"
)
_WORDS = ("n", "noun", "plural", "form")
_FIELDS = {
    "line": ("title", "year"),
    "line_without_year": ("title",),
    "teacher": _WORDS,
    "student": (*_WORDS, "conversation"),
}
"""The fields of each template; those of a line must all be there, and once."""


class Domain(BaseModel):
    """What is recommended, as prompts name it, and how a list of it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    noun: str = Field("movie", min_length=1, description="One of what is recommended.")
    plural: str = Field("", description="Several of them; empty: the noun and an s.")
    line: str = Field(LINE, description="A line of a list, over {title} and {year}.")
    line_without_year: str = Field(
        LINE_WITHOUT_YEAR,
        description="A line over {title} alone: where an item has no year, and everywhere with "
        "recommend.years=false.",
    )
    teacher: str = Field(
        TEACHER, description="What the teacher is told, over {n}, {noun}, {plural} and {form}."
    )
    student: str = Field(
        STUDENT,
        description="What the student reads with model.prompt=instruct, over the same and "
        "{conversation}.",
    )

    @field_validator(*_FIELDS)
    @classmethod
    def _known_fields(cls, value: str, info: Any) -> str:
        allowed = _FIELDS[info.field_name]
        names = _fields(value, allowed)
        if info.field_name.startswith("line"):
            if sorted(names) != sorted(allowed) or value != " ".join(value.split()):
                raise ValueError(
                    f"a line holds {_braced(allowed)} once each, and no line break or outer space"
                )
        elif "conversation" in allowed and "conversation" not in names:
            raise ValueError("the conversation must stand in it, as {conversation}")
        return value

    def __str__(self) -> str:
        return self.noun

    @property
    def many(self) -> str:
        """The plural."""
        return self.plural or f"{self.noun}s"

    def changed(self, *names: str) -> dict[str, str]:
        """Those of the named settings that are not the default, for an artifact's key."""
        return self.model_dump(include=set(names), exclude_defaults=True)


def _fields(template: str, allowed: tuple[str, ...]) -> list[str]:
    """The names of a template's fields. Raises ValueError where one is not allowed as it is."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is meant is written twice") from None
    for _, name, spec, conversion in parts:
        if name is not None and (name not in allowed or spec or conversion):
            raise ValueError(f"{{{name}}} is no field of it; allowed are {_braced(allowed)}")
    return [name for _, name, _, _ in parts if name]


def _braced(names: tuple[str, ...]) -> str:
    return " and ".join(f"{{{name}}}" for name in names)
