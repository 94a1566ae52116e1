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

from convrec.config import located
from convrec.llm.requests import Request, Requests, chunks
from convrec.stages.partitions import spans
from convrec.stages.remap.linked_titles import named
from convrec.stages.remap.texts import needed_texts
from convrec.stages.remap.vector_store import keep, lacking, vectors_digest

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.config import Config
    from convrec.stages.base import Job

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
    folder = located(model_of(config), "remap.model")
    return f"sentence-transformers {_content(folder) if folder.is_dir() else model_of(config)}"


@lru_cache(maxsize=4)
def _content(folder: Path) -> str:
    from convrec.artifacts import file_digest

    return file_digest(folder)[:20]


def texts_of(job: Job) -> pl.DataFrame:
    """The texts that this job needs vectors of."""
    from convrec.stages.ingest.contexts import contexts

    found = named(job)
    listed = spans(job, "teacher_lists")
    talks = contexts(job).join(listed, on="context_id", how="semi", maintain_order="left")
    return needed_texts(job, found, talks)


def lacking_texts(job: Job) -> pl.DataFrame:
    """The texts that this job needs vectors of and that have none, in order."""
    return lacking(texts_of(job), space_name(job.config), job.store)


# -- what the step does ------------------------------------------------------------------------


def embedding_requests(job: Job) -> Requests:
    """Requests for the texts without a vector; none where no endpoint is asked."""
    if job.config.remap.similarity != "openai":
        return Requests(lambda: iter(()), 0)
    texts = lacking_texts(job)
    return Requests(lambda: _requests(job.config, texts), sum(1 for _ in _groups(texts)))


def known_requests(job: Job) -> int:
    """How many requests the vectors at hand stand for."""
    if job.config.remap.similarity != "openai":
        return 0
    texts = texts_of(job)
    known = texts.height - lacking(texts, space_name(job.config), job.store).height
    return -(-known // GROUP)


def settle_embeddings(job: Job) -> None:
    """Store the vectors that answers hold, or those that the model on this machine makes."""
    if job.config.remap.similarity == "openai":
        _keep_answers(job)
    elif embeds(job.config):
        _encode(job)


def recall_embeddings(job: Job) -> None:
    """Store the vectors of lacking texts that answers hold, whichever texts were asked beside them.

    A process that was killed left them, and after an edit of the catalog the groups are others.
    """
    from convrec.llm.endpoint import endpoint_name
    from convrec.llm.response_store import AnswerStore

    if job.config.remap.similarity != "openai":
        return
    answers = AnswerStore(job.store)  # saves what crashed processes left
    texts = lacking_texts(job)
    if texts.is_empty():
        return
    with job.store.read_connection() as connection:
        connection.register("lacking", texts.select("text").to_arrow())
        found = connection.execute(_ANSWERED, [endpoint_name(job.config), model_of(job.config)])
        keys = [key for (key,) in found.fetchall()]
    rows = _rows(texts)
    for chunk in chunks(keys, COMMITTED):
        _keep(answers.exchanges(chunk).values(), texts, rows, job)


def embedding_inputs(job: Job) -> dict[str, str]:
    """The digest of the vectors used; nothing for TF-IDF."""
    if not embeds(job.config):
        return {}
    keys, name = texts_of(job)["text_key"], space_name(job.config)
    return {"vectors": vectors_digest(keys, name, job.store)}


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


def _keep_answers(job: Job) -> None:
    """Requests are taken in order, so that what is left after a crash is asked for as before."""
    from convrec.llm.response_store import AnswerStore

    answers, texts = AnswerStore(job.store), lacking_texts(job)
    rows = _rows(texts)
    for chunk in chunks(_requests(job.config, texts), COMMITTED):
        responses = answers.responses([request.key for request in chunk])
        _keep([(r, responses[r.key]) for r in chunk if r.key in responses], texts, rows, job)


def _rows(texts: pl.DataFrame) -> dict[str, int]:
    """Text → its row."""
    return {text: row for row, text in enumerate(texts["text"])}


def _keep(
    answered: Collection[tuple[Request, dict[str, Any]]],
    texts: pl.DataFrame,
    rows: Mapping[str, int],
    job: Job,
) -> None:
    """Store the vectors of those of `texts`, whose `rows` are known, that were asked about."""
    import numpy as np

    if not answered:
        return
    asked = [text for request, _ in answered for text in request.body["input"]]
    places = {rows[text]: place for place, text in enumerate(asked) if text in rows}  # once each
    vectors = np.concatenate([_vectors(response) for _, response in answered])
    keep(texts[list(places)], vectors[list(places.values())], space_name(job.config), job.store)


def _vectors(response: dict[str, Any]) -> np.ndarray:
    """The vectors of a response, (texts, dimensions), in the order of the texts."""
    import numpy as np

    rows = sorted(response["data"], key=lambda row: int(row["index"]))
    found = [row["embedding"] for row in rows]
    packed = [np.frombuffer(base64.b64decode(v), "<f4") if isinstance(v, str) else v for v in found]
    return np.asarray(packed, dtype=np.float32)


def _encode(job: Job) -> None:
    from convrec.stages.remap.local_encoder import Encoder

    texts, name = lacking_texts(job), space_name(job.config)
    if texts.is_empty():
        return
    encoder = Encoder(model_of(job.config))
    for start in range(0, texts.height, ENCODED):
        part = texts.slice(start, ENCODED)
        keep(part, encoder.vectors(part["text"].to_list()), name, job.store)
        job.progress(start + part.height, texts.height, "texts embedded")
