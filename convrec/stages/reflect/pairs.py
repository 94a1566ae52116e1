"""The pairs that the judge rates: (conversation, candidate) by pass, each asked about once.

A pair is identified by what the judge sees: `judge_key`, the hash of the request without its
candidates (conversation, model, prompt, scale, endpoint), and `item`, the candidate's line. The
table `llm_judged` records which request asked about which pairs. So after a catalog edit only new
pairs are requested; a renamed item is a new pair. Contexts are processed in slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import polars as pl

from convrec.artifacts.identity import canonical_json, digest, text_digest
from convrec.llm.endpoint import endpoint_name
from convrec.llm.model_settings import model_settings
from convrec.llm.read import table_version
from convrec.llm.requests import Request
from convrec.stages.base import StepContext
from convrec.stages.contexts import (
    catalog_lines,
    context_spans,
    conversation_contexts,
    read_texts,
    rows_of_contexts,
)
from convrec.stages.reflect.prompt import judge_body, sanitize
from convrec.stages.remap.texts import description_texts, read_descriptions
from convrec.utils.latest_value import LatestValue

SLICE_CONTEXTS = 16_384

MAX_DESCRIPTION = 300
"""Characters of a description that the judge sees."""

MAX_CACHED_PAIRS = 10_000_000
"""Most pairs that stay in memory between two iterations, about 300 MB."""

_INDEXED_PAIRS = """
SELECT context, pass, request_key, items AS item
FROM llm_judged JOIN keys USING (judge_key) WHERE pass <= ? ORDER BY request_key, context, pass
"""


_KEY_BYTES = 32

_LATEST_JUDGE_KEYS: LatestValue[np.ndarray] = LatestValue()
"""The judge key of each conversation, for one prompt and length; every iteration needs them."""


class JudgeRequest(NamedTuple):
    """One request, and the pairs that it asks about: the pass, and the lines in shown order."""

    request: Request
    judge_key: str
    pass_number: int
    items: list[str]


class PairSlice(NamedTuple):
    """The pairs of some contexts, ordered by context, rank and pass.

    `pairs` has context and item (rows of `Pairs.context_ids` and `Pairs.items`), score (s_remap),
    pass; request (row of `requests`), position (from 1) and shown, null if no request asked about
    the pair. `requests` has request_key, shown. `texts` has the conversation of each context and
    its judge key, from the first context of the slice on.
    """

    pairs: pl.DataFrame
    requests: pl.DataFrame
    texts: Sequence[tuple[str, str]]
    first: int

    def text_of(self, context: int) -> tuple[str, str]:
        """The conversation of a context and its judge key."""
        return self.texts[context - self.first]


def _shown_items(ctx: StepContext) -> pl.DataFrame:
    """The catalog as the judge sees it: item_id, item; with `reflect.describe`, described."""
    items = catalog_lines(ctx, "item", ctx.config.llm_line_format)
    descriptions = read_descriptions(ctx) if ctx.config.reflect.describe else None
    if descriptions is None:
        return items
    texts = pl.Series(description_texts(descriptions)).str.slice(0, MAX_DESCRIPTION)
    described = descriptions.select("item_id", text=texts.str.replace_all(r"\s+", " "))
    items = items.join(
        described.drop_nulls("item_id"), on="item_id", how="left", maintain_order="left"
    )
    shown = pl.concat_str("item", "text", separator=": ", ignore_nulls=True)
    return items.select("item_id", item=shown)


class Pairs:
    """All pairs of one judgments artifact, read SLICE_CONTEXTS contexts at a time.

    `context_ids` are the contexts that have candidates, in order. `items` has item_id, item (its
    line, as the judge sees it), and line: equal numbers for equal lines.
    """

    def __init__(self, ctx: StepContext) -> None:
        self._ctx = StepContext(ctx.config, ctx.store, ctx.parents, frames=ctx.frames)
        self._config, self._store = ctx.config, ctx.store
        self._endpoint = endpoint_name(ctx.config)
        self.items = _shown_items(ctx).with_columns(
            line=(pl.col("item").rank("dense") - 1).cast(pl.UInt32)
        )
        # context_id, row (the first of its conversation), first and last row of its candidates
        self._contexts = conversation_contexts(ctx).join(
            context_spans(ctx, "candidates"), on="context_id", maintain_order="left"
        )
        self.context_ids = self._contexts["context_id"]
        template = Request("", self._endpoint, judge_body("\0", [], self._config))
        self._template_parts = template.canonical_json.split(canonical_json("\0")[1:-1])
        self._judge_keys = self._stored_judge_keys(template.key)
        self._cached: tuple[tuple[int, ...], list[PairSlice]] | None = None

    def judge_key(self, conversation: str) -> str:
        """The key of the request without candidates; only the conversation is serialized."""
        shown = sanitize(conversation, self._config.reflect.max_characters)
        return text_digest(canonical_json(shown)[1:-1].join(self._template_parts))

    def slices(self) -> Iterator[PairSlice]:
        """Iterate over the pairs.

        Up to MAX_CACHED_PAIRS stay in memory until any process changes the index.
        """
        state = table_version(self._store, "llm_judged")
        if self._cached is not None and self._cached[0] == state:
            yield from self._cached[1]
            return
        cached = []
        for start in range(0, len(self.context_ids), SLICE_CONTEXTS):
            part = self._read_slice(start, start + SLICE_CONTEXTS)
            if self._fits:
                cached.append(part)
            yield part
        if self._fits:
            self._cached = state, cached

    def slice(self, start: int, stop: int) -> PairSlice:
        """The pairs of the contexts `start` to `stop`."""
        if self._cached is not None and self._cached[0] == table_version(self._store, "llm_judged"):
            for part in self._cached[1]:
                if (part.first, part.first + len(part.texts)) == (start, stop):
                    return part
        return self._read_slice(start, stop)

    @property
    def _fits(self) -> bool:
        candidates = pl.min_horizontal(
            pl.col("last") - pl.col("first") + 1, self._config.reflect.top
        )
        total = self._contexts.select(candidates.sum()).item() * self._config.reflect.passes
        return bool(total <= MAX_CACHED_PAIRS)

    def _read_slice(self, start: int, stop: int) -> PairSlice:
        """The pairs of the contexts `start` to `stop`, and the requests that asked about them."""
        contexts = self._contexts.with_row_index("context").slice(start, stop - start)
        passes = range(1, self._config.reflect.passes + 1)
        # One number for each pair: joins on strings or several columns take twice as long.
        pair = pl.col("context").cast(pl.Int64) * self.items.height + pl.col("line")
        pair = (pair * len(passes) + pl.col("pass")).alias("pair")
        pairs = self._read_candidates(contexts).join(
            pl.DataFrame({"pass": passes}, schema={"pass": pl.Int32}),
            how="cross",
            maintain_order="left_right",
        )
        texts = self._read_texts(contexts)
        indexed = self._read_index(start, [key for _, key in texts])
        places = (
            indexed.with_columns(position=pl.int_ranges(1, pl.col("shown") + 1, dtype=pl.Int32))
            .explode("item", "position")
            .join(self.items.select("item", "line").unique(), on="item", maintain_order="left")
            .select(pair, "key_number", "position", "shown")
        )
        if places["pair"].n_unique() < places.height:  # two processes may have asked at once
            places = places.unique("pair", keep="first", maintain_order=True)
        pairs = pairs.with_columns(pair).join(places, on="pair", how="left", maintain_order="left")
        used = pairs.select("key_number", "shown").drop_nulls().unique(maintain_order=True)
        request_keys = indexed["request_key"].unique(maintain_order=True)
        requests = used.select(request_keys.gather(used["key_number"]), "shown")
        numbers = used.select("key_number").with_row_index("request")
        pairs = pairs.join(numbers, on="key_number", how="left", maintain_order="left")
        return PairSlice(pairs.drop("key_number", "line", "pair"), requests, texts, start)

    def _read_candidates(self, contexts: pl.DataFrame) -> pl.DataFrame:
        """Candidates by context and rank: context and item as numbers, score, line."""
        columns = ("context_id", "item_id", "score", "rank")
        return (
            rows_of_contexts(self._ctx, "candidates", contexts, *columns)
            .filter(pl.col("rank") <= self._config.reflect.top)
            .join(contexts.select("context_id", "context"), on="context_id")
            .join(self.items.with_row_index("number").drop("item"), on="item_id")
            .sort("context", "rank")
            .select("context", "score", "line", item="number")
        )

    def _read_texts(self, contexts: pl.DataFrame) -> list[tuple[str, str]]:
        """The conversation of each context, and its judge key."""
        conversations = read_texts(self._ctx, contexts)["conversation"]
        texts = []
        for row, conversation in zip(contexts["row"], conversations, strict=True):
            if not self._judge_keys[row].any():
                key = bytes.fromhex(self.judge_key(conversation))
                self._judge_keys[row] = np.frombuffer(key, dtype=np.uint8)
            texts.append((conversation, self._judge_keys[row].tobytes().hex()))
        return texts

    def _stored_judge_keys(self, template: str) -> np.ndarray:
        """(rows of conversations, bytes) The judge keys, 0 where not known yet.

        Kept for another catalog, whose pairs are of the same conversations.
        """
        rows = 1 + int(self._contexts["row"].max() or 0)  # type: ignore[arg-type]
        conversations = self._ctx.parents.get("conversations")
        if conversations is None or "conversations" in self._ctx.frames:
            return np.zeros((rows, _KEY_BYTES), dtype=np.uint8)
        known = (
            self._store.location,
            conversations.artifact_id,
            template,
            self._config.reflect.max_characters,
            rows,
        )
        return _LATEST_JUDGE_KEYS.get(known, lambda: np.zeros((rows, _KEY_BYTES), dtype=np.uint8))

    def _read_index(self, first: int, judge_keys: Sequence[str]) -> pl.DataFrame:
        """Index rows of contexts: context, pass, request_key, item (lines), key_number, shown."""
        keys = pl.DataFrame({"judge_key": judge_keys}, schema={"judge_key": pl.String})
        keys = keys.with_row_index("context", offset=first)
        with self._store.read_connection() as connection:
            connection.register("keys", keys.to_arrow())
            rows = connection.execute(_INDEXED_PAIRS, [self._config.reflect.passes]).pl()
        return rows.with_columns(
            key_number=pl.col("request_key").rle_id(),
            shown=pl.col("item").list.len().cast(pl.Int32),
        )

    def missing_requests(self, part: PairSlice) -> Iterator[JudgeRequest]:
        """The requests for the pairs of a slice that no request asked about.

        Items are ordered by a hash of conversation, pass and item: another order in every pass,
        independent of the other items and of the run's seed.
        """
        missing = part.pairs.filter(pl.col("request").is_null())
        groups = missing.group_by("context", "pass", maintain_order=True).agg("item")
        lines = self.items["item"]
        for context, pass_number, items in groups.sort("context", "pass").iter_rows():
            conversation, key = part.text_of(context)
            shown = shown_order((lines[item] for item in items), key, pass_number)
            body = judge_body(conversation, shown, self._config)
            request = Request(self.context_ids[context], self._endpoint, body)
            yield JudgeRequest(request, key, pass_number, shown)


_LATEST_PAIRS: LatestValue[Pairs] = LatestValue()


def cached_pairs(ctx: StepContext) -> Pairs:
    """The pairs of a step context; the same object while parents and settings are the same."""
    if ctx.frames:  # a plan, whose parents are not stored
        return Pairs(ctx)
    key = digest(
        {
            "store": ctx.store.location,
            "parents": {role: ref.artifact_id for role, ref in ctx.parents.items()},
            "reflect": ctx.config.reflect.model_dump(mode="json"),
            "line": ctx.config.llm_line_format.identity_settings,
            "domain": ctx.config.domain.model_dump(mode="json"),
            "endpoint": endpoint_name(ctx.config),
            "model": model_settings(ctx.config, ctx.config.reflect.model).model_dump(mode="json"),
        }
    )
    return _LATEST_PAIRS.get(key, lambda: Pairs(ctx))


def shown_order(items: Iterable[str], judge_key: str, pass_number: int) -> list[str]:
    """Sort lines into the order in which a pass shows them."""

    prefix = f"{judge_key}/{pass_number}/"
    return sorted(
        items, key=lambda item: blake2b(f"{prefix}{item}".encode(), digest_size=8).digest()
    )
