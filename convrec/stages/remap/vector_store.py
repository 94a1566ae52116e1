"""Stored vectors by model and text (table `embeddings`): all runs together embed a text once.

The vector of a conversation has its context_id, so that `forget` finds it; vectors of items have
none.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.backend import WriteMode
from convrec.artifacts.retry import with_retries
from convrec.errors import WarehouseError

_ROWS_PER_BATCH = 2048


def missing_vectors(texts: pl.DataFrame, model: str, store: Store) -> pl.DataFrame:
    """The rows of `texts` (text_key, ...) that have no vector of this model, in order."""
    with store.read_connection() as connection:
        stored = connection.execute(
            "SELECT DISTINCT text_key FROM embeddings WHERE model = ?", [model]
        ).pl()
    return texts.join(stored, on="text_key", how="anti", maintain_order="left")


@with_retries
def store_vectors(texts: pl.DataFrame, vectors: np.ndarray, model: str, store: Store) -> None:
    """Store vectors, (texts, dimensions); `texts` has text_key, context_id. Existing ones stay."""
    rows = texts.select("text_key", "context_id").with_columns(
        pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list()
    )
    with store.transaction(WriteMode.APPEND) as connection:
        connection.register("incoming", rows.to_arrow())
        connection.execute(
            "INSERT INTO embeddings BY NAME SELECT ? AS model, * FROM incoming WHERE NOT EXISTS ("
            "SELECT 1 FROM embeddings AS stored "
            "WHERE stored.model = ? AND stored.text_key = incoming.text_key)",
            [model, model],
        )


def read_vectors(keys: pl.Series, model: str, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Read the vectors of distinct text keys.

    Returns (keys, dimensions) float32, zeros where there is no vector, and (keys,) bool, whether
    there is one. Raises WarehouseError if vectors of this model have different lengths.
    """
    wanted = pl.DataFrame({"text_key": keys}).with_row_index("number")
    present = np.zeros(len(keys), dtype=bool)
    vectors = np.zeros((len(keys), 0), dtype=np.float32)
    with store.read_connection() as connection:
        connection.register("wanted", wanted.to_arrow())
        batches = connection.execute(
            "SELECT number, vector FROM embeddings JOIN wanted USING (text_key) WHERE model = ?",
            [model],
        ).to_arrow_reader(_ROWS_PER_BATCH)
        for batch in batches:
            rows, values = batch["number"].to_numpy(), batch["vector"]
            size = vectors.shape[1] or len(values[0])
            if not vectors.shape[1]:
                vectors = np.zeros((len(keys), size), dtype=np.float32)
            if set(values.value_lengths().unique().to_pylist()) != {size}:
                raise WarehouseError(
                    f"the stored vectors of {model} have different lengths, so the name now refers "
                    "to another model. Set another endpoint name in llm.endpoint, or another "
                    "remap.model"
                )
            vectors[rows] = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
            present[rows] = True
    return vectors, present


def vectors_digest(keys: pl.Series, model: str, store: Store) -> str:
    """The digest of the stored vectors of these text keys, and of which are missing."""
    vectors, present = read_vectors(keys, model, store)
    total = sha256("\n".join(keys).encode())
    total.update(present.tobytes())
    total.update(vectors.data)
    return total.hexdigest()
