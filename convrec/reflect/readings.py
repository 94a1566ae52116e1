"""What stored answers of the judge say, and the one repair of those that cannot be used."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from convrec.llm.answers import AnswerStore
from convrec.llm.requests import Request
from convrec.llm.stored import NO_ANSWER, stored_texts, text_of
from convrec.reflect.judge import read_ratings, repair_body

if TYPE_CHECKING:
    from convrec.artifacts import Store


class Reading(NamedTuple):
    """What became of one request: ratings by shown position (from 0), or the reason for none.

    `repair` is the second request, where the first answer could not be used.
    """

    ratings: Mapping[int, int]
    reason: str = ""
    repair: Request | None = None

    @property
    def final(self) -> bool:
        """Whether asking again would cost and change nothing."""
        return self.reason != NO_ANSWER


_PARSED: dict[tuple[bytes, int, int], array[int]] = {}
"""(answer digest, candidates shown, scale) → ratings by position, of answers read before."""

PARSED_AT_MOST = 1 << 18
"""Answers whose ratings are kept in memory, some 80 MB; each is read several times in a run."""


def first_readings(shown: Mapping[str, int], store: Store, scale: int) -> dict[str, Reading]:
    """Request key → reading of its first answer; `shown` is how many candidates each showed."""
    answers = AnswerStore(store)
    digests = answers.digests(shown)
    marks = {
        key: (bytes.fromhex(digests[key]), shown[key], scale) for key in shown if key in digests
    }
    failed = _parse(marks, answers)
    return {  # in the order asked, whatever DuckDB's is
        key: failed[key] if key in failed else Reading(dict(enumerate(_PARSED[mark])))
        for key, mark in marks.items()
    }


def _parse(marks: Mapping[str, tuple[bytes, int, int]], answers: AnswerStore) -> dict[str, Reading]:
    """Read the answers that are not in _PARSED into it; the readings of those of no use."""
    if len(_PARSED) + len(marks) > PARSED_AT_MOST:
        _PARSED.clear()
    failed: dict[str, Reading] = {}
    broken: dict[str, tuple[str, str]] = {}
    new = [key for key, mark in marks.items() if mark not in _PARSED]
    for key, response in answers.responses(new).items():
        _, shown, scale = marks[key]
        text, reason = text_of(response)
        if text is None:
            failed[key] = Reading({}, reason)
            continue
        try:
            ratings = read_ratings(text, shown, scale)
            _PARSED[marks[key]] = array("i", (ratings[position] for position in range(shown)))
        except ValueError as error:
            broken[key] = text, str(error)
    for key, (request, _) in answers.exchanges(broken).items():
        text, problem = broken[key]
        body = repair_body(request.body, text, problem)
        failed[key] = Reading({}, problem, Request(request.owner, request.endpoint, body))
    return failed


def readings(shown: Mapping[str, int], store: Store, scale: int) -> dict[str, Reading]:
    """As `first_readings`, with the repaired answer in place of one that could not be used."""
    found = first_readings(shown, store, scale)
    repairs = {one.repair.key: key for key, one in found.items() if one.repair is not None}
    asked = [one.repair for one in found.values() if one.repair is not None]
    for repair, text, lack in stored_texts(asked, store):
        key = repairs[repair.key]
        try:
            ratings = read_ratings(text or "", shown[key], scale)
            found[key] = Reading(ratings, repair=repair)
        except ValueError as error:
            reason = lack or f"not usable, and repaired neither: {error}"
            found[key] = Reading({}, reason, repair)
    return found
