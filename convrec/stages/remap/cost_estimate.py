"""What embedding would take: the requests still to be sent and their bill, before any is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.stages.remap.embedding import embedding_requests, embeds, lacking_texts, model_of

if TYPE_CHECKING:
    from convrec.llm.estimate import Bracket
    from convrec.llm.requests import Request
    from convrec.stages.base import Job

TITLE_BYTES = 60
"""UTF-8 bytes that a title of a list to come is taken to have at most."""


@dataclass(frozen=True)
class Forecast:
    """Texts without a vector, requests without an answer, and the bill for those."""

    texts: int
    requests: int
    bill: Bracket


def forecast(job: Job) -> Forecast:
    """What similarity still needs; nothing with TF-IDF, texts alone with a model on this machine.

    Where there are no teacher lists yet, the titles in them are unknown: the low end of the bill is
    without them, the high end as if each were a new one outside the catalog. Raises ConfigError for
    a model without a price.
    """
    from convrec.llm.estimate import Bracket, estimate
    from convrec.llm.read import unanswered

    if not embeds(job.config):
        return Forecast(0, 0, Bracket())
    known = job if job.has("teacher_lists") else _with_lists(job)
    texts, count = lacking_texts(known).height, 0

    def counted() -> Iterator[Request]:
        nonlocal count
        for request in unanswered(embedding_requests(known), job.store):
            count += 1
            yield request

    bill = estimate(counted(), config=job.config, store=job.store, stage="remap")
    return Forecast(texts, count, bill if known is job else bill + _titles_to_come(job))


def _with_lists(job: Job) -> Job:
    """The job as if every context's list named the first item of the catalog."""
    from dataclasses import replace

    import polars as pl

    first = job.frame("catalog").select("title", "year").head(1)
    lists = job.frame("conversations", "context_id").unique(maintain_order=True)
    lists = lists.with_columns(rank=pl.lit(1, pl.Int32)).join(first, how="cross")
    return replace(job, frames={**job.frames, "teacher_lists": lists})


def _titles_to_come(job: Job) -> Bracket:
    from convrec.llm.estimate import Bracket
    from convrec.llm.prices import price_of

    if job.config.remap.similarity != "openai":
        return Bracket()
    contexts = job.frame("conversations", "context_id")["context_id"].n_unique()
    tokens = contexts * job.config.list_length * TITLE_BYTES / 3
    return Bracket(0.0, tokens * price_of(model_of(job.config), job.config).input / 1e6)
