"""Ratings from the judge's stored responses, and the one repair of each unusable response.

Hundreds of thousands of responses are parsed at once. A response that is, character for character,
the requested JSON object is parsed in columns; every other one by `read_ratings`, which alone
decides what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.identity import digest
from convrec.llm.answer import read_answer
from convrec.llm.read import NO_RESPONSE, stored_answers
from convrec.llm.requests import Request
from convrec.llm.response_store import recovered_responses
from convrec.stages.reflect.prompt import repair_body


class UnusableResponse(NamedTuple):
    """Why a request has no ratings, and its repair request, if there can be one."""

    reason: str
    repair: Request | None = None

    @property
    def final(self) -> bool:
        """Whether asking again would cost and change nothing."""
        return self.reason != NO_RESPONSE


class ParsedRatings(NamedTuple):
    """Parsed responses. A request's number is its row in the frame of requests.

    `ratings` has request, position (from 1), rating. `unusable` says by request why its response
    has no ratings. `repaired` is the number of requests with a repair.
    """

    ratings: pl.DataFrame
    unusable: dict[int, UnusableResponse]
    repaired: int = 0

    @property
    def responses(self) -> int:
        """Number of requests with a response."""
        return self.ratings["request"].n_unique() + len(self.unusable)

    def repairs(self) -> list[Request]:
        """The repair requests of unusable responses."""
        return [each.repair for each in self.unusable.values() if each.repair]


_CACHE: dict[str, ParsedRatings] = {}
"""Parsed first responses by scale and digest; a run needs each several times."""

MAX_CACHED_RATINGS = 10_000_000
"""About 120 MB."""

_RESPONSE_TEXTS = """
SELECT request, shown, CASE
    WHEN json_valid(response) AND len(regexp_extract_all(response, ?)) = 3
    THEN json_extract_string(response, '$.choices[0].message.content') END AS text
FROM llm_answers JOIN wanted USING (request_key) ORDER BY request
"""

_UNIQUE_NAMES = '"(?:choices|message|content)"'
"""Names that must occur once: JSON parsers differ on which of two equal names they take."""

_SPACE = r"[ \t\r\n]*"
_PAIR = r'\{ "candidate" : [1-9][0-9]{0,5} , "rating" : -?(?:0|[1-9][0-9]{0,5}) \}'
_EXACT = rf'^ \{{ "ratings" : \[ {_PAIR}(?: , {_PAIR})* \] \}} $'.replace(" ", _SPACE)


def requests_digest(requests: pl.DataFrame, store: Store) -> str:
    """The digest of requests (columns request_key, shown) and of their stored responses."""
    digests = recovered_responses(store).digests(requests["request_key"].to_list())
    return digest([(key, shown, digests.get(key, "")) for key, shown in requests.iter_rows()])


def parse_first_responses(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    """Parse the responses to requests (columns request_key, shown), without repairs."""
    key = f"{scale}/{requests_digest(requests, store)}"
    if key not in _CACHE:
        parsed = _parse_responses(requests, store, scale)
        cached = sum(each.ratings.height for each in _CACHE.values())
        if parsed.ratings.height + cached > MAX_CACHED_RATINGS:
            _CACHE.clear()
        _CACHE[key] = parsed
    return _CACHE[key]


def parse_ratings(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    """As `parse_first_responses`, with the repaired response in place of an unusable one."""
    first = parse_first_responses(requests, store, scale)
    numbers = {each.repair.key: number for number, each in first.unusable.items() if each.repair}
    shown, unusable = requests["shown"], dict(first.unusable)
    repaired: list[tuple[int, int, int]] = []
    for repair, answer in stored_answers(first.repairs(), store):
        number = numbers[repair.key]
        try:
            repaired += _rating_rows(number, read_ratings(answer.text or "", shown[number], scale))
            del unusable[number]
        except ValueError as error:
            reason = answer.reason or f"not usable, and repaired neither: {error}"
            unusable[number] = UnusableResponse(reason, repair)
    ratings = pl.concat([first.ratings, _rating_frame(repaired)])
    return ParsedRatings(ratings, unusable, len(numbers))


def _parse_responses(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    wanted = requests.with_row_index("request")
    with store.read_connection() as connection:
        connection.register("wanted", wanted.to_arrow())
        texts = connection.execute(_RESPONSE_TEXTS, [_UNIQUE_NAMES]).pl()
    exact = parse_exact(texts, scale)
    others = texts.join(exact, on="request", how="anti")["request"]
    rows: list[tuple[int, int, int]] = []
    unusable: dict[int, UnusableResponse] = {}
    responses = recovered_responses(store)
    for some in others.to_frame().iter_slices(1000):
        invalid: dict[str, tuple[str, str]] = {}
        numbers = dict(wanted.join(some, on="request").select("request_key", "request").iter_rows())
        for key, response in responses.responses(numbers).items():
            number = numbers[key]
            text, reason, *_ = read_answer(response)
            if text is None:
                unusable[number] = UnusableResponse(reason)
                continue
            try:
                rows += _rating_rows(number, read_ratings(text, requests["shown"][number], scale))
            except ValueError as error:
                invalid[key] = text, str(error)
        for key, (request, _) in responses.exchanges(invalid).items():
            text, problem = invalid[key]
            body = repair_body(request.body, text, problem)
            repair = Request(request.owner, request.endpoint, body)
            unusable[numbers[key]] = UnusableResponse(problem, repair)
    ordered = dict(sorted(unusable.items()))  # not DuckDB's order
    return ParsedRatings(pl.concat([exact, _rating_frame(rows)]), ordered)


def parse_exact(texts: pl.DataFrame, scale: int) -> pl.DataFrame:
    """Ratings (request, position, rating) of the texts that are exactly the requested JSON object.

    `texts` has the columns request, shown, text. Other texts give no rows.
    """
    numbers = pl.col("text").str.extract_all(r"-?[0-9]+").cast(pl.List(pl.Int32))
    flat = (
        texts.filter(pl.col("text").str.contains(_EXACT))
        .select("request", "shown", position=numbers, rating=numbers)
        .with_columns(
            pl.col("position").list.gather_every(2), pl.col("rating").list.gather_every(2, 1)
        )
        .explode("position", "rating")
    )
    in_range = pl.col("position").le(pl.col("shown")) & pl.col("rating").is_between(-scale, scale)
    complete = (
        (pl.len() == pl.col("shown").first())
        & in_range.all()
        & (pl.col("position").n_unique() == pl.len())
    )
    return flat.filter(complete.over("request")).select("request", "position", "rating")


def _rating_rows(request: int, ratings: Mapping[int, int]) -> list[tuple[int, int, int]]:
    return [(request, position + 1, rating) for position, rating in ratings.items()]


def _rating_frame(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    schema = {"request": pl.UInt32, "position": pl.Int32, "rating": pl.Int32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def read_ratings(text: str, count: int, scale: int) -> dict[int, int]:
    """Parse the text of a response to `count` candidates: position (from 0) → rating.

    Raises ValueError, with a message for the judge, if the text is not the requested JSON object,
    has an unknown, repeated or missing candidate, or a rating outside −scale to scale.
    """
    try:
        entries = json.loads(text)["ratings"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise ValueError('it is not a JSON object with "ratings"') from None
    if not isinstance(entries, list):
        raise ValueError('"ratings" is not a list')
    ratings: dict[int, int] = {}
    for entry in entries:
        number, rating = _parse_entry(entry)
        if not 1 <= number <= count:
            raise ValueError(f"there is no candidate {number}; they go from 1 to {count}")
        if not -scale <= rating <= scale:
            raise ValueError(f"rating {rating} is not between -{scale} and {scale}")
        if number - 1 in ratings:
            raise ValueError(f"candidate {number} is rated twice")
        ratings[number - 1] = rating
    missing = [str(n + 1) for n in range(count) if n not in ratings]
    if missing:
        raise ValueError(f"candidates without a rating: {', '.join(missing[:10])}")
    return ratings


def _parse_entry(entry: object) -> tuple[int, int]:
    values = entry if isinstance(entry, dict) else {}
    number, rating = values.get("candidate"), values.get("rating")
    if type(number) is not int or type(rating) is not int:
        raise ValueError("an entry is no object of two whole numbers, candidate and rating")
    return number, rating
