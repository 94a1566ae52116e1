"""Embeddings: which model, which texts it has not read yet, and how their vectors are stored.

`remap.similarity=openai` asks an OpenAI-compatible endpoint through the request layer, GROUP texts
a request; `sentence-transformers` reads on this machine. Both keep vectors by text, so that a
catalog edit embeds only what is new. The id of `candidates` holds the digest of the vectors used,
so, as with other answers, they are there before the artifact is named. TF-IDF has no part in this.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.config import resolve_path
from convrec.llm.requests import Request, Requests, chunks
from convrec.stages.partitions import spans
from convrec.stages.remap.linked_titles import link_teacher_titles
from convrec.stages.remap.texts import needed_texts
from convrec.stages.remap.vector_store import missing_vectors, store_vectors, vectors_digest

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.config import Config
    from convrec.stages.base import StepContext

GROUP, GROUP_BYTES = 100, 300_000
"""Most texts, and UTF-8 bytes of them, in one request: endpoints read 300,000 tokens at most."""

COMMITTED = 10
"""Requests whose vectors are stored in one commit."""

ENCODED = 1024
"""Texts read on this machine between two commits."""

_ANSWERED = """
SELECT DISTINCT request_key FROM (
    SELECT request_key, unnest(json_extract_string(body, '$.input[*]')) AS text
    FROM llm_answers WHERE endpoint = ? AND model = ?
) JOIN lacking USING (text) ORDER BY request_key
"""

DEFAULTS = {
    "openai": "text-embedding-3-small",
    "sentence-transformers": "sentence-transformers/all-MiniLM-L6-v2",
}


def embeds(config: Config) -> bool:
    """Whether similarity needs vectors of a model."""
    return config.remap.similarity != "tfidf"


def model_of(config: Config) -> str:
    """The embedding model as configured."""
    return config.remap.model or DEFAULTS.get(config.remap.similarity, "")


def space_name(config: Config) -> str:
    """The name under which vectors are kept: endpoint and model, or the model's name or content.

    A folder is named by what is in it, so that its vectors are found again wherever it lies.
    """
    if not embeds(config):
        return "tfidf"
    if config.remap.similarity == "openai":
        from convrec.llm.endpoint import endpoint_name

        return f"{endpoint_name(config)} {model_of(config)}"
    folder = resolve_path(model_of(config), "remap.model")
    return f"sentence-transformers {_content(folder) if folder.is_dir() else model_of(config)}"


@lru_cache(maxsize=4)
def _content(folder: Path) -> str:
    from convrec.artifacts import file_digest

    return file_digest(folder)[:20]


def texts_of(ctx: StepContext) -> pl.DataFrame:
    """The texts that this job needs vectors of."""
    from convrec.stages.ingest.contexts import contexts

    found = link_teacher_titles(ctx)
    listed = spans(ctx, "teacher_lists")
    talks = contexts(ctx).join(listed, on="context_id", how="semi", maintain_order="left")
    return needed_texts(ctx, found, talks)


def lacking_texts(ctx: StepContext) -> pl.DataFrame:
    """The texts that this job needs vectors of and that have none, in order."""
    return missing_vectors(texts_of(ctx), space_name(ctx.config), ctx.store)


# -- what the step does ------------------------------------------------------------------------


def embedding_requests(ctx: StepContext) -> Requests:
    """Requests for the texts without a vector; none where no endpoint is asked."""
    if ctx.config.remap.similarity != "openai":
        return Requests(lambda: iter(()), 0)
    texts = lacking_texts(ctx)
    return Requests(lambda: _requests(ctx.config, texts), sum(1 for _ in _groups(texts)))


def known_requests(ctx: StepContext) -> int:
    """How many requests the vectors at hand stand for."""
    if ctx.config.remap.similarity != "openai":
        return 0
    texts = texts_of(ctx)
    known = texts.height - missing_vectors(texts, space_name(ctx.config), ctx.store).height
    return -(-known // GROUP)


def settle_embeddings(ctx: StepContext) -> None:
    """Store the vectors that answers hold, or those that the model on this machine makes."""
    if ctx.config.remap.similarity == "openai":
        _keep_answers(ctx)
    elif embeds(ctx.config):
        _encode(ctx)


def recall_embeddings(ctx: StepContext) -> None:
    """Store the vectors of lacking texts that answers hold, whichever texts were asked beside them.

    A process that was killed left them, and after an edit of the catalog the groups are others.
    """
    from convrec.llm.endpoint import endpoint_name
    from convrec.llm.response_store import ResponseStore

    if ctx.config.remap.similarity != "openai":
        return
    answers = ResponseStore(ctx.store)  # saves what crashed processes left
    texts = lacking_texts(ctx)
    if texts.is_empty():
        return
    with ctx.store.read_connection() as connection:
        connection.register("lacking", texts.select("text").to_arrow())
        found = connection.execute(_ANSWERED, [endpoint_name(ctx.config), model_of(ctx.config)])
        keys = [key for (key,) in found.fetchall()]
    rows = _rows(texts)
    for chunk in chunks(keys, COMMITTED):
        _keep(answers.exchanges(chunk).values(), texts, rows, ctx)


def embedding_inputs(ctx: StepContext) -> dict[str, str]:
    """The digest of the vectors used; nothing for TF-IDF."""
    if not embeds(ctx.config):
        return {}
    keys, name = texts_of(ctx)["text_key"], space_name(ctx.config)
    return {"vectors": vectors_digest(keys, name, ctx.store)}


def _groups(texts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Slices of at most GROUP texts and GROUP_BYTES bytes; items and conversations stay apart."""
    sizes = texts["text"].str.len_bytes().to_list()
    of_item = (texts["context_id"] == "").to_list()
    start = size = 0
    for end in range(texts.height):
        full = end - start == GROUP or size + sizes[end] > GROUP_BYTES
        if end > start and (full or of_item[end] != of_item[start]):
            yield texts.slice(start, end - start)
            start, size = end, 0
        size += sizes[end]
    if start < texts.height:
        yield texts.slice(start)


def _requests(config: Config, texts: pl.DataFrame) -> Iterator[Request]:
    from convrec.llm.endpoint import endpoint_name

    endpoint, model = endpoint_name(config), model_of(config)
    for group in _groups(texts):
        body = {"model": model, "input": group["text"].to_list(), "encoding_format": "base64"}
        yield Request(group["context_id"][0], endpoint, body)


def _keep_answers(ctx: StepContext) -> None:
    """Requests are taken in order, so that what is left after a crash is asked for as before."""
    from convrec.llm.response_store import ResponseStore

    answers, texts = ResponseStore(ctx.store), lacking_texts(ctx)
    rows = _rows(texts)
    for chunk in chunks(_requests(ctx.config, texts), COMMITTED):
        responses = answers.responses([request.key for request in chunk])
        _keep([(r, responses[r.key]) for r in chunk if r.key in responses], texts, rows, ctx)


def _rows(texts: pl.DataFrame) -> dict[str, int]:
    """Text → its row."""
    return {text: row for row, text in enumerate(texts["text"])}


def _keep(
    answered: Collection[tuple[Request, dict[str, Any]]],
    texts: pl.DataFrame,
    rows: Mapping[str, int],
    ctx: StepContext,
) -> None:
    """Store the vectors of those of `texts`, whose `rows` are known, that were asked about."""
    import numpy as np

    if not answered:
        return
    asked = [text for request, _ in answered for text in request.body["input"]]
    places = {rows[text]: place for place, text in enumerate(asked) if text in rows}  # once each
    vectors = np.concatenate([_vectors(response) for _, response in answered])
    store_vectors(
        texts[list(places)], vectors[list(places.values())], space_name(ctx.config), ctx.store
    )


def _vectors(response: dict[str, Any]) -> np.ndarray:
    """The vectors of a response, (texts, dimensions), in the order of the texts."""
    import numpy as np

    rows = sorted(response["data"], key=lambda row: int(row["index"]))
    found = [row["embedding"] for row in rows]
    packed = [np.frombuffer(base64.b64decode(v), "<f4") if isinstance(v, str) else v for v in found]
    return np.asarray(packed, dtype=np.float32)


def _encode(ctx: StepContext) -> None:
    from convrec.stages.remap.local_encoder import Encoder

    texts, name = lacking_texts(ctx), space_name(ctx.config)
    if texts.is_empty():
        return
    encoder = Encoder(model_of(ctx.config))
    for start in range(0, texts.height, ENCODED):
        part = texts.slice(start, ENCODED)
        store_vectors(part, encoder.vectors(part["text"].to_list()), name, ctx.store)
        ctx.progress(start + part.height, texts.height, "texts embedded")
