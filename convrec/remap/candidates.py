"""Scores every catalog item for every context, and keeps the best as candidates.

Contexts go through in chunks, so memory is bounded by CHUNK × catalog size, never by all contexts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convrec.artifacts import Built, Job, Step
from convrec.errors import InputError
from convrec.lists import format_line
from convrec.recommend import contexts
from convrec.remap.basis import item_texts, vectorizer

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix

    from convrec.catalog.link import Link
    from convrec.config import Config

CHUNK = 1024
"""Contexts scored at once."""


@dataclass(frozen=True)
class _TeacherItems:
    """The distinct items that teachers named: what each links to, and its TF-IDF row."""

    number: dict[tuple[str, int | None], int]
    links: list[Link | None]
    position: list[int]  # catalog row, -1 where the catalog has no such item
    vectors: csr_matrix  # (items, terms)


class _Scorer:
    """Everything that is the same for all contexts; `frame` scores a chunk of them."""

    def __init__(self, job: Job) -> None:
        from scipy.sparse import csr_matrix

        self.settings = job.config.remap
        catalog = job.frame("catalog")
        self.item_ids = catalog["item_id"].to_numpy()
        self.tfidf = vectorizer(job.frame("similarity_basis"))
        self.catalog_vectors = self.tfidf.transform(item_texts(catalog)).tocsr()
        lists = job.frame("teacher_lists")
        self.items = self._teacher_items(lists, catalog)
        self.named: dict[str, list[tuple[int, int]]] = {}  # context → (teacher item, rank)
        columns = lists.select("context_id", "rank", "title", "year").iter_rows()
        for owner, rank, title, year in columns:
            self.named.setdefault(owner, []).append((self.items.number[(title, year)], rank))
        linked = [(n, row) for n, row in enumerate(self.items.position) if row >= 0]
        self.identity = csr_matrix(  # I: (teacher items, catalog)
            ([1.0] * len(linked), ([n for n, _ in linked], [row for _, row in linked])),
            shape=(len(self.items.position), catalog.height),
            dtype="float32",
        )

    def _teacher_items(self, lists: pl.DataFrame, catalog: pl.DataFrame) -> _TeacherItems:
        from scipy.sparse import vstack

        from convrec.catalog.link import Linker

        distinct = lists.select("title", "year").unique(maintain_order=True).rows()
        links = Linker(catalog).link_many(distinct)
        row_of = {item_id: row for row, item_id in enumerate(catalog["item_id"])}
        position = [row_of[link.item_id] if link else -1 for link in links]
        titles = self.tfidf.transform([title for title, _ in distinct] or [""])
        parts = [
            self.catalog_vectors[row] if row >= 0 else titles[number]
            for number, row in enumerate(position)
        ]
        vectors = vstack(parts, format="csr") if parts else self.catalog_vectors[:0]
        return _TeacherItems(
            dict(zip(distinct, range(len(distinct)), strict=True)), links, position, vectors
        )

    def _p(self, owners: list[str]) -> csr_matrix:
        """p: (contexts, teacher items), 1/√rank of the best rank at which each is named."""
        from scipy.sparse import csr_matrix

        rows, columns, values = [], [], []
        for row, owner in enumerate(owners):
            best: dict[int, int] = {}
            for item, rank in self.named[owner]:
                best[item] = min(rank, best.get(item, rank))
            rows += [row] * len(best)
            columns += list(best)
            values += [rank**-0.5 for rank in best.values()]
        shape = (len(owners), len(self.items.position))
        return csr_matrix((values, (rows, columns)), shape=shape, dtype="float32")

    def _origins(self, owner: str) -> dict[int, tuple[Any, ...]]:
        """Catalog row → (teacher item as text, method, score, runner-up of the link and its score),
        the best rank first.
        """
        origins: dict[int, tuple[Any, ...]] = {}
        titles = list(self.items.number)
        for item, _ in sorted(self.named[owner], key=lambda pair: pair[1]):
            link = self.items.links[item]
            if link is not None:
                text = format_line(*titles[item])
                second = getattr(link, "runner_up", None), getattr(link, "runner_up_score", None)
                origin = (text, link.method, link.score, *second)
                origins.setdefault(self.items.position[item], origin)
        return origins

    def frame(self, chunk: pl.DataFrame) -> pl.DataFrame:
        """The candidates of a chunk of contexts, best first; ties keep the catalog's order."""
        import numpy as np
        import polars as pl

        owners = chunk["context_id"].to_list()
        p = self._p(owners)
        carried = (p @ self.identity).toarray()
        similar = (p @ self.items.vectors @ self.catalog_vectors.T).toarray()
        similar *= self.settings.similarity_weight
        talk = self.tfidf.transform(chunk["conversation"].to_list()) @ self.catalog_vectors.T
        conversation = talk.toarray() * self.settings.conversation_weight
        scores = carried + similar + conversation
        top = np.argsort(-scores, axis=1, kind="stable")[:, : self.settings.keep]
        rows, columns = np.repeat(np.arange(len(owners)), top.shape[1]), top.ravel()
        nothing = (None,) * 5
        origins = [
            found.get(int(column), nothing)
            for found, line in zip(map(self._origins, owners), top, strict=True)
            for column in line
        ]
        return pl.DataFrame(
            {
                "context_id": np.array(owners, dtype=object)[rows].tolist(),
                "rank": np.tile(np.arange(1, top.shape[1] + 1, dtype=np.int32), len(owners)),
                "item_id": self.item_ids[columns].tolist(),
                "score": scores[rows, columns].astype(np.float64),
                "identity": carried[rows, columns].astype(np.float64),
                "similarity": similar[rows, columns].astype(np.float64),
                "conversation": conversation[rows, columns].astype(np.float64),
            }
        ).with_columns(
            pl.DataFrame(
                origins,
                schema={
                    "linked_from": pl.String,
                    "link_method": pl.String,
                    "link_score": pl.Float64,
                    "runner_up": pl.String,
                    "runner_up_score": pl.Float64,
                },
                orient="row",
            )
        )


def _build(job: Job) -> Built:
    import polars as pl

    scorer = _Scorer(job)
    wanted = contexts(job.frame("conversations"))
    wanted = wanted.filter(pl.col("context_id").is_in(list(scorer.named)))
    if wanted.is_empty():
        raise InputError(
            "no context has a teacher list, so there is nothing to remap; "
            "`convrec artifacts list` shows the teacher_lists artifact and its failures"
        )
    parts = []
    for start in range(0, wanted.height, CHUNK):
        parts.append(scorer.frame(wanted.slice(start, CHUNK)))
        job.progress(min(start + CHUNK, wanted.height), wanted.height, "contexts scored")
    frame = pl.concat(parts)
    lists = job.frame("teacher_lists")
    in_catalog = sum(
        scorer.items.position[scorer.items.number[item]] >= 0
        for item in lists.select("title", "year").iter_rows()
    )
    methods = Counter(link.method for link in scorer.items.links if link)
    return Built(
        frame,
        {
            "contexts": wanted.height,
            "teacher lines in catalog": round(in_catalog / lists.height, 4),
            "distinct teacher items": len(scorer.items.links),
            **{f"linked: {method}": count for method, count in methods.most_common()},
            "not in catalog": scorer.items.links.count(None),
        },
    )


def _config(config: Config) -> dict[str, Any]:
    return config.remap.model_dump(mode="json")


CANDIDATES = Step(stage="remap", kind="candidates", version=2, build=_build, config=_config)
