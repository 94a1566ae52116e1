"""Ratings from the judge's stored responses, and the one repair of each unusable response.

Hundreds of thousands of responses are parsed at once. A response that is, character for character,
the requested JSON object is parsed in columns; every other one by `read_judgment`, which alone
decides what is wrong with it.

The first version of this parser read nothing but the requested object. Where a reading differs from
its reading, the judgments have another id (`ParsedRatings.reread`), and where both refuse, the
repair request is the same, so that no repair is bought twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.identity import digest
from convrec.llm.answer import FILTERED, Answer, read_answer
from convrec.llm.read import NO_RESPONSE, stored_answers, table_version
from convrec.llm.requests import Request
from convrec.llm.response_store import recovered_responses
from convrec.stages.reflect.prompt import repair_body
from convrec.stages.reflect.ratings import read_exact_ratings, read_ratings


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
    has no ratings. `repaired` is the number of requests with a repair, `reread` the number of
    responses, with repairs, that the first version of the parser read otherwise.
    """

    ratings: pl.DataFrame
    unusable: dict[int, UnusableResponse]
    repaired: int = 0
    reread: int = 0

    @property
    def responses(self) -> int:
        """Number of requests with a response."""
        return self.ratings["request"].n_unique() + len(self.unusable)

    def renumbered(self, numbers: pl.Series) -> ParsedRatings:
        """The same with other numbers of the requests: `numbers` has the new one by the old."""
        unusable = {int(numbers[old]): each for old, each in self.unusable.items()}
        ratings = self.ratings.with_columns(request=numbers.gather(self.ratings["request"]))
        return self._replace(ratings=ratings, unusable=dict(sorted(unusable.items())))

    def repairs(self) -> list[Request]:
        """The repair requests of unusable responses."""
        return [each.repair for each in self.unusable.values() if each.repair]


_CACHE: dict[str, ParsedRatings] = {}
"""Parsed first responses by scale and digest; a run needs each several times."""

MAX_CACHED_RATINGS = 10_000_000
"""About 120 MB."""

_DIGESTS: dict[str, str] = {}
MAX_CACHED_DIGESTS = 1000

_RESPONSE_TEXTS = """
SELECT request, shown, CASE
    WHEN coalesce(fields[2], 'stop') IN ('stop', 'length')
        AND coalesce(fields[3], 'stop') IN ('stop', 'length', 'STOP', 'end_turn', 'completed')
        AND coalesce(fields[4], '') = ''
    THEN fields[1] END AS text
FROM (
    SELECT request, shown, CASE
        WHEN json_valid(response) AND len(regexp_extract_all(response, ?)) = 3
        THEN json_extract_string(response, [
            '$.choices[0].message.content', '$.choices[0].finish_reason',
            '$.choices[0].native_finish_reason', '$.choices[0].message.refusal']) END AS fields
    FROM llm_answers JOIN wanted USING (request_key))
ORDER BY request
"""

_UNIQUE_NAMES = '"(?:choices|message|content)"'
"""Names that must occur once: JSON parsers differ on which of two equal names they take."""

_SPACE = r"[ \t\r\n]*"
_PAIR = r'\{ "candidate" : [1-9][0-9]{0,5} , "rating" : -?(?:0|[1-9][0-9]{0,5}) \}'
_EXACT = rf'^ \{{ "ratings" : \[ {_PAIR}(?: , {_PAIR})* \] \}} $'.replace(" ", _SPACE)


def requests_digest(requests: pl.DataFrame, store: Store) -> str:
    """The digest of requests (columns request_key, shown) and of their stored responses.

    It is cached until a response is stored or deleted: a run asks for it seven times.
    """
    responses = recovered_responses(store)
    key = digest([store.location, table_version(store), requests.rows()])
    if key not in _DIGESTS:
        if len(_DIGESTS) >= MAX_CACHED_DIGESTS:
            _DIGESTS.clear()
        digests = responses.digests(requests["request_key"].to_list())
        rows = [(key, shown, digests.get(key, "")) for key, shown in requests.iter_rows()]
        _DIGESTS[key] = digest(rows)
    return _DIGESTS[key]


def parse_first_responses(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    """Parse the responses to requests (columns request_key, shown), without repairs.

    The same requests in another order are not parsed again: a run has them in one order before it
    indexes new pairs, and in another one afterwards.
    """
    by_key = requests.with_row_index("number").sort("request_key")
    numbers, by_key = by_key["number"], by_key.drop("number")
    key = f"{scale}/{requests_digest(by_key, store)}"
    if key not in _CACHE:
        parsed = _parse_responses(by_key, store, scale)
        cached = sum(each.ratings.height for each in _CACHE.values())
        if parsed.ratings.height + cached > MAX_CACHED_RATINGS:
            _CACHE.clear()
        _CACHE[key] = parsed
    return _CACHE[key].renumbered(numbers)


def parse_ratings(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    """As `parse_first_responses`, with the repaired response in place of an unusable one."""
    first = parse_first_responses(requests, store, scale)
    numbers = {each.repair.key: number for number, each in first.unusable.items() if each.repair}
    shown, unusable = requests["shown"], dict(first.unusable)
    repaired: list[tuple[int, int, int]] = []
    reread = first.reread
    for repair, answer in stored_answers(first.repairs(), store):
        number = numbers[repair.key]
        reading = _read(answer, shown[number], scale)
        reread += reading.is_new
        if reading.ratings:
            repaired += _rating_rows(number, reading.ratings)
            del unusable[number]
        else:
            reason = answer.reason or f"not usable, and repaired neither: {reading.reason}"
            unusable[number] = UnusableResponse(reason, repair)
    ratings = pl.concat([first.ratings, _rating_frame(repaired)])
    return ParsedRatings(ratings, unusable, len(numbers), reread)


def _parse_responses(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    wanted = requests.with_row_index("request")
    with store.read_connection() as connection:
        connection.register("wanted", wanted.to_arrow())
        texts = connection.execute(_RESPONSE_TEXTS, [_UNIQUE_NAMES]).pl()
    exact = parse_exact(texts, scale)
    others = texts.join(exact, on="request", how="anti")["request"]
    rows: list[tuple[int, int, int]] = []
    unusable: dict[int, UnusableResponse] = {}
    reread = 0
    responses = recovered_responses(store)
    for some in others.to_frame().iter_slices(1000):
        refused: dict[str, _Reading] = {}
        numbers = dict(wanted.join(some, on="request").select("request_key", "request").iter_rows())
        for key, response in responses.responses(numbers).items():
            number = numbers[key]
            reading = _read(read_answer(response), requests["shown"][number], scale)
            reread += reading.is_new
            if reading.ratings:
                rows += _rating_rows(number, reading.ratings)
            elif reading.problem:
                refused[key] = reading
            else:
                unusable[number] = UnusableResponse(reading.reason)
        for key, (request, _) in responses.exchanges(refused).items():
            reading = refused[key]
            body = repair_body(request.body, reading.text, reading.problem)
            repair = Request(request.owner, request.endpoint, body)
            unusable[numbers[key]] = UnusableResponse(reading.reason, repair)
    ordered = dict(sorted(unusable.items()))  # not DuckDB's order
    ratings = pl.concat([exact, _rating_frame(rows)])
    return ParsedRatings(ratings, ordered, reread=reread)


def read_judgment(answer: Answer, shown: int, scale: int) -> dict[int, int]:
    """The ratings in an answer about `shown` candidates: position (from 0) → rating.

    Raises ValueError with the reason if there are none.
    """
    if answer.text is None:
        raise ValueError(answer.reason)
    try:
        return read_ratings(answer.text, shown, scale)
    except ValueError as error:
        if not answer.is_cut:
            raise
        message = f"{error}; the answer was cut at its limit, raise reflect.max_tokens"
        raise ValueError(message) from None


class _Reading(NamedTuple):
    """The ratings in an answer, or why there are none.

    `problem` is the message of the repair request about `text`; empty if there is no repair.
    `is_new` says whether the first version of the parser read something else.
    """

    ratings: Mapping[int, int]
    reason: str = ""
    text: str = ""
    problem: str = ""
    is_new: bool = False


def _read(answer: Answer, shown: int, scale: int) -> _Reading:
    first, problem = _first_reading(answer.content, shown, scale)
    try:
        ratings = read_judgment(answer, shown, scale)
    except ValueError as error:
        reason = str(error)
        if answer.reason == FILTERED or not (answer.content or answer.text):
            return _Reading({}, reason, is_new=bool(first))
        text = answer.content or answer.text or ""
        return _Reading({}, reason, text, problem or reason, bool(first))
    return _Reading(ratings, is_new=ratings != first)


def _first_reading(content: str, shown: int, scale: int) -> tuple[dict[int, int], str]:
    """(ratings, problem) as the first version of the parser had them; both empty without text."""
    if not content:
        return {}, ""
    try:
        return read_exact_ratings(content, shown, scale), ""
    except ValueError as error:
        return {}, str(error)


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
