"""Property tests: rows and headers are read back equal; ids do not depend on key order."""

from __future__ import annotations

from itertools import count
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.tables import KINDS

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
TITLE = pl.Struct({"title": pl.String, "year": pl.Int32})
A_TITLE = st.fixed_dictionaries({"title": st.none() | TEXT, "year": st.none() | INT32})
TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "VARCHAR": (pl.String, TEXT),
    "VARCHAR[]": (pl.List(pl.String), st.lists(st.none() | TEXT, max_size=3)),
    "INTEGER": (pl.Int32, INT32),
    "INTEGER[]": (pl.List(pl.Int32), st.lists(INT32, max_size=3)),
    "BIGINT": (pl.Int64, INT64),
    "DOUBLE": (pl.Float64, st.floats()),
    "BOOLEAN": (pl.Boolean, st.booleans()),
    "STRUCT(title VARCHAR, year INTEGER)[]": (pl.List(TITLE), st.lists(A_TITLE, max_size=3)),
}
"""SQL type of a column → polars type, and values of it."""


def frames(kind: str) -> st.SearchStrategy[pl.DataFrame]:
    columns = {name: TYPES[sql] for name, sql in KINDS[kind].items()}
    schema = {name: of for name, (of, _) in columns.items()}
    row = st.tuples(*(st.none() | values for _, values in columns.values()))
    return st.lists(row, max_size=6).map(lambda rows: pl.DataFrame(rows, schema, orient="row"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One warehouse for all examples, which have different ids."""
    return Store(tmp_path_factory.mktemp("kept"))


NUMBERS = count()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("checkpoint", "report")])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_any_rows_are_read_back_equal(kind: str, kept: Store, data: st.DataObject) -> None:
    frame = data.draw(frames(kind))
    spec = ArtifactSpec(kind, "ingest", 1, {"example": next(NUMBERS)})
    ref = kept.put(spec, StepResult(frame))
    assert (ref.artifact_id, ref.rows) == (spec.artifact_id, frame.height)
    assert_frame_equal(kept.read(spec.artifact_id), frame, check_exact=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(st.characters(), max_size=5), JSON), st.randoms())
def test_an_id_does_not_depend_on_the_order_of_keys(config: dict[str, Any], draw: Any) -> None:
    keys = list(config)
    draw.shuffle(keys)
    shuffled = {key: config[key] for key in keys}
    one, other = (ArtifactSpec("metrics", "evaluate", 1, c).artifact_id for c in (config, shuffled))
    assert one == other
    assert one != ArtifactSpec("metrics", "evaluate", 1, {**config, "more": 1}).artifact_id


@settings(max_examples=10, deadline=None)
@given(config=st.dictionaries(TEXT, JSON, max_size=3), figures=st.dictionaries(TEXT, JSON))
def test_any_header_is_read_back(
    kept: Store, config: dict[str, Any], figures: dict[str, Any]
) -> None:
    config["example"] = next(NUMBERS)
    spec = ArtifactSpec("quarantine", "ingest", 1, config, {"role": "a-1"}, {"file": "d"})
    kept.put(spec, StepResult(pl.DataFrame(schema=list(KINDS["quarantine"])), figures))
    header = kept.header(spec.artifact_id)
    assert (header.config, header.figures) == (config, figures)
    assert (header.parents, header.inputs) == ({"role": "a-1"}, {"file": "d"})
