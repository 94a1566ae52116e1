"""What stored answers of the judge say, and the one repair of those that cannot be used."""

from __future__ import annotations

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


def first_readings(shown: Mapping[str, int], store: Store, scale: int) -> dict[str, Reading]:
    """Request key → reading of its first answer; `shown` is how many candidates each showed."""
    readings = {}
    stored = AnswerStore(store).exchanges(shown)
    for key in filter(stored.__contains__, shown):  # in the order asked, whatever DuckDB's is
        request, response = stored[key]
        text, reason = text_of(response)
        if text is None:
            readings[key] = Reading({}, reason)
            continue
        try:
            readings[key] = Reading(read_ratings(text, shown[key], scale))
        except ValueError as error:
            body = repair_body(request.body, text, str(error))
            repair = Request(request.owner, request.endpoint, body)
            readings[key] = Reading({}, str(error), repair)
    return readings


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
