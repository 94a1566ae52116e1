from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WAREHOUSE = """
import sys
from pathlib import Path
from convrec.artifacts import Store
store = Store(Path(sys.argv[1]))
assert store.find("catalog-0") is None and store.pinned("basis") is None
assert "pandas" not in sys.modules
"""

PLAN = """
import sys
from pathlib import Path
from convrec.artifacts import Store
from convrec.config import load
from convrec.pipeline.plan import make_plan
few = {"train": 4, "validation": 2, "test": 2}
made = make_plan(load("demo", {"ingest.contexts": few}), Store(Path(sys.argv[1])))
assert made["llm"]["teacher"]["requests"] == 8
assert "pandas" not in sys.modules
"""

MISSING = """
import duckdb
from convrec.artifacts.pandas_later import ask_pandas_later
connection = duckdb.connect()
ask_pandas_later(connection)
assert connection.execute("SELECT ?, ?", ["a", None]).fetchall() == [("a", None)]
assert "pandas" not in sys.modules
assert connection.execute("SELECT 1 AS one").df()["one"].tolist() == [1]
import pandas
assert pandas.__file__
bound = connection.execute("SELECT ?, ?, ?", [pandas.NaT, pandas.NA, 2]).fetchall()
assert bound == [(None, None, 2)]
rows = pandas.DataFrame({"a": [1, 2]})
assert connection.sql("SELECT sum(a) FROM rows").fetchall() == [(3,)]
"""


def passes(code: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys" + code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr


def test_the_warehouse_is_used_without_pandas(tmp_path: Path) -> None:
    passes(WAREHOUSE, tmp_path)


def test_a_plan_is_made_without_pandas(tmp_path: Path) -> None:
    passes(PLAN, tmp_path)


def test_what_pandas_has_is_there_once_it_is_imported(tmp_path: Path) -> None:
    passes(MISSING, tmp_path)


def test_a_process_with_threads_is_left_alone(tmp_path: Path) -> None:
    code = """
import threading, duckdb
from convrec.artifacts.pandas_later import ask_pandas_later
stop = threading.Event()
threading.Thread(target=stop.wait).start()
ask_pandas_later(duckdb.connect())
stop.set()
import pandas
assert pandas.DataFrame({"a": [1]})["a"].sum() == 1
"""
    passes(code, tmp_path)
