"""Embeddings for S and s_conv: which model, which texts have no vector, and how to get them.

`remap.similarity=openai` sends requests to an OpenAI-compatible endpoint, TEXTS_PER_REQUEST texts
each; `sentence-transformers` runs a local model. Both store vectors by text, so a catalog edit
embeds only new texts. The id of `candidates` contains the digest of the vectors used, so they are
stored before the artifact has an id. TF-IDF uses none of this.

The paper embeds with NovaSearch/stella_en_400M_v5; the default models here are DEFAULT_MODELS.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from convrec.artifacts import file_digest
from convrec.artifacts.identity import canonical_json
from convrec.config import Config, resolve_path
from convrec.llm.endpoint import endpoint_name
from convrec.llm.model_settings import model_settings
from convrec.llm.requests import LazyRequests, Request, chunks
from convrec.llm.response_store import recovered_responses
from convrec.stages.base import ResponseSource, StepContext
from convrec.stages.contexts import context_spans, conversation_contexts, read_texts
from convrec.stages.remap.linked_titles import link_teacher_titles
from convrec.stages.remap.local_encoder import LocalEncoder
from convrec.stages.remap.texts import collect_texts
from convrec.stages.remap.vector_store import missing_vectors, store_vectors, vectors_digest

TEXTS_PER_REQUEST = 100

BYTES_PER_REQUEST = 300_000
"""Limit of a request's texts in UTF-8 bytes: endpoints accept at most 300,000 tokens."""

REQUESTS_PER_COMMIT = 10
"""Requests whose vectors are stored in one commit."""

TEXTS_PER_COMMIT = 1024
"""Texts that the local model encodes between two commits."""

_RESPONSES_WITH_TEXTS = """
SELECT DISTINCT request_key FROM (
    SELECT request_key, unnest(json_extract_string(body, '$.input[*]')) AS text
    FROM llm_answers WHERE endpoint = ? AND model = ?
) JOIN missing USING (text) ORDER BY request_key
"""

DEFAULT_MODELS = {
    "openai": "text-embedding-3-small",
    "sentence-transformers": "sentence-transformers/all-MiniLM-L6-v2",
}


def uses_embeddings(config: Config) -> bool:
    """Whether similarity needs the vectors of a model."""
    return config.remap.similarity in DEFAULT_MODELS


def embedding_model(config: Config) -> str:
    """The configured embedding model, or the default one."""
    return config.remap.model or DEFAULT_MODELS.get(config.remap.similarity, "")


def vector_space(config: Config) -> str:
    """The name under which vectors are stored: endpoint and model, or the local model.

    A model folder is named by the digest of its content, so its vectors are found after a move.
    """
    if not uses_embeddings(config):
        return "tfidf"
    model = embedding_model(config)
    if config.remap.similarity == "openai":
        extra = _vector_settings(_request_fields(config))
        suffix = f" {canonical_json(extra)}" if extra else ""
        return f"{endpoint_name(config)} {model}{suffix}"
    folder = resolve_path(model, "remap.model")
    name = _folder_digest(folder) if folder.is_dir() else model
    return f"sentence-transformers {name}, both ends"


def _request_fields(config: Config) -> dict[str, Any]:
    """The fields of an embedding request besides model and texts."""
    extra = model_settings(config, embedding_model(config)).extra
    return {"encoding_format": "base64", **extra}


def _vector_settings(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that change vectors, such as `dimensions`."""
    plain = ("model", "input", "encoding_format")
    return {name: value for name, value in body.items() if name not in plain}


@lru_cache(maxsize=4)
def _folder_digest(folder: Path) -> str:
    return file_digest(folder)[:20]


def required_texts(ctx: StepContext) -> pl.DataFrame:
    """The texts whose vectors the step uses; columns as in `collect_texts`."""
    listed = context_spans(ctx, "teacher_lists")
    contexts = conversation_contexts(ctx).join(
        listed, on="context_id", how="semi", maintain_order="left"
    )
    return collect_texts(ctx, link_teacher_titles(ctx), read_texts(ctx, contexts))


def missing_texts(ctx: StepContext) -> pl.DataFrame:
    """The required texts without a vector, in order."""
    return missing_vectors(required_texts(ctx), vector_space(ctx.config), ctx.store)


def vector_inputs(ctx: StepContext) -> dict[str, str]:
    """The digest of the vectors used, as inputs of the step; empty for TF-IDF."""
    if not uses_embeddings(ctx.config):
        return {}
    keys = required_texts(ctx)["text_key"]
    return {"vectors": vectors_digest(keys, vector_space(ctx.config), ctx.store)}


# -- requests ----------------------------------------------------------------------------------


def embedding_requests(ctx: StepContext) -> LazyRequests:
    """The requests for the missing texts; none without an endpoint."""
    if ctx.config.remap.similarity != "openai":
        return LazyRequests(lambda: iter(()), 0)
    texts = missing_texts(ctx)
    count = sum(1 for _ in group_texts(texts))
    return LazyRequests(lambda: _build_requests(ctx.config, texts), count)


def group_texts(texts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Split texts by request; a request has texts of items or of conversations, never both."""
    sizes = texts["text"].str.len_bytes().to_list()
    is_item = (texts["context_id"] == "").to_list()
    start = size = 0
    for end in range(texts.height):
        full = end - start == TEXTS_PER_REQUEST or size + sizes[end] > BYTES_PER_REQUEST
        if end > start and (full or is_item[end] != is_item[start]):
            yield texts.slice(start, end - start)
            start, size = end, 0
        size += sizes[end]
    if start < texts.height:
        yield texts.slice(start)


def _build_requests(config: Config, texts: pl.DataFrame) -> Iterator[Request]:
    endpoint, model, fields = (
        endpoint_name(config),
        embedding_model(config),
        _request_fields(config),
    )
    for group in group_texts(texts):
        body = {"model": model, "input": group["text"].to_list(), **fields}
        yield Request(group["context_id"][0], endpoint, body)


class EmbeddingResponses(ResponseSource):
    """Vectors of texts, from an endpoint or a local model; TF-IDF needs none."""

    def needed(self, config: Config) -> bool:
        """Whether similarity needs the vectors of a model."""
        return uses_embeddings(config)

    def requests(self, ctx: StepContext) -> LazyRequests:
        """Requests for the texts without a vector."""
        return embedding_requests(ctx)

    def index_stored(self, ctx: StepContext) -> None:
        """Store the vectors of missing texts from any stored response that contains them.

        A killed process leaves such responses, and a catalog edit groups texts in another way.
        """
        if ctx.config.remap.similarity != "openai":
            return
        responses = recovered_responses(ctx.store)
        texts = missing_texts(ctx)
        if texts.is_empty():
            return
        with ctx.store.read_connection() as connection:
            connection.register("missing", texts.select("text").to_arrow())
            parameters = [endpoint_name(ctx.config), embedding_model(ctx.config)]
            result = connection.execute(_RESPONSES_WITH_TEXTS, parameters)
            keys = [key for (key,) in result.fetchall()]
        rows, wanted = _row_by_text(texts), _vector_settings(_request_fields(ctx.config))
        for chunk in chunks(keys, REQUESTS_PER_COMMIT):
            exchanges = [
                exchange
                for exchange in responses.exchanges(chunk).values()
                if _vector_settings(exchange[0].body) == wanted
            ]
            _store_response_vectors(exchanges, texts, rows, ctx)

    def record(self, ctx: StepContext) -> None:
        """Store the vectors of the responses, or compute them with the local model."""
        if ctx.config.remap.similarity == "openai":
            _store_requested_vectors(ctx)
        elif uses_embeddings(ctx.config):
            _encode_locally(ctx)

    def answered_count(self, ctx: StepContext) -> int:
        """How many requests the stored vectors stand for."""
        if ctx.config.remap.similarity != "openai":
            return 0
        texts = required_texts(ctx)
        missing = missing_vectors(texts, vector_space(ctx.config), ctx.store)
        return -(-(texts.height - missing.height) // TEXTS_PER_REQUEST)


# -- vectors -----------------------------------------------------------------------------------


def _store_requested_vectors(ctx: StepContext) -> None:
    """Store in request order, so that requests after a crash are the same as before it."""
    responses, texts = recovered_responses(ctx.store), missing_texts(ctx)
    rows = _row_by_text(texts)
    for chunk in chunks(_build_requests(ctx.config, texts), REQUESTS_PER_COMMIT):
        found = responses.responses([request.key for request in chunk])
        exchanges = [(request, found[request.key]) for request in chunk if request.key in found]
        _store_response_vectors(exchanges, texts, rows, ctx)


def _row_by_text(texts: pl.DataFrame) -> dict[str, int]:
    return {text: row for row, text in enumerate(texts["text"])}


def _store_response_vectors(
    exchanges: Collection[tuple[Request, dict[str, Any]]],
    texts: pl.DataFrame,
    row_by_text: Mapping[str, int],
    ctx: StepContext,
) -> None:
    """Store the vectors of those of `texts` that are in the requests of `exchanges`."""
    if not exchanges:
        return
    requested = [text for request, _ in exchanges for text in request.body["input"]]
    positions = {row_by_text[t]: n for n, t in enumerate(requested) if t in row_by_text}
    vectors = np.concatenate([_parse_vectors(response) for _, response in exchanges])
    found, space = vectors[list(positions.values())], vector_space(ctx.config)
    store_vectors(texts[list(positions)], found, space, ctx.store)


def _parse_vectors(response: dict[str, Any]) -> np.ndarray:
    """(texts, dimensions) The vectors of a response, in the order of its request's texts."""
    rows = sorted(response["data"], key=lambda row: int(row["index"]))
    vectors = [
        np.frombuffer(base64.b64decode(value), "<f4") if isinstance(value, str) else value
        for value in (row["embedding"] for row in rows)
    ]
    return np.asarray(vectors, dtype=np.float32)


def _encode_locally(ctx: StepContext) -> None:
    texts, space = missing_texts(ctx), vector_space(ctx.config)
    if texts.is_empty():
        return
    encoder = LocalEncoder(embedding_model(ctx.config))
    for start in range(0, texts.height, TEXTS_PER_COMMIT):
        part = texts.slice(start, TEXTS_PER_COMMIT)
        store_vectors(part, encoder.vectors(part["text"].to_list()), space, ctx.store)
        ctx.progress(start + part.height, texts.height, "texts embedded")
