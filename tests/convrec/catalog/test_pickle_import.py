"""Catalogs in pickles: every plain shape is converted, and no hostile file runs anything."""

from __future__ import annotations

import collections
import copyreg
import csv
import io
import os
import pickle
import pickletools
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.catalog import pickle_reader
from convrec.catalog.load import load_catalog
from convrec.catalog.pickle_import import import_pickle
from convrec.errors import CatalogError, InputError

HEAT, UP = ["Heat", "1995"], ["Up", "2009"]


def _converted(value: Any, folder: Path, protocol: int = 4) -> list[list[str]]:
    file, out = folder / "catalog.pkl", folder / "catalog.csv"
    file.write_bytes(pickle.dumps(value, protocol))
    out.unlink(missing_ok=True)
    import_pickle(file, out)
    with out.open(encoding="utf-8", newline="") as text:
        return list(csv.reader(text))[1:]


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ([("Heat", 1995), ("Up", "2009")], [HEAT, UP]),  # the published file
        ({("Up", 2009), ("Heat", 1995)}, [HEAT, UP]),
        (frozenset({"Up (2009)", "Heat (1995)"}), [HEAT, UP]),
        (["Heat (1995)", "1917", "Blade Runner (The Final Cut)"], None),
        ([["Heat", 1995.0], ["Up", float("nan")]], [HEAT, ["Up", ""]]),
        ({"Heat": 1995, "Up": [2009, 2010]}, [HEAT, UP, ["Up", "2010"]]),
        ({"Heat": 1995, "The Wall": 201, **{f"Film {n}": 2000 for n in range(20)}}, None),
        ({"Heat (1995)": 7, "Up (2009)": 9}, [[*HEAT, "7"], [*UP, "9"]]),
        ({7: "Heat (1995)", 9: "Up (2009)"}, [[*HEAT, "7"], [*UP, "9"]]),
        ({"tt1": "The Heat", "tt2": "To Up"}, [["The Heat", "", "tt1"], ["To Up", "", "tt2"]]),
        ({"tt1": ("Heat", 1995)}, [[*HEAT, "tt1"]]),
        ({("Heat", 1995): "tt1"}, [[*HEAT, "tt1"]]),
        ([{"title": "Heat", "year": 1995, "item_id": "tt1"}], [[*HEAT, "tt1"]]),
        (collections.OrderedDict(Heat=1995), [HEAT]),
        ([b"Heat (1995)"], [HEAT]),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_catalogs_in_plain_pickles(
    value: Any, rows: list[list[str]] | None, protocol: int, tmp_path: Path
) -> None:
    if protocol < 3 and isinstance(value, list) and isinstance(value[0], bytes):
        pytest.skip("Python 3 writes bytes as a call of codecs.encode in these protocols")
    converted = _converted(value, tmp_path, protocol)
    if rows is not None:
        assert converted == rows
    elif isinstance(value, dict):
        assert ["The Wall", "201"] in converted
    else:
        assert converted == [HEAT, ["1917", ""], ["Blade Runner (The Final Cut)", ""]]


def test_the_file_is_a_catalog_and_the_rest_is_counted(tmp_path: Path) -> None:
    file, out = tmp_path / "gt_catalog.pkl", tmp_path / "catalog.csv"
    entries = [("Amélie", 2001), ("Amélie", 2001), ("The Wall", 201), None, ("a", "b", "c"), ""]
    file.write_bytes(pickle.dumps([*entries, ("Up", [2009])]))
    result = import_pickle(file, out)
    assert (result.rows, result.with_year, result.with_id) == (2, 2, 0)
    assert result.skipped == {
        "repeats an entry": 1,
        "is no title, and no pair of title and year": 3,
        "has a year that is no number": 1,
    }
    items, bad = load_catalog(out)
    assert items["title"].to_list() == ["Amélie"]
    assert "broken year" in bad["reason"][0]


class _Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class _State:
    """Pickles as an object with a state."""

    def __init__(self) -> None:
        self.title = "Heat"


class _Persistent(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return "database:1" if value == "id" else None


def _persistent() -> bytes:
    buffer = io.BytesIO()
    _Persistent(buffer).dump([("Heat", "id")])
    return buffer.getvalue()


def _extension() -> bytes:
    copyreg.add_extension(__name__, "_State", 240)
    try:
        return pickle.dumps(_State(), 2)
    finally:
        copyreg.remove_extension(__name__, "_State", 240)


MARK = "convrec-pickle-was-run"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "system": (pickle.dumps(_Call(os.system, f"touch {MARK}")), "holds posix.system"),
    "protocol 0": (pickle.dumps(_Call(os.system, f"touch {MARK}"), 0), "holds posix.system"),
    "eval": (pickle.dumps([_Call(eval, f"open('{MARK}', 'w')")]), "holds builtins.eval"),
    "text": (f"cos\nsystem\n(S'touch {MARK}'\ntR.".encode(), "holds os.system"),
    "inst": (f"(S'touch {MARK}'\nios\nsystem\n.".encode(), "holds os.system"),
    "nested name": (b"\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93.", "builtins.set.__init__"),
    "set of a call": (b"\x80\x04cbuiltins\nset\ncbuiltins\neval\n\x85R.", "holds builtins.eval"),
    "state": (pickle.dumps(_State(), 2), "holds copy_?reg._reconstructor|holds .*_State"),
    "build": (b"\x80\x04}}b.", "the instruction BUILD"),
    "new object": (b"\x80\x02cbuiltins\nset\n)\x81.", "the instruction NEWOBJ"),
    "class as value": (b"\x80\x02]cbuiltins\nset\na.", "a class as a value"),
    "persistent id": (_persistent(), "the instruction BINPERSID"),
    "persistent text": (b"Pdatabase:1\n.", "the instruction PERSID"),
    "extension": (_extension(), "the instruction EXT1"),
    "numpy": (pickle.dumps([("Heat", np.int64(1995))]), r"holds numpy\..*scalar"),
    "decimal": (pickle.dumps([("Heat", Decimal(1995))]), "holds decimal.Decimal"),
    "buffer": (pickle.dumps(bytearray(b"Heat"), 5), "the instruction BYTEARRAY8"),
    "itself": (b"\x80\x04]\x94h\x00a.", "more than 6 deep"),
    "deep lists": (b"\x80\x04" + b"]" * 50_000 + b"a" * 49_999 + b".", "more than 6 deep"),
    "deep keys": (b"\x80\x04)" + b"\x85" * 300_000 + b"\x8f\x94(h\x00\x90.", "is refused"),
    "output": (pickle.dumps([["x" * 1000] * 1000] * 70), "too much time or memory"),
    "memory": (pickle.dumps(["x" * 1_000_000] * 1100), "needs more than 1024 MB"),
    "length": (b"\x80\x04" + b"(" + b"\x8e" + (2**40).to_bytes(8, "little") + b"x.", "no complete"),
    "cut off": (pickle.dumps([("Heat", 1995)])[:-4], "is no complete pickle"),
    "empty": (b"", "is no complete pickle"),
    "empty stack": (b"\x80\x04a.", "is no complete pickle"),
    "text file": (b"title,year\nHeat,1995\n", "is no complete pickle|is refused"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_run_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, message = HOSTILE[name]
    file, out = tmp_path / "c.pkl", tmp_path / "c.csv"
    file.write_bytes(data)
    with pytest.raises(InputError, match=message):
        import_pickle(file, out)
    assert [path.name for path in tmp_path.iterdir()] == ["c.pkl"]
    assert not (Path("/") / MARK).exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "holds int instead of a catalog"),
        ("Heat", "holds str instead"),
        ([], "holds no title"),
        ({}, "holds no title"),
        ({"a": "b"}, "neither keys nor values look like titles"),
    ],
)
def test_other_shapes_are_refused(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, CatalogError), match=message):
        _converted(value, tmp_path)
    assert not (tmp_path / "catalog.csv").exists()


def test_wrong_paths_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.pkl"
    with pytest.raises(InputError, match="cannot be read"):
        import_pickle(file, tmp_path / "c.csv")
    file.write_bytes(pickle.dumps(["Heat"]))
    with pytest.raises(InputError, match=r"does not end in \.csv"):
        import_pickle(file, tmp_path / "c.parquet")
    with pytest.raises(InputError, match="cannot be written"):
        import_pickle(file, tmp_path / "no" / "c.csv")
    (tmp_path / "c.csv").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        import_pickle(file, tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text() == "mine"


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_PLAIN = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(value=_PLAIN | st.frozensets(_SCALARS) | st.sets(st.text()), protocol=st.integers(0, 5))
def test_plain_values_are_read_as_pickle_reads_them(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert pickle_reader.read_plain(data) == value
    assert pickle_reader.read_plain(pickletools.optimize(data)) == value
