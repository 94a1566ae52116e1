from __future__ import annotations

import multiprocessing
from pathlib import Path

import duckdb
import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, Producer, StepResult, Store
from convrec.artifacts.backend import WriteMode
from convrec.artifacts.database_file import APPEND_ROW_GROUP, LONG_TEXT_ROW_GROUP
from convrec.artifacts.ducklake.lake import Lake
from convrec.artifacts.frames import artifact_frame
from convrec.artifacts.identity import short_hash
from convrec.artifacts.lineage import FailedNode, ancestors, lineage_markdown
from convrec.artifacts.migrations import JUDGED_PAIRS_SQL
from convrec.artifacts.parquet_rows import ROW_GROUP_SIZE
from convrec.artifacts.tables import SCHEMA_VERSION
from convrec.errors import InputError, WarehouseError

pytestmark = pytest.mark.on_ducklake


def quarantine(reasons: list[str]) -> pl.DataFrame:
    n = len(reasons)
    return pl.DataFrame(
        {"source": ["f"] * n, "line": list(range(n)), "reason": reasons, "raw": [""] * n}
    )


def spec(name: str = "a", **parents: str) -> ArtifactSpec:
    return ArtifactSpec("quarantine", "ingest", 1, {"name": name}, parents)


def test_the_id_depends_on_everything_that_changes_rows() -> None:
    base = ArtifactSpec("catalog", "ingest", 1, {"a": 1}, {"p": "x"}, {"file": "d"})
    others = [
        ArtifactSpec("catalog", "ingest", 2, {"a": 1}, {"p": "x"}, {"file": "d"}),
        ArtifactSpec("catalog", "ingest", 1, {"a": 2}, {"p": "x"}, {"file": "d"}),
        ArtifactSpec("catalog", "ingest", 1, {"a": 1}, {"p": "y"}, {"file": "d"}),
        ArtifactSpec("catalog", "ingest", 1, {"a": 1}, {"p": "x"}, {"file": "e"}),
    ]
    assert len({s.artifact_id for s in [base, *others]}) == 5
    assert base.artifact_id == ArtifactSpec(**vars(base)).artifact_id


def test_rows_header_and_lineage_are_read_back(store: Store) -> None:
    parent = store.put(spec("parent"), StepResult(quarantine(["x"])))
    built = StepResult(quarantine(["b", "a", "c"]), {"bad": 3})
    ref = store.put(spec("child", rows=parent.artifact_id), built, producer=Producer("f", "t"))

    assert store.find(ref.artifact_id) == ref
    assert store.read(ref.artifact_id)["reason"].to_list() == ["b", "a", "c"]
    header = store.header(ref.artifact_id)
    assert header.parents == {"rows": parent.artifact_id}
    assert header.producer == Producer("f", "t")
    assert header.figures == {"bad": 3}
    assert [h.ref.artifact_id for h in ancestors(store, ref.artifact_id)] == [
        ref.artifact_id,
        parent.artifact_id,
    ]


def test_rows_are_read_in_order_from_any_layout(store: Store) -> None:
    ref = store.put(spec(), StepResult(quarantine(["b", "a", "c"])))
    with store.transaction() as connection:
        connection.execute('CREATE TEMP TABLE turned AS FROM quarantine ORDER BY "row" DESC')
        connection.execute("DELETE FROM quarantine")
        connection.execute('INSERT INTO quarantine FROM turned ORDER BY "row" DESC')
        connection.execute("DROP TABLE turned")
    assert store.read(ref.artifact_id)["reason"].to_list() == ["b", "a", "c"]
    some = store.read_ordered(ref.artifact_id, ["reason"], 'AND "row" > 0')
    assert some.rows() == [(1, "a"), (2, "c")]


def test_putting_the_same_id_replaces_it(store: Store) -> None:
    store.put(spec(), StepResult(quarantine(["old", "old"])))
    ref = store.put(spec(), StepResult(quarantine(["new"])))
    assert store.read(ref.artifact_id)["reason"].to_list() == ["new"]
    assert len(store.headers()) == 1


def test_empty_lists_are_stored_without_a_warning(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    items = artifact_frame(
        "catalog", [{"item_id": "x", "title": "Heat", "aliases": [], "genres": []}]
    )
    spec = ArtifactSpec("catalog", "ingest", 1, {})
    for rows in (items, pl.concat([items, items], rechunk=False)):
        store.put(spec, StepResult(rows))
        assert store.read(spec.artifact_id).equals(rows)
    assert capfd.readouterr().err == ""  # Arrow's own words, past Python


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        store.put(spec(), StepResult(pl.DataFrame({"source": ["f"]})))
    broken = StepResult(quarantine(["a"]), curves=pl.DataFrame({"step": [1]}))
    with pytest.raises(duckdb.Error):
        store.put(spec(), broken)
    assert store.find(spec().artifact_id) is None
    assert store.headers() == []


def test_failures_make_an_artifact_partial(store: Store) -> None:
    failed = pl.DataFrame({"context_id": ["c1"], "reason": ["timeout"]})
    ref = store.put(spec(), StepResult(quarantine(["a"]), failures=failed))
    assert ref.partial
    assert store.failures(ref.artifact_id).rows() == [("c1", "timeout", False)]


def test_final_failures_keep_an_artifact_complete(store: Store) -> None:
    failed = pl.DataFrame({"context_id": ["c1"], "reason": ["no JSON"], "final": [True]})
    ref = store.put(spec(), StepResult(quarantine(["a"]), failures=failed))
    assert not ref.partial
    assert store.failures(ref.artifact_id).rows() == [("c1", "no JSON", True)]


def test_an_artifact_without_its_rows_is_not_found(store: Store) -> None:
    ref = store.put(spec(), StepResult(quarantine(["a", "b"])))
    with store.transaction() as connection:
        connection.execute('DELETE FROM quarantine WHERE "row" = 1')
    assert store.find(ref.artifact_id) is None
    with pytest.raises(InputError, match="no artifact"):
        store.read(ref.artifact_id)


def test_a_checkpoint_without_its_folder_is_not_found(store: Store) -> None:
    scratch = store.make_scratch_folder()
    (scratch / "model.safetensors").write_text("weights")
    rows = pl.DataFrame({"path": ["."], "base": ["tiny"], "parameters": [1], "manifest": ["{}"]})
    made = ArtifactSpec("checkpoint", "sft", 1)
    ref = store.put(made, StepResult(rows), scratch=scratch)
    folder = store.folder(ref.artifact_id)
    assert (folder / "model.safetensors").read_text() == "weights"
    assert store.find(ref.artifact_id) == ref

    if isinstance(store.backend, Lake):
        lake = store.backend
        lake.blobs.delete(lake.registered_copy(f"files/{ref.artifact_id}"))
    else:
        (folder / "manifest.json").unlink()
    assert store.find(ref.artifact_id) is None


def _write_many(home: Path, name: str) -> None:
    store = Store(home)
    for n in range(10):
        store.put(spec(f"{name}{n}"), StepResult(quarantine(["r"] * 50)))


def test_concurrent_writers_all_finish(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(tmp_path, name)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    headers = Store(tmp_path).headers()
    assert len(headers) == 30
    assert all(Store(tmp_path).find(h.ref.artifact_id) for h in headers[::7])


def test_others_write_while_the_connection_is_released(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writer = multiprocessing.get_context("spawn").Process(target=_write_many, args=(tmp_path, "a"))
    with store.hold_connection():
        with store.release_connection():
            writer.start()
            writer.join(60)
        assert writer.exitcode == 0
        assert store.is_connection_held
        assert len(store.headers()) == 10
    assert not store.is_connection_held


def test_a_foreign_duckdb_file_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE theirs (x INTEGER)")
    with pytest.raises(WarehouseError, match="not a convrec warehouse"):
        Store(tmp_path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [
            ("theirs",)
        ]


def test_a_file_that_is_no_database_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_text("a shopping list, long enough to be read as a header" * 50)
    before = path.read_bytes()
    with pytest.raises(WarehouseError, match="not a DuckDB file"):
        Store(tmp_path)
    assert path.read_bytes() == before


def test_a_newer_warehouse_is_refused(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(WarehouseError, match="newer convrec"):
        Store(store.home)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(WarehouseError, match="CONVREC_HOME"):
        Store(tmp_path / "home")


def test_the_diagram_links_to_the_runs(store: Store) -> None:
    parent = store.put(spec("p"), StepResult(quarantine(["x"])), producer=Producer("run-1", "t"))
    child = store.put(spec("c", rows=parent.artifact_id), StepResult(quarantine(["y"])))
    ids = [parent.artifact_id, child.artifact_id]
    drawn = lineage_markdown(store, ids, {parent.artifact_id})
    assert 'click a0 href "/v2/runs/task-run/t"' in drawn
    assert "click a1" not in drawn  # nothing is known of who made it
    assert "a0 --> a1" in drawn
    assert "class a0 cached" in drawn
    assert "<br/>1 row<br/>cached" in drawn
    assert "<br/>1 row<br/>built now" in drawn
    drawn = lineage_markdown(store, ids, pages={parent.artifact_id: "/page", child.artifact_id: ""})
    assert 'click a0 href "/page"' in drawn
    assert "| [ingest\\: quarantine](/page) | 1 |" in drawn


def test_the_diagram_shows_what_failed(store: Store) -> None:
    parent = store.put(spec("p"), StepResult(quarantine(["x"])))
    failed = FailedNode("remap: candidates", [parent.artifact_id, "not-in-the-run"])
    drawn = lineage_markdown(store, [parent.artifact_id], failed=failed)
    assert 'f0["remap#58; candidates<br/>failed"]' in drawn
    assert "a0 --> f0" in drawn
    assert "class f0 failed" in drawn


def test_an_implied_edge_is_only_in_the_table(store: Store) -> None:
    one = store.put(spec("1"), StepResult(quarantine(["x"])))
    two = store.put(spec("2", rows=one.artifact_id), StepResult(quarantine(["y"])))
    both = spec("3", rows=two.artifact_id, first=one.artifact_id)
    three = store.put(both, StepResult(quarantine(["z"])))
    drawn = lineage_markdown(store, [one.artifact_id, two.artifact_id, three.artifact_id])
    assert "a0 --> a1" in drawn
    assert "a1 --> a2" in drawn
    assert "a0 --> a2" not in drawn
    name = "ingest\\: quarantine"
    assert f"| {name} | 1 | built now | {name}, {name} |" in drawn
    assert f"`{short_hash(three.artifact_id)}` |" in drawn


def test_appended_tables_keep_small_row_groups(tmp_path: Path) -> None:
    """Merging them would take memory in the number of rows, in whatever commit comes next."""
    store = Store(tmp_path)

    def largest_group() -> int:
        with store.read_connection() as connection:
            counts = connection.execute(
                "SELECT max(count) FROM pragma_storage_info('llm_answers')"
            ).fetchone()
        return int(counts[0]) if counts else 0

    for _ in range(12):
        with store.transaction(WriteMode.APPEND) as connection:
            connection.execute(
                "INSERT INTO llm_answers (request_key, body) SELECT range, 'b' FROM range(500)"
            )
    store.put(spec(), StepResult(quarantine(["x"])))
    assert 500 < largest_group() <= APPEND_ROW_GROUP


def test_reads_share_a_held_connection(store: Store) -> None:
    ref = store.put(spec(), StepResult(quarantine(["x"])))
    with store.hold_connection():
        assert store.find(ref.artifact_id) == ref
        with store.read_connection() as one, store.read_connection() as other:
            assert one is other


def _create(home: Path) -> None:
    Store(home)


def test_processes_that_start_at_once_create_one_warehouse(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    makers = [context.Process(target=_create, args=(tmp_path,)) for _ in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert [maker.exitcode for maker in makers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["warehouse.duckdb"]


def test_an_interrupted_creation_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.link", cut_off)  # everything is written but the name
        with pytest.raises(KeyboardInterrupt):
            Store(tmp_path)
    assert not (tmp_path / "warehouse.duckdb").exists()
    assert Store(tmp_path).headers() == []


@pytest.mark.parametrize(
    ("rows", "group"),
    [(LONG_TEXT_ROW_GROUP + 1, LONG_TEXT_ROW_GROUP), (ROW_GROUP_SIZE + 1, ROW_GROUP_SIZE)],
)
def test_rows_below_a_row_group_use_smaller_groups(tmp_path: Path, rows: int, group: int) -> None:
    store = Store(tmp_path)
    ref = store.put(spec(), StepResult(quarantine([str(number) for number in range(rows)])))
    small = store.put(spec("small"), StepResult(quarantine(["x"])))
    with store.read_connection() as connection:
        found = connection.execute(
            "SELECT count FROM (SELECT row_group_id, sum(count) AS count "
            "FROM pragma_storage_info('quarantine') WHERE column_name = 'line' "
            "AND segment_type = 'BIGINT' GROUP BY row_group_id) ORDER BY row_group_id"
        ).fetchall()
    assert found[0] == (group,)
    assert sum(count for (count,) in found) == rows + 1
    assert store.read(ref.artifact_id)["reason"].to_list() == [str(n) for n in range(rows)]
    assert store.read(small.artifact_id)["reason"].to_list() == ["x"]


def test_a_warehouse_of_the_previous_schema_is_migrated(store: Store) -> None:
    """The last steps, on a lake too, whose tables change by other statements than a file's."""
    with store.transaction() as connection:
        connection.execute("DROP TABLE llm_judged")
        connection.execute("DROP TABLE descriptions")
    with store.transaction() as connection:
        connection.execute(JUDGED_PAIRS_SQL)
        connection.execute(
            "INSERT INTO llm_judged VALUES ('j', 'Ronin', 1, 2, 2, 'r', 'c'), "
            "('j', 'Heat', 1, 1, 2, 'r', 'c')"
        )
        connection.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    with Store(store.home).read_connection() as connection:
        judged = "SELECT judge_key, pass, items, request_key, context_id FROM llm_judged"
        assert connection.execute(judged).fetchall() == [("j", 1, ["Heat", "Ronin"], "r", "c")]
        version = "SELECT value FROM meta WHERE key = 'schema_version'"
        assert connection.execute(version).fetchall() == [(str(SCHEMA_VERSION),)]


def test_instances_spill_into_different_folders(store: Store) -> None:
    """Into one, as DuckDB's own default is, they crash: they give their files the same names."""
    blocks = [store.read_connection(), store.transaction(), store.transaction(WriteMode.APPEND)]
    found = []
    for block in blocks[
        : 1 if isinstance(store.backend, Lake) else 3
    ]:  # a lake has one instance a process
        with block as connection:
            found += connection.execute("SELECT current_setting('temp_directory')").fetchall()
    assert len(set(found)) == len(found)
    assert all(Path(folder).is_absolute() for (folder,) in found)
