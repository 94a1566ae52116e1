"""What stored answers of the judge say, and the one repair of those that cannot be used.

Hundreds of thousands are read at once: an answer that is, letter for letter, the JSON object that
was asked for is taken apart in columns, and every other one by `read_ratings`, which alone decides
what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from convrec.artifacts.identity import digest
from convrec.llm.read import NO_RESPONSE, stored_texts, response_text
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.stages.reflect.prompt import read_ratings, repair_body

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store


class Lack(NamedTuple):
    """Why a request has no ratings, and its repair: the second request, where there may be one."""

    reason: str
    repair: Request | None = None

    @property
    def final(self) -> bool:
        """Whether asking again would cost and change nothing."""
        return self.reason != NO_RESPONSE


class ParsedRatings(NamedTuple):
    """What became of requests, which are numbered by their row in the frame asked about.

    `ratings` has columns request, position (from 1), rating; `lacking` says of the other requests
    with an answer why they have none. `repaired` of them were asked a second time.
    """

    ratings: pl.DataFrame
    lacking: dict[int, Lack]
    repaired: int = 0

    @property
    def answers(self) -> int:
        """How many of the requests have an answer."""
        return self.ratings["request"].n_unique() + len(self.lacking)

    def repairs(self) -> list[Request]:
        """The second requests that first answers call for."""
        return [lack.repair for lack in self.lacking.values() if lack.repair is not None]


_READ: dict[str, ParsedRatings] = {}
"""First readings by what was read; each is wanted several times in a run."""

READ_AT_MOST = 10_000_000
"""Ratings that are kept in memory, some 120 MB."""

_SAID = """
SELECT request, shown, CASE
    WHEN json_valid(response) AND len(regexp_extract_all(response, ?)) = 3
    THEN json_extract_string(response, '$.choices[0].message.content') END AS said
FROM llm_answers JOIN wanted USING (request_key) ORDER BY request
"""

_NAMES = '"(?:choices|message|content)"'
"""A response has each of these once; of two with one name, readers of JSON take either."""

_GAP = r"[ \t\r\n]*"
_PAIR = r'\{ "candidate" : [1-9][0-9]{0,5} , "rating" : -?(?:0|[1-9][0-9]{0,5}) \}'
_EXACT = rf'^ \{{ "ratings" : \[ {_PAIR}(?: , {_PAIR})* \] \}} $'.replace(" ", _GAP)


def answered(requests: pl.DataFrame, store: Store) -> str:
    """The digest of requests (columns request_key, shown) and of what was answered to each."""
    digests = ResponseStore(store).digests(requests["request_key"].to_list())
    return digest([(key, shown, digests.get(key, "")) for key, shown in requests.iter_rows()])


def first_readings(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    """What the first answers to requests (columns request_key, shown) say."""
    mark = f"{scale}/{answered(requests, store)}"
    if mark not in _READ:
        found = _read(requests, store, scale)
        if found.ratings.height + sum(r.ratings.height for r in _READ.values()) > READ_AT_MOST:
            _READ.clear()
        _READ[mark] = found
    return _READ[mark]


def parse_ratings(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    """As `first_readings`, with the repaired answer in place of one that could not be used."""
    import polars as pl

    first = first_readings(requests, store, scale)
    numbers = {one.repair.key: n for n, one in first.lacking.items() if one.repair is not None}
    shown, lacking = requests["shown"], dict(first.lacking)
    repaired: list[tuple[int, int, int]] = []
    for repair, text, lack in stored_texts(first.repairs(), store):
        number = numbers[repair.key]
        try:
            repaired += _rows(number, read_ratings(text or "", shown[number], scale))
            del lacking[number]
        except ValueError as error:
            reason = lack or f"not usable, and repaired neither: {error}"
            lacking[number] = Lack(reason, repair)
    return ParsedRatings(pl.concat([first.ratings, _frame(repaired)]), lacking, len(numbers))


def _read(requests: pl.DataFrame, store: Store, scale: int) -> ParsedRatings:
    import polars as pl

    wanted = requests.with_row_index("request")
    with store.read_connection() as connection:
        connection.register("wanted", wanted.to_arrow())
        said = connection.execute(_SAID, [_NAMES]).pl()
    exact = _exact(said, scale)
    others = said.join(exact, on="request", how="anti")["request"]
    rows: list[tuple[int, int, int]] = []
    lacking: dict[int, Lack] = {}
    answers = ResponseStore(store)
    for some in others.to_frame().iter_slices(1000):
        broken: dict[str, tuple[str, str]] = {}
        keys = dict(wanted.join(some, on="request").select("request_key", "request").iter_rows())
        for key, response in answers.responses(keys).items():
            text, reason = response_text(response)
            if text is None:
                lacking[keys[key]] = Lack(reason)
                continue
            try:
                shown = requests["shown"][keys[key]]
                rows += _rows(keys[key], read_ratings(text, shown, scale))
            except ValueError as error:
                broken[key] = text, str(error)
        for key, (request, _) in answers.exchanges(broken).items():
            text, problem = broken[key]
            body = repair_body(request.body, text, problem)
            repair = Request(request.owner, request.endpoint, body)
            lacking[keys[key]] = Lack(problem, repair)
    ordered = {number: lacking[number] for number in sorted(lacking)}  # whatever DuckDB's order is
    return ParsedRatings(pl.concat([exact, _frame(rows)]), ordered)


def _exact(said: pl.DataFrame, scale: int) -> pl.DataFrame:
    """The ratings of answers (request, shown, said) that are exactly what was asked for."""
    import polars as pl

    numbers = pl.col("said").str.extract_all(r"-?[0-9]+").cast(pl.List(pl.Int32))
    flat = (
        said.filter(pl.col("said").str.contains(_EXACT))
        .select("request", "shown", position=numbers, rating=numbers)
        .with_columns(
            pl.col("position").list.gather_every(2), pl.col("rating").list.gather_every(2, 1)
        )
        .explode("position", "rating")
    )
    fits = pl.col("position").le(pl.col("shown")) & pl.col("rating").is_between(-scale, scale)
    each = (
        (pl.len() == pl.col("shown").first())
        & fits.all()
        & (pl.col("position").n_unique() == pl.len())
    )
    return flat.filter(each.over("request")).select("request", "position", "rating")


def _rows(request: int, ratings: Mapping[int, int]) -> list[tuple[int, int, int]]:
    return [(request, position + 1, rating) for position, rating in ratings.items()]


def _frame(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    import polars as pl

    schema = {"request": pl.UInt32, "position": pl.Int32, "rating": pl.Int32}
    return pl.DataFrame(rows, schema=schema, orient="row")
