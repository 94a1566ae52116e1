from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.errors import WarehouseError
from convrec.stages.remap.texts import MAX_BYTES, text_key, truncate
from convrec.stages.remap.vector_store import (
    missing_vectors,
    read_vectors,
    store_vectors,
    vectors_digest,
)

pytestmark = pytest.mark.on_ducklake

TEXTS = pl.DataFrame({"text_key": ["k1", "k2", "k3"], "context_id": ["", "", "c1"]})


def test_vectors_are_in_the_order_of_the_keys(store: Store) -> None:
    store_vectors(TEXTS, np.arange(6, dtype=np.float32).reshape(3, 2), "m", store)
    vectors, present = read_vectors(pl.Series(["k3", "k9", "k1"]), "m", store)
    assert vectors.tolist() == [[4, 5], [0, 0], [0, 1]]
    assert present.tolist() == [True, False, True]


def test_a_text_has_one_vector_per_model(store: Store) -> None:
    store_vectors(TEXTS, np.ones((3, 2), np.float32), "m", store)
    store_vectors(TEXTS[:2], np.zeros((2, 2), np.float32), "m", store)
    assert read_vectors(TEXTS["text_key"], "m", store)[0].tolist() == [[1, 1]] * 3
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
def test_vectors_of_different_lengths_are_an_error(longer: int, store: Store) -> None:
    store_vectors(TEXTS[:2], np.ones((2, 2), np.float32), "m", store)
    store_vectors(TEXTS[2:], np.ones((1, longer), np.float32), "m", store)
    with pytest.raises(WarehouseError, match="different lengths"):
        read_vectors(TEXTS["text_key"], "m", store)


def test_a_text_keeps_both_ends_between_characters() -> None:
    assert truncate("  Heat \n") == "Heat"
    whole = "é" * (MAX_BYTES // 2)
    assert truncate(whole) == whole
    cut = truncate("é" * MAX_BYTES + "ö" * MAX_BYTES)
    start, end = cut.split(" ... ")
    assert set(start) == {"é"}
    assert set(end) == {"ö"}
    assert abs(len(start) - len(end)) <= 1
    assert MAX_BYTES - 3 <= len(cut.encode()) <= MAX_BYTES
    assert text_key("Heat") != text_key("heat")
