"""Catalog coverage: the share of the catalog's items that are recommended at least once."""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats


def coverage(counts: Floats) -> Floats:
    """|{i : x_i > 0}| / n from the counts x of all n catalog items, (..., items) -> (...)."""
    return np.asarray((counts > 0).mean(axis=-1))
