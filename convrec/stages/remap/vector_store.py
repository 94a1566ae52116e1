"""Vectors by model and text, in the table `embeddings`: each text is embedded once, for all runs.

A vector of a conversation names its context, so that `forget` finds it; an item's names none.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from convrec.artifacts.retry import again
from convrec.errors import WarehouseError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.artifacts import Store

_BATCH = 2048
"""Vectors read at once."""


def missing_vectors(needed: pl.DataFrame, model: str, store: Store) -> pl.DataFrame:
    """The rows of `needed` (text_key, ...) whose text has no vector of this model, in order."""
    with store.read_connection() as connection:
        known = connection.execute(
            "SELECT DISTINCT text_key FROM embeddings WHERE model = ?", [model]
        ).pl()
    return needed.join(known, on="text_key", how="anti", maintain_order="left")


@again
def store_vectors(texts: pl.DataFrame, vectors: np.ndarray, model: str, store: Store) -> None:
    """Store the vectors, (texts, dimensions), of texts with text_key and context_id."""
    import polars as pl

    rows = texts.select("text_key", "context_id").with_columns(
        pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list()
    )
    with store.write(growing=True) as connection:
        connection.register("incoming", rows.to_arrow())
        connection.execute(
            "INSERT INTO embeddings BY NAME SELECT ? AS model, * FROM incoming WHERE NOT EXISTS ("
            "SELECT 1 FROM embeddings AS known "
            "WHERE known.model = ? AND known.text_key = incoming.text_key)",
            [model, model],
        )


def vectors_of(keys: pl.Series, model: str, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """(vectors, known) of distinct text keys: (keys, dimensions) float32, and which have one.

    A text without a vector has zeros. Raises WarehouseError where lengths differ: then the name of
    a model has come to mean another one.
    """
    import numpy as np
    import polars as pl

    wanted = pl.DataFrame({"text_key": keys}).with_row_index("place")
    known = np.zeros(len(keys), dtype=bool)
    made = np.zeros((len(keys), 0), dtype=np.float32)
    with store.read_connection() as connection:
        connection.register("wanted", wanted.to_arrow())
        batches = connection.execute(
            "SELECT place, vector FROM embeddings JOIN wanted USING (text_key) WHERE model = ?",
            [model],
        ).to_arrow_reader(_BATCH)
        for batch in batches:
            places, vectors = batch["place"].to_numpy(), _matrix(batch["vector"], model)
            if not made.shape[1]:
                made = np.zeros((len(keys), vectors.shape[1]), dtype=np.float32)
            if vectors.shape[1] != made.shape[1]:
                raise _different(model)
            made[places] = vectors
            known[places] = True
    return made, known


def vectors_digest(keys: pl.Series, model: str, store: Store) -> str:
    """The digest of the vectors that would be used: every text with its vector, if it has one."""
    vectors, known = vectors_of(keys, model, store)
    total = sha256("\n".join(keys).encode())
    total.update(known.tobytes())
    total.update(vectors.data)
    return total.hexdigest()


def _matrix(column: Any, model: str) -> np.ndarray:
    """An arrow column of lists of equal length as a matrix."""
    if len(column.value_lengths().unique()) > 1:
        raise _different(model)
    values = column.flatten().to_numpy(zero_copy_only=False)
    matrix: np.ndarray = values.reshape(len(column), -1)
    return matrix


def _different(model: str) -> WarehouseError:
    return WarehouseError(
        f"the stored vectors of {model} have different lengths: its name has come to mean another "
        "model; give the endpoint another name in llm.endpoint, or the model one in remap.model"
    )
