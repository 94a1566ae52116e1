"""The pairs that a judge rates: (conversation, candidate, pass), each asked about once.

A pair is known by what the judge sees: `judge_key` is the hash of the request without candidates
(conversation, model, prompt, scale, endpoint), `item` the candidate's line. Which answered request
asked about which pair is noted in `llm_judged`, so that after a catalog edit only pairs that are
new are asked about, and a renamed item is a new one. Contexts go through in slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from convrec.artifacts.again import again
from convrec.artifacts.identity import digest
from convrec.llm.answers import AnswerStore
from convrec.llm.requests import Request
from convrec.recommend import contexts
from convrec.reflect.judge import judge_body

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Job

SLICE = 2048
"""Contexts looked at together."""

KEPT = 300_000
"""Pairs that stay in memory between two passes, some 70 MB."""

_KNOWN = """
SELECT pairs.*, known.request_key, known.position, known.shown
FROM pairs LEFT JOIN llm_judged AS known
    ON known.judge_key = pairs.judge_key AND known.item = pairs.item AND known.pass = pairs.pass
ORDER BY pairs.number
"""

_NOTE = """
INSERT INTO llm_judged BY NAME
SELECT judge_key, item, pass, position, shown, request_key, context_id FROM asked
WHERE NOT EXISTS (
    SELECT 1 FROM llm_judged AS known WHERE known.judge_key = asked.judge_key
    AND known.item = asked.item AND known.pass = asked.pass)
QUALIFY row_number() OVER (PARTITION BY judge_key, item, pass ORDER BY context_id) = 1
"""


@lru_cache(maxsize=1)
def _judge_keys(way: str) -> dict[bytes, str]:
    """Hash of a conversation → its judge key, of one way to ask; every pass wants them again."""
    return {}


class Asked(NamedTuple):
    """One request, and what it asks: the pass, and the items in the order shown."""

    request: Request
    judge_key: str
    round: int
    items: list[str]


class Pairs:
    """All pairs of one judgments artifact."""

    def __init__(self, job: Job) -> None:
        import polars as pl

        from convrec.llm.endpoint import endpoint_name

        self._config, self._store = job.config, job.store
        self._endpoint = endpoint_name(job.config)
        catalog = job.frame("catalog", "item_id", "title", "year")
        write = job.config.line_format.format
        lines = [(item_id, write(title, year)) for item_id, title, year in catalog.rows()]
        self._lines = pl.DataFrame(lines, schema=["item_id", "item"], orient="row")
        ranked = job.frame("candidates", "context_id", "item_id", "score", "rank")
        self._top = ranked.filter(pl.col("rank") <= job.config.reflect.top)
        self._talks = contexts(job.frame("conversations")).select("context_id", "conversation")
        self._talks = self._talks.join(self._top, on="context_id", how="semi")
        self._keys = _judge_keys(self._asked_nothing("").key)
        self._kept: tuple[tuple[int, ...], list[pl.DataFrame]] | None = None

    def slices(self) -> Iterator[pl.DataFrame]:
        """Frames of pairs, ordered by context, pass and rank.

        Columns context_id, item_id, score (s_remap), item, judge_key, pass; and of the request that
        asked, null where there is none: request_key, position (from 1), shown.

        Several passes are made over the same pairs: where all of them are few they stay in memory
        until something was noted or forgotten, by whomever.
        """
        state = self._notes()
        if self._kept is not None and self._kept[0] == state:
            yield from self._kept[1]
            return
        few = self._top.height * self._config.reflect.passes <= KEPT
        kept = []
        for start in range(0, self._talks.height, SLICE):
            frame = self._known(self._wanted(self._talks.slice(start, SLICE)))
            if few:
                kept.append(frame)
            yield frame
        if few:
            self._kept = state, kept

    def _notes(self) -> tuple[int, ...]:
        """What changes whenever a pair is noted or forgotten."""
        with self._store.read_connection() as connection:
            query = "SELECT count(*), coalesce(max(rowid), 0) FROM llm_judged"
            return tuple(connection.execute(query).fetchall()[0])

    def _wanted(self, talks: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        keys = [self._judge_key(talk) for talk in talks["conversation"]]
        asked = talks.select("context_id").with_columns(judge_key=pl.Series(keys, dtype=pl.String))
        rounds = pl.DataFrame(
            {"pass": range(1, self._config.reflect.passes + 1)}, schema={"pass": pl.Int32}
        )
        return (
            asked.join(rounds, how="cross", maintain_order="left_right")
            .join(
                self._top.select("context_id", "item_id", "score"),
                on="context_id",
                maintain_order="left_right",
            )
            .join(self._lines, on="item_id", maintain_order="left")
            .with_row_index("number")
        )

    def _judge_key(self, talk: str) -> str:
        mark = blake2b(talk.encode(), digest_size=16).digest()
        if mark not in self._keys:
            self._keys[mark] = self._asked_nothing(talk).key
        return self._keys[mark]

    def _asked_nothing(self, talk: str) -> Request:
        return Request("", self._endpoint, judge_body(talk, [], self._config))

    def _known(self, pairs: pl.DataFrame) -> pl.DataFrame:
        with self._store.read_connection() as connection:
            connection.register("pairs", pairs.to_arrow())
            return connection.execute(_KNOWN).pl().drop("number")

    def asked(self, pairs: pl.DataFrame) -> Iterator[Asked]:
        """The requests for those pairs of a slice that nobody has asked about.

        An item's place is by a hash of conversation, pass and item: another order in every pass,
        the same whatever else is shown, and never by the run's seed.
        """
        import polars as pl

        talks = dict(self._talks.join(pairs, on="context_id", how="semi").iter_rows())
        missing = pairs.filter(pl.col("request_key").is_null())
        groups = missing.group_by("context_id", "judge_key", "pass", maintain_order=True)
        for owner, key, number, found in groups.agg("item").iter_rows():
            items = sorted(found, key=lambda item: _place(key, number, item))
            body = judge_body(talks[owner], items, self._config)
            yield Asked(Request(owner, self._endpoint, body), key, number, items)

    def note(self, asked: Iterable[Asked]) -> None:
        """Note which request asked about which pair."""
        import polars as pl

        rows = [
            (a.judge_key, item, a.round, position, len(a.items), a.request.key, a.request.owner)
            for a in asked
            for position, item in enumerate(a.items, start=1)
        ]
        if not rows:
            return
        columns = ("judge_key", "item", "pass", "position", "shown", "request_key", "context_id")
        frame = pl.DataFrame(rows, schema=list(columns), orient="row").to_arrow()

        @again
        def commit() -> None:
            with self._store.write(growing=True) as connection:
                connection.register("asked", frame)
                connection.execute(_NOTE)

        commit()


def pairs_of(job: Job) -> Pairs:
    """The pairs of a job: the same object again while it is about the same artifacts."""
    global _LAST
    if job.frames:  # a plan, of artifacts that are not stored
        return Pairs(job)
    mark = digest(
        {
            "store": job.store.where,
            "parents": {role: ref.artifact_id for role, ref in job.parents.items()},
            "reflect": job.config.reflect.model_dump(mode="json"),
            "line": job.config.line_format.key,
            "domain": job.config.domain.model_dump(mode="json"),
            "llm": [job.config.llm.endpoint, job.config.llm.base_url],
        }
    )
    if _LAST is None or _LAST[0] != mark:
        _LAST = mark, Pairs(job)
    return _LAST[1]


_LAST: tuple[str, Pairs] | None = None


def settle(job: Job) -> None:
    """Note the pairs of all requests that have an answer by now."""
    pairs, answers = pairs_of(job), AnswerStore(job.store)
    for frame in pairs.slices():
        asked = list(pairs.asked(frame))
        answered = answers.digests([a.request.key for a in asked])
        pairs.note(a for a in asked if a.request.key in answered)


def known_requests(job: Job) -> int:
    """How many requests answered the pairs that need not be asked about."""
    found: set[str] = set()
    for frame in pairs_of(job).slices():
        found.update(frame["request_key"].drop_nulls())
    return len(found)


def _place(judge_key: str, number: int, item: str) -> bytes:
    return blake2b(f"{judge_key}/{number}/{item}".encode(), digest_size=8).digest()
