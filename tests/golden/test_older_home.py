"""A home written by an earlier convrec opens: its data are cached and no request is sent.

`make_older_home.py` made it and names the commit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.golden.access import convrec, sets, use_world_files
from tests.golden.make_older_home import BATCH, VECTORS, unpack
from tests.golden.worlds import REDDIT, SMALL, rows, run

DATA_STAGES = ("ingest", "recommend", "remap", "reflect", "adjust")

WORLD = Path(__file__).with_name("older-demo")
"""The files that the posts and the catalog of the demo came from at that commit."""

OLDER_DEMO = {**SMALL, "ingest.catalog": str(WORLD / "demo.csv"), "remap.describe": "off"}
"""The settings of the demo's run, also where the profile has others now."""

NOWHERE = "http://127.0.0.1:9/v1"
"""An endpoint without a server: any request to it fails."""


@dataclass
class Older:
    """An older home, and the summaries of the runs that made it."""

    home: Path
    said: dict[str, Any]

    def artifact(self, stage: str) -> str:
        found = [e["artifact_id"] for e in self.said["demo"]["stages"] if e["stage"] == stage]
        return str(found[0])


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Older:
    use_world_files(
        monkeypatch, [WORLD / name for name in ("world.csv", "tastes.toml", "words.toml")]
    )
    folder = unpack(tmp_path / "older")
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    return Older(folder / "home", said)


def facts(summary: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The artifacts of a run, without states and times."""
    return [(e["stage"], e["kind"], e["artifact_id"], e["rows"]) for e in summary["stages"]]


def responses(home: Path) -> list[tuple[Any, ...]]:
    """What was paid for."""
    return rows(home, "SELECT request_key, response_digest FROM llm_answers ORDER BY ALL")


def data_half(said: Any) -> list[Any]:
    """The entries of the stages before training."""
    return [entry for entry in said["stages"] if entry["stage"] in DATA_STAGES]


def test_the_data_of_an_older_home_are_planned_as_cached(older: Older) -> None:
    words = ("plan", "demo", *sets(OLDER_DEMO), "--json", "-")
    plan = convrec(*words, home=older.home).json
    assert {stage["state"] for stage in data_half(plan)} == {"cached"}
    assert len(data_half(plan)) == len(data_half(older.said["demo"])) == 9
    assert all(figures["requests"] == 0 for figures in plan["llm"].values())


def test_a_training_in_an_older_home_sends_nothing(older: Older, prefect_server: None) -> None:
    """Version 3 of the trainings keeps other weights, so they are trained again."""
    before, said = responses(older.home), older.said["demo"]
    again = run("demo", {**OLDER_DEMO, "llm.base_url": NOWHERE}, older.home)
    assert {e["state"] for e in data_half(again)} == {"cached"}
    assert facts({"stages": data_half(again)}) == facts({"stages": data_half(said)})
    assert again["llm"]["sent"] == 0
    assert again["llm"]["requests"] == again["llm"]["from_ledger"] == said["llm"]["requests"]
    for system in ("teacher", "remapped", "reflected", "adjusted"):
        assert again["metrics"][system] == said["metrics"][system]
    assert responses(older.home) == before


@pytest.mark.parametrize(
    ("name", "settings", "until"),
    [("reddit", VECTORS, "recommend"), ("batch", BATCH, "recommend")],
)
def test_an_answer_in_an_older_home_is_read_again_without_sending(
    older: Older,
    prefect_server: None,
    reddit_files: Path,
    name: str,
    settings: dict[str, Any],
    until: str,
) -> None:
    """One answer is a judge's JSON, which was read as a title; it is no list.

    Later stages ask for the vectors of conversations over 8,191 bytes, of which both ends are read.
    """
    before, said = responses(older.home), older.said[name]
    elsewhere = {**REDDIT, "ingest.path": str(reddit_files), "llm.base_url": NOWHERE}
    again = run("reddit-v2", {**elsewhere, **settings}, older.home, "--until", until)
    states = {e["kind"]: e["state"] for e in again["stages"] if e["artifact_id"]}
    independent = {"catalog", "conversations", "quarantine", "similarity_basis"} & states.keys()
    assert {kind for kind, state in states.items() if state == "cached"} == independent
    was, now = ({kind: count for _, kind, _, count in facts(one)} for one in (said, again))
    assert now["teacher_lists"] == was["teacher_lists"] - 1
    assert again["llm"]["sent"] == 0
    assert responses(older.home) == before


def test_older_answers_are_read_as_they_were(older: Older) -> None:
    words = ("llm", "reparse", "demo", *sets(OLDER_DEMO), "--json", "-")
    parsed = convrec(*words, home=older.home).json
    assert {(one["state"], one["changed"]) for one in parsed["stages"]} == {("same", 0)}


def test_an_older_home_can_be_looked_at(older: Older) -> None:
    def asked(*words: str) -> Any:
        return convrec(*words, "--json", "-", home=older.home).json

    listed = {one["artifact_id"] for one in asked("artifacts", "list")}
    said = {e["artifact_id"] for one in older.said.values() for e in one["stages"]}
    assert listed == said - {None}
    runs = {one["run_id"]: one for one in asked("artifacts", "list", "--runs")}
    for one in older.said.values():
        assert runs[one["flow_run_id"]]["state"] == "completed"
        assert runs[one["flow_run_id"]]["revision"].startswith("43e927c")
    checkpoint = older.artifact("rank_grpo")
    shown = asked("artifacts", "show", checkpoint)
    assert shown["flow_run_id"] == older.said["demo"]["flow_run_id"]
    assert len(asked("artifacts", "lineage", checkpoint)) > 9
    context = rows(older.home, "SELECT context_id FROM demonstrations WHERE split = 'test'")[0][0]
    traced = asked("artifacts", "trace", "--conversation", context)
    assert traced["lists"]
    assert traced["demonstrations"]
    bills = asked("llm", "ledger", "--by", "run")["rows"]
    sent = {one["flow_run_id"]: one["llm"]["sent"] for one in older.said.values()}
    assert {row["run"]: row["requests"] for row in bills} == sent
    assert [one["state"] for one in asked("llm", "batches")["batches"]] == ["ended"]
    assert [one["version"] for one in asked("catalog", "versions", "older")] == [1, 2]
    changes = asked("catalog", "versions", "older@2")
    assert sorted(one["change"] for one in changes) == ["added", "removed"]


def test_an_older_checkpoint_still_recommends(older: Older, tmp_path: Path) -> None:
    words = ("recommend", "Something like Heat (1995)", "--json", "-", "--checkpoint")
    items = convrec(*words, older.artifact("rank_grpo"), home=older.home).json["items"]
    assert len(set(items)) == 5
    assert "Heat (1995)" not in items
    export = ("export", older.artifact("sft"), tmp_path / "model")
    assert convrec(*export, home=older.home).code == 0


def test_a_catalog_can_be_published_in_an_older_home(older: Older, tmp_path: Path) -> None:
    folder = older.home / "catalogs" / "older"
    newest = sorted(folder.iterdir())[-1]
    copy = tmp_path / "copy.csv"
    copy.write_bytes(newest.read_bytes())
    words = ("catalog", "publish", copy, "--name", "older", "--yes", "--json", "-")
    published = convrec(*words, home=older.home).json
    assert (published["new"], published["version"]) == (False, 2)


ANSWER = {
    "key": "5f" * 32,
    "endpoint": "demo",
    "model": "demo-teacher",
    "body": '{"model": "demo-teacher", "messages": []}',
    "response": '{"choices": [{"message": {"content": "Heat (1995)"}}]}',
    "origin": "live",
    "created_at": "2026-01-02T03:04:05.678901",
    "run": "a-run-that-was-killed",
    "stage": "recommend",
    "prompt_tokens": 12,
    "cached_tokens": 3,
    "completion_tokens": 4,
    "reasoning_tokens": 1,
    "usd": 0.25,
    "owner": "a-context",
}
"""A spool line of a process that was killed before it committed."""


@pytest.mark.parametrize(
    "command",
    [("llm", "ledger"), ("llm", "batches"), ("plan", "demo"), ("llm", "reparse", "demo")],
    ids=" ".join,
)
def test_what_a_killed_process_left_is_saved(older: Older, command: tuple[str, ...]) -> None:
    spool = older.home / "spool"
    spool.mkdir(exist_ok=True)
    (spool / "4242-0123abcd.claims").write_text(f"{ANSWER['key']}\n{'6e' * 32}\n")
    (spool / "4242-0123abcd.reserve").write_bytes(bytes(2**20))
    cut = '{"key": "' + "6e" * 32
    (spool / "4242-0123abcd-1.jsonl").write_text(json.dumps(ANSWER) + "\n" + cut)
    overrides = sets(OLDER_DEMO) if "demo" in command else ()
    assert convrec(*command, *overrides, home=older.home).code == 0
    query = "SELECT {} FROM {} WHERE request_key = '" + str(ANSWER["key"]) + "'"
    stored = rows(older.home, query.format("owner, response", "llm_answers"))
    assert stored == [(ANSWER["owner"], ANSWER["response"])]
    billed = rows(older.home, query.format("run, stage, cached_tokens, usd", "llm_ledger"))
    assert billed == [(ANSWER["run"], "recommend", 3, 0.25)]
    assert [path.name for path in spool.iterdir()] == ["turn.lock"]
