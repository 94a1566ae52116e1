from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from convrec.artifacts import StepResult, Store
from convrec.artifacts.ducklake.lake import Lake
from convrec.artifacts.identity import ArtifactSpec
from convrec.artifacts.runs import start_run
from convrec.artifacts.tables import KINDS
from convrec.errors import InputError, WarehouseError
from convrec.llm.response import Response
from convrec.llm.response_store import ResponseStore
from convrec.llm.spool import KeyStatus, Spool
from convrec.operations.forget import CONTEXT_TABLES, forget_conversations
from convrec.stages.remap.texts import text_key
from flows.cli import app

pytestmark = pytest.mark.on_ducklake

SECRET = 'My neighbour Ottokar, of 12 Elm Street, adores zeppelin films "really" and Ünïcode'
OTHER = "My neighbour Ottokar likes trains"


def spec(kind: str, **parents: str) -> ArtifactSpec:
    return ArtifactSpec(
        kind=kind, stage="ingest", version=1, config={}, parents=parents, inputs={"f": "1"}
    )


def body(text: str) -> str:
    content = f"<conversation>\n{text}\n</conversation>"
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": "m", "messages": messages}, ensure_ascii=False)


def response(key: str, owner: str, text: str) -> Response:
    message = {"choices": [{"message": {"content": f"1. Heat (1995) for {owner}"}}]}
    return Response(
        key=key,
        owner=owner,
        endpoint="demo",
        model="m",
        body=body(text),
        response=json.dumps(message),
        origin="live",
        created_at="2026-11-24T10:00:00.000000",
        run="r",
        stage="recommend",
        usd=0.5,
    )


@pytest.fixture
def full(store: Store) -> Store:
    conversations = pl.DataFrame(
        {
            "sample_id": ["s1", "s2", "s3"],
            "context_id": ["c1", "c1", "c2"],
            "split": ["train", "train", "train"],
            "created_utc": [1, 1, 2],
            "conversation": [SECRET, SECRET, OTHER],
            "prompt": [SECRET, SECRET, OTHER],
            "seen": [[], [], []],
            "ground_truth": [[], [], []],
            "completion": ["", "", ""],
        },
        schema_overrides={
            name: pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))
            for name in ("seen", "ground_truth")
        },
    )
    made = store.put(spec("conversations"), StepResult(conversations))
    lists = pl.DataFrame(
        {
            "context_id": ["c1", "c2"],
            "rank": [1, 1],
            "line": ["Heat (1995)"] * 2,
            "title": ["Heat"] * 2,
            "year": [1995] * 2,
        }
    )
    failed = pl.DataFrame({"context_id": ["c1"], "reason": ["odd"], "final": [True]})
    store.put(
        spec("teacher_lists", conversations=made.artifact_id), StepResult(lists, failures=failed)
    )
    raw = json.dumps({"prompt": SECRET}, ensure_ascii=False)
    lost = pl.DataFrame({"source": ["f"], "line": [3], "reason": ["bad"], "raw": [raw]})
    store.put(spec("quarantine"), StepResult(lost))
    ResponseStore(store).add(
        [response("k1", "c1", SECRET), response("k2", "c2", OTHER), response("k3", "", SECRET)]
    )
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO llm_judged (items, request_key, context_id) VALUES "
            "(['Heat'], 'k9', 'c1'), (['Heat'], 'k2', 'c2'), (['Heat'], 'k3', 'c0')"
        )
    scratch = store.make_scratch_folder()
    (scratch / "report.html").write_text(SECRET)
    report = pl.DataFrame({"path": ["p"], "sha256": ["x"]})
    store.put(spec("report", conversations=made.artifact_id), StepResult(report), scratch=scratch)
    folder = store.home / "demo-endpoint"
    folder.mkdir()
    (folder / "file-1.content").write_text(json.dumps({"body": SECRET}))
    (folder / "file-1.json").write_text("{}")
    (store.home / "spool").mkdir(exist_ok=True)
    (store.home / "spool" / "batch-1.input.jsonl").write_text(SECRET)
    return store


def files_with(home: Path, *words: str) -> list[str]:
    return [
        f"{path.name}: {word}"
        for path in home.rglob("*")
        if path.is_file()
        for word in words
        if word.encode() in path.read_bytes()
    ]


def test_every_table_with_a_context_is_covered() -> None:
    assert set(CONTEXT_TABLES) >= {k for k, columns in KINDS.items() if "context_id" in columns}


@pytest.mark.parametrize("name", ["c1", "s2"])
def test_no_byte_of_a_forgotten_conversation_remains(full: Store, name: str) -> None:
    assert files_with(full.home, "Elm Street")
    done = forget_conversations([name], full)
    assert done.conversations == ["c1"]
    assert done.removed["conversations"] == 2
    assert done.removed["llm_answers"] == 2
    assert done.removed["llm_judged"] == 2
    assert files_with(full.home, "Elm Street", "zeppelin", "s2") == []


def test_embeddings_and_their_requests_are_deleted(full: Store) -> None:
    long = f"{OTHER} {'very much ' * 1000}".strip()
    requests = {"only it": [SECRET], "last": [OTHER, SECRET], "neither": [OTHER, long, "user"]}
    for key, texts in requests.items():
        body = json.dumps({"model": "m", "input": texts}, ensure_ascii=False)
        vectors = {"data": [{"index": n, "embedding": [0.0]} for n in range(len(texts))]}
        stored = replace(response(key, "c0", ""), body=body, response=json.dumps(vectors))
        ResponseStore(full).add([stored])
    with full.transaction() as connection:
        connection.execute(
            "INSERT INTO embeddings VALUES ('m', 'k1', 'c1', [0.5]), ('m', 'k2', 'c2', [0.5]), "
            "('m', 'k3', '', [0.5])"
        )
    done = forget_conversations(["c1"], full)
    assert done.removed["embeddings"] == 1
    assert set(ResponseStore(full).digests([*requests, "k2"])) == {"neither", "k2"}
    with full.read_connection() as connection:
        left = connection.execute("SELECT text_key FROM embeddings ORDER BY 1").fetchall()
    assert left == [("k2",), ("k3",)]
    assert files_with(full.home, "Elm Street", "zeppelin") == []


def test_everything_else_stays(full: Store) -> None:
    forget_conversations(["c1"], full)
    kinds = {header.ref.kind for header in full.headers()}
    assert kinds == {"conversations", "teacher_lists", "quarantine"}
    for header in full.headers():
        assert full.find(header.ref.artifact_id) is not None
    lists = next(h for h in full.headers("teacher_lists"))
    assert full.read(lists.ref.artifact_id)["context_id"].to_list() == ["c2"]
    assert set(ResponseStore(full).digests(["k1", "k2", "k3"])) == {"k2"}
    with full.read_connection() as connection:
        assert connection.execute("SELECT count(*), sum(usd) FROM llm_ledger").fetchone() == (
            3,
            1.5,
        )
        store_id = connection.execute("SELECT count(*) FROM meta WHERE key = 'store_id'")
        assert store_id.fetchone() == (1,)


def test_checkpoints_trained_on_it_are_listed(full: Store) -> None:
    parent = full.headers("conversations")[0].ref.artifact_id
    scratch = full.make_scratch_folder()
    rows = pl.DataFrame({"path": ["p"], "base": ["tiny"], "parameters": [1], "manifest": ["{}"]})
    ref = full.put(spec("checkpoint", conversations=parent), StepResult(rows), scratch=scratch)
    assert forget_conversations(["c1"], full).checkpoints == [ref.artifact_id]
    assert full.find(ref.artifact_id) is not None


def test_a_dry_run_changes_nothing(full: Store) -> None:
    done = forget_conversations(["c1"], full, dry_run=True)
    assert done.removed["conversations"] == 2
    assert len(ResponseStore(full).digests(["k1", "k2", "k3"])) == 3
    assert files_with(full.home, "Elm Street")


def test_an_unknown_conversation_to_forget_is_refused(full: Store) -> None:
    with pytest.raises(InputError, match="no conversation 'c9'"):
        forget_conversations(["c9"], full)


def test_a_run_that_sends_requests_prevents_forgetting(full: Store) -> None:
    with Spool(full.home / "spool") as spool:
        spool.claim(["k9"], lambda keys: KeyStatus(set(), set()))
        with pytest.raises(WarehouseError, match="a run is sending requests"):
            forget_conversations(["c1"], full)


def test_responses_of_a_dead_process_are_deleted(full: Store) -> None:
    folder = full.home / "spool"
    with Spool(folder) as spool:
        spool.append([response("k7", "c1", SECRET)])
        spool.seal()
    forget_conversations(["c1"], full)
    assert files_with(full.home, "Elm Street", "zeppelin") == []


def test_the_command_prints_what_it_deleted(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(full.home))
    command = ["artifacts", "forget", "--conversation", "c1"]
    result = CliRunner().invoke(app, [*command, "--json", "-"])
    figures = json.loads(result.stdout)
    assert figures["conversations"] == ["c1"]
    assert figures["removed"]["teacher_lists"] == 1
    assert len(figures["reports"]) == 1
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, InputError)


def test_an_embedding_is_found_by_its_text(full: Store) -> None:
    with full.transaction() as connection:
        connection.execute(
            "INSERT INTO embeddings VALUES ('m', $1, 'gone long ago', [0.5])", [text_key(SECRET)]
        )
    assert forget_conversations(["c1"], full).removed["embeddings"] == 1


def test_files_of_the_home_do_not_contain_it(full: Store, tmp_path: Path) -> None:
    start_run(
        full,
        "r",
        flow="f",
        profile="p",
        overrides={},
        config={"runner": {"folder": str(tmp_path / "elsewhere")}},
    )
    changes = full.home / "changes" / "a-b.csv"
    changes.parent.mkdir()
    changes.write_text("context_id,item\nc1,Heat (1995)\nc2,Ran (1985)\n")
    training = full.home / "training" / "checkpoint-1"
    (training / "launch-x").mkdir(parents=True)
    (training / "launch-x" / "train.parquet").write_text(SECRET)
    (training / "best-1.safetensors").write_text("weights")
    (training / "samples.jsonl.1f.part").write_text(SECRET)  # of a process that was killed
    parts = [full.home / "training" / "candidates-1", tmp_path / "elsewhere" / "candidates-2"]
    for folder in parts:
        folder.mkdir(parents=True)
        (folder / "rows-000000000-000000512.parquet").write_text(SECRET)
    (tmp_path / "elsewhere" / "notes").mkdir()
    lines = [json.dumps({"step": 1, "context_id": name, "completion": ""}) for name in ("c1", "c2")]
    (training / "samples.jsonl").write_text("\n".join(lines) + "\n")

    conversations = full.headers("conversations")[0].ref
    held_out = full.read(conversations.artifact_id).with_columns(split=pl.lit("validation"))
    parent = full.put(replace(spec("conversations"), version=2), StepResult(held_out)).artifact_id
    scratch = full.make_scratch_folder()
    (scratch / "samples.jsonl").write_text("\n".join(lines) + "\n")
    rows = pl.DataFrame({"path": ["p"], "base": ["tiny"], "parameters": [1], "manifest": ["{}"]})
    ref = full.put(spec("checkpoint", conversations=parent), StepResult(rows), scratch=scratch)

    forget_conversations(["c1"], full)
    assert changes.read_text() == "context_id,item\nc2,Ran (1985)\n"
    assert [path.exists() for path in parts] == [False, False]
    assert sorted(p.name for p in training.iterdir() if p.name != ".lock") == [
        "best-1.safetensors",
        "samples.jsonl",
    ]
    for folder in (training, full.fetch_folder(ref.artifact_id)):
        assert (folder / "samples.jsonl").read_text() == lines[1] + "\n"
    assert (tmp_path / "elsewhere" / "notes").exists()
    shutil.rmtree(full.folder(ref.artifact_id))
    if isinstance(full.backend, Lake):  # another host gets the one without it
        kept = full.fetch_folder(ref.artifact_id) / "samples.jsonl"
        assert kept.read_text() == lines[1] + "\n"


def test_the_rewritten_file_has_no_old_log(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(full.backend, Lake):
        pytest.skip("a lake has no file")
    seen = []

    def replaced(old: Path, new: Path) -> None:
        seen.append(Path(f"{new}.wal").exists())
        os.rename(old, new)

    monkeypatch.setattr("convrec.artifacts.database_file.os.replace", replaced)
    forget_conversations(["c1"], full)
    assert seen == [False]


def test_an_interrupted_rewrite_is_finished_next_time(
    full: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(full.backend, Lake):
        pytest.skip("a lake has no file")
    with monkeypatch.context() as patch:
        patch.setattr("convrec.artifacts.database_file.os.replace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forget_conversations(["c1"], full)
    with pytest.raises(InputError, match="no conversation"):
        forget_conversations(["c1"], full)
    assert files_with(full.home, "Elm Street", "zeppelin") == []
