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

from convrec.artifacts.identity import canonical, digest, text_digest
from convrec.llm.requests import Request
from convrec.stages.ingest.contexts import contexts
from convrec.stages.reflect.prompt import judge_body, sanitize

if TYPE_CHECKING:
    import polars as pl

    from convrec.stages.base import StepContext

SLICE = 16_384
"""Contexts looked at together."""

KEPT = 10_000_000
"""Pairs that stay in memory between two passes, some 300 MB."""

_KNOWN = """
SELECT context, pass, request_key, items AS item
FROM llm_judged JOIN keys USING (judge_key) WHERE pass <= ? ORDER BY request_key, context, pass
"""


@lru_cache(maxsize=1)
def _judge_keys(way: str, most: int) -> dict[bytes, str]:
    """Hash of a conversation → its judge key, of one way to ask; every pass wants them again.

    `most` is how many characters of a conversation are shown, which its request alone tells.
    """
    return {}


class JudgedContext(NamedTuple):
    """One request, and what it asks: the pass, and the items in the order shown."""

    request: Request
    judge_key: str
    round: int
    items: list[str]


class Slice(NamedTuple):
    """The pairs of some contexts, ordered by context, rank and pass; strings stand in tables.

    `pairs` has columns context and item (rows of `Pairs.owners` and `Pairs.items`), score (s_remap)
    and pass; and of the request that asked, null where there is none: request (row of `requests`),
    position (from 1), shown. `requests` has columns request_key, shown.
    """

    pairs: pl.DataFrame
    requests: pl.DataFrame


class Pairs:
    """All pairs of one judgments artifact.

    `owners` are the context_ids; `items` has item_id, item (its line) and line, the same number for
    items with the same line.
    """

    def __init__(self, ctx: StepContext) -> None:
        import polars as pl

        from convrec.llm.endpoint import endpoint_name

        self._config, self._store = ctx.config, ctx.store
        self._endpoint = endpoint_name(ctx.config)
        catalog = ctx.frame("catalog", "item_id", "title", "year")
        write = ctx.config.line_format.format
        lines = [(item_id, write(title, year)) for item_id, title, year in catalog.rows()]
        self.items = pl.DataFrame(
            lines, schema={"item_id": pl.String, "item": pl.String}, orient="row"
        ).with_columns(line=(pl.col("item").rank("dense") - 1).cast(pl.UInt32))
        ranked = ctx.frame("candidates", "context_id", "item_id", "score", "rank")
        ranked = ranked.filter(pl.col("rank") <= ctx.config.reflect.top)
        talks = contexts(ctx).join(ranked, on="context_id", how="semi", maintain_order="left")
        self.owners = talks["context_id"]
        self._talks = talks["conversation"]
        self._top = _numbered(ranked, self.owners, self.items)
        nothing = Request("", self._endpoint, judge_body("\0", [], self._config))
        self._around = nothing.said.split(canonical("\0")[1:-1])
        self._keys = _judge_keys(nothing.key, ctx.config.reflect.max_characters)
        self._kept: tuple[tuple[int, ...], list[Slice]] | None = None

    def _judge_key(self, talk: str) -> str:
        """The key of the request without candidates; only the conversation is written anew."""
        mark = blake2b(talk.encode(), digest_size=16).digest()
        if mark not in self._keys:
            text = canonical(sanitize(talk, self._config.reflect.max_characters))
            self._keys[mark] = text_digest(text[1:-1].join(self._around))
        return self._keys[mark]

    def slices(self) -> Iterator[Slice]:
        """The pairs, `SLICE` contexts at a time.

        Several passes are made over the same pairs: unless they are very many they stay in memory
        until something was noted or forgotten, by whomever.
        """
        state = self._notes()
        if self._kept is not None and self._kept[0] == state:
            yield from self._kept[1]
            return
        few = self._top.height * self._config.reflect.passes <= KEPT
        kept = []
        for start in range(0, len(self.owners), SLICE):
            found = self._known(start, start + SLICE)
            if few:
                kept.append(found)
            yield found
        if few:
            self._kept = state, kept

    def _notes(self) -> tuple[int, ...]:
        """What changes whenever a pair is noted or forgotten."""
        with self._store.read_connection() as connection:
            query = "SELECT count(*), coalesce(max(rowid), 0) FROM llm_judged"
            return tuple(connection.execute(query).fetchall()[0])

    def _known(self, start: int, stop: int) -> Slice:
        """The pairs of the contexts from one number up to another, and who asked about them."""
        import polars as pl

        rounds = range(1, self._config.reflect.passes + 1)
        passes = pl.DataFrame({"pass": rounds}, schema={"pass": pl.Int32})
        wanted = self._top.filter(pl.col("context").is_between(start, stop, closed="left")).join(
            passes, how="cross", maintain_order="left_right"
        )
        talks = enumerate(self._talks[start:stop], start)
        keys = pl.DataFrame(
            [(number, self._judge_key(talk)) for number, talk in talks],
            schema={"context": pl.UInt32, "judge_key": pl.String},
            orient="row",
        )
        with self._store.read_connection() as connection:
            connection.register("keys", keys.to_arrow())
            asked = connection.execute(_KNOWN, [len(rounds)]).pl()
        asked = asked.with_columns(
            asked=pl.col("request_key").rle_id(), shown=pl.col("item").list.len().cast(pl.Int32)
        )
        # Numbers, and one for each pair: joins on texts, or on several columns, take twice as long.
        pair = (pl.col("context").cast(pl.Int64) * self.items.height + pl.col("line")) * len(rounds)
        pair = (pair + pl.col("pass")).alias("pair")
        known = (
            asked.with_columns(position=pl.int_ranges(1, pl.col("shown") + 1, dtype=pl.Int32))
            .explode("item", "position")
            .join(self.items.select("item", "line").unique(), on="item", maintain_order="left")
            .select(pair, "asked", "position", "shown")
        )
        if known["pair"].n_unique() < known.height:  # two processes may have asked at once
            known = known.unique("pair", keep="first", maintain_order=True)
        found = wanted.with_columns(pair).join(known, on="pair", how="left", maintain_order="left")
        used = found.select("asked", "shown").drop_nulls().unique(maintain_order=True)
        names = asked["request_key"].unique(maintain_order=True)
        requests = used.select(names.gather(used["asked"]), "shown")
        numbers = used.select("asked").with_row_index("request")
        pairs = found.join(numbers, on="asked", how="left", maintain_order="left")
        return Slice(pairs.drop("asked", "line", "pair"), requests)

    def asked(self, some: Slice) -> Iterator[JudgedContext]:
        """The requests for those pairs of a slice that nobody has asked about.

        An item's place is by a hash of conversation, pass and item: another order in every pass,
        the same whatever else is shown, and never by the run's seed.
        """
        import polars as pl

        missing = some.pairs.filter(pl.col("request").is_null())
        groups = missing.group_by("context", "pass", maintain_order=True).agg("item")
        lines = self.items["item"]
        for context, number, found in groups.sort("context", "pass").iter_rows():
            talk = self._talks[context]
            key = self._judge_key(talk)
            items = shown_order((lines[item] for item in found), key, number)
            body = judge_body(talk, items, self._config)
            yield JudgedContext(
                Request(self.owners[context], self._endpoint, body), key, number, items
            )


def pairs_of(ctx: StepContext) -> Pairs:
    """The pairs of a job: the same object again while it is about the same artifacts."""
    from convrec.llm.endpoint import endpoint_name

    global _LAST
    if ctx.frames:  # a plan, of artifacts that are not stored
        return Pairs(ctx)
    mark = digest(
        {
            "store": ctx.store.where,
            "parents": {role: ref.artifact_id for role, ref in ctx.parents.items()},
            "reflect": ctx.config.reflect.model_dump(mode="json"),
            "line": ctx.config.line_format.key,
            "domain": ctx.config.domain.model_dump(mode="json"),
            "endpoint": endpoint_name(ctx.config),
        }
    )
    if _LAST is None or _LAST[0] != mark:
        _LAST = mark, Pairs(ctx)
    return _LAST[1]


_LAST: tuple[str, Pairs] | None = None


def known_requests(ctx: StepContext) -> int:
    """How many requests answered the pairs that need not be asked about."""
    found: set[str] = set()
    for some in pairs_of(ctx).slices():
        found.update(some.requests["request_key"])
    return len(found)


def _numbered(ranked: pl.DataFrame, owners: pl.Series, items: pl.DataFrame) -> pl.DataFrame:
    """Candidates by context and rank: context and item as numbers, score, and the line's number."""
    contexts = owners.to_frame("context_id").with_row_index("context")
    return (
        ranked.join(contexts, on="context_id")
        .join(items.with_row_index("number").drop("item"), on="item_id")
        .sort("context", "rank")
        .select("context", "score", "line", item="number")
    )


def shown_order(items: Iterable[str], judge_key: str, number: int) -> list[str]:
    """Lines in the order in which pass `number` shows them."""

    def place(item: str) -> bytes:
        return blake2b(f"{judge_key}/{number}/{item}".encode(), digest_size=8).digest()

    return sorted(items, key=place)
