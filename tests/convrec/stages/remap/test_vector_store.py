from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.errors import WarehouseError
from convrec.stages.remap.texts import MOST_BYTES, cut, text_key
from convrec.stages.remap.vector_store import (
    missing_vectors,
    store_vectors,
    vectors_digest,
    vectors_of,
)

TEXTS = pl.DataFrame({"text_key": ["k1", "k2", "k3"], "context_id": ["", "", "c1"]})


def test_vectors_come_back_in_the_order_asked_for(store: Store) -> None:
    store_vectors(TEXTS, np.arange(6, dtype=np.float32).reshape(3, 2), "m", store)
    vectors, known = vectors_of(pl.Series(["k3", "k9", "k1"]), "m", store)
    assert vectors.tolist() == [[4, 5], [0, 0], [0, 1]]
    assert known.tolist() == [True, False, True]


def test_a_vector_is_kept_once_a_model(store: Store) -> None:
    store_vectors(TEXTS, np.ones((3, 2), np.float32), "m", store)
    store_vectors(TEXTS[:2], np.zeros((2, 2), np.float32), "m", store)
    assert vectors_of(TEXTS["text_key"], "m", store)[0].tolist() == [[1, 1]] * 3
    assert missing_vectors(TEXTS, "m", store).is_empty()
    assert missing_vectors(TEXTS, "other", store).equals(TEXTS)


def test_the_digest_is_of_the_vectors_used(store: Store) -> None:
    keys = TEXTS["text_key"]
    digests = [vectors_digest(keys, "m", store)]
    store_vectors(TEXTS[:2], np.ones((2, 2), np.float32), "m", store)
    digests.append(vectors_digest(keys, "m", store))
    store_vectors(TEXTS[2:], np.zeros((1, 2), np.float32), "m", store)
    digests.append(vectors_digest(keys, "m", store))
    assert len(set(digests)) == 3
    assert vectors_digest(keys, "m", store) == digests[-1]


@pytest.mark.parametrize("longer", [3, 5])  # 5 + 2 · 2 numbers also make three vectors of three
def test_a_model_that_changed_its_length_is_one_sentence(longer: int, store: Store) -> None:
    store_vectors(TEXTS[:2], np.ones((2, 2), np.float32), "m", store)
    store_vectors(TEXTS[2:], np.ones((1, longer), np.float32), "m", store)
    with pytest.raises(WarehouseError, match="different lengths"):
        vectors_of(TEXTS["text_key"], "m", store)


def test_a_text_is_cut_between_characters() -> None:
    assert cut("  Heat \n") == "Heat"
    whole = "é" * MOST_BYTES
    assert cut(whole) == "é" * (MOST_BYTES // 2)
    assert text_key("Heat") != text_key("heat")
