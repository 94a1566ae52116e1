"""The `--json` output of every command: key paths and JSON types.

Values are compared where they depend only on the arguments.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.golden.access import convrec, sets
from tests.golden.conftest import Golden
from tests.golden.worlds import BROKEN, CATALOG, SMALL, Asked, Demo, rows, shape

REASON = r'"reason": "(?:[^"\\]|\\.)*"'
"""Reasons are prose and may be reworded."""

MADE = [
    {
        "completion": "Heat (1995)\nSeven (1995)\nAliens (1986)\nHeat (1995)\nNothing (1901)",
        "seen_titles": ["Alien (1979)"],
        "groundtruth_with_release_year": [["Se7en", "1995"], ["Ran", 1985]],
    },
    {
        "completion": [{"role": "assistant", "content": "1. The Thing (1982)\n2. Moon\n3. 8 1/2"}],
        "seen_titles": [["The Thing", 1982]],
        "groundtruth_with_release_year": [{"title": "Moon", "year": 2009}],
    },
    {"completion": "", "seen_titles": [], "groundtruth_with_release_year": [["Ran", "1985"]]},
    {"completion": "no ground truth", "seen_titles": [], "groundtruth_with_release_year": []},
]

TITLES = """Heat (1995)
heat
Heat 1994
Heat (1972)
Le Fabuleux Destin d'Amélie Poulain (2001)
The Good, the Bad and the Ugly
the thing
The Thing (2011)
Seven
8 1/2 (1963)
Sprited Away
Aliens vs. Predator
Paddington
3. In the Mood for Love (2000) - a classic

Chaos
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A catalog, a slightly different one, and lists to score."""
    catalog, other, lists = (tmp_path / n for n in ("catalog.csv", "other.csv", "lists.jsonl"))
    catalog.write_text(CATALOG, encoding="utf-8")
    changed = CATALOG.replace("Alien,1979", "Alien,1980").replace("Moon,2009", "Moonlight,2016")
    changed = changed.replace("Stalker,1979,Drama", "Stalker,1979,Mystery")
    other.write_text(changed + "Zardoz,1974,Science Fiction,,\n", encoding="utf-8")
    lines = [json.dumps(row, ensure_ascii=False) for row in MADE]
    lists.write_text("\n".join([*lines, "not JSON"]) + "\n", encoding="utf-8")
    return {"catalog": catalog, "other": other, "lists": lists}


def test_run_and_plan(golden: Golden, demo: Demo, tmp_path: Path) -> None:
    words = ("plan", "demo", *sets(SMALL), "--json", "-")
    before = convrec(*words, home=tmp_path).json
    after = convrec(*words, home=demo.home).json
    (record,) = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (demo.home / "runs").glob(f"{demo.first['flow_run_id']}.json")
    ]
    assert {stage["state"] for stage in after["stages"]} == {"cached"}
    golden("plan", {"before": before, "after": after}, nearly=True)
    shapes = {"run": shape(demo.first), "again": shape(demo.again), "record": shape(record)}
    assert shapes["run"] == shapes["again"]
    golden("json_run", shapes)


def test_evaluate(golden: Golden, demo: Demo, tmp_path: Path) -> None:
    home = tmp_path / "home"  # a copy, because another checkpoint's artifacts are added
    shutil.copytree(demo.home, home)
    checkpoint = id_of(demo, "sft")
    words = ("evaluate", "--profile", "demo", *sets(SMALL))
    made = convrec(*words, "--json", "-", home=home).json
    given = convrec(*words, "--checkpoint", checkpoint, "--json", "-", home=home).json
    kinds = [[entry["kind"], entry["state"]] for entry in given["stages"]]
    assert {entry["state"] for entry in made["stages"]} == {"cached"}
    golden("json_evaluate", {"evaluate": shape(made), "given": shape(given), "kinds": kinds})


def test_score(golden: Golden, files: dict[str, Path], tmp_path: Path) -> None:
    found = {}
    for protocol in ("standard", "reference", "per-label"):
        words = ("score", files["lists"], "--catalog", files["catalog"], "--protocol", protocol)
        each = tmp_path / f"{protocol}.jsonl"
        if protocol != "per-label":
            words = (*words, "--per-list", each)
        ended = convrec(*words, "--json", "-", home=tmp_path)
        lines = each.read_text(encoding="utf-8").splitlines() if each.exists() else []
        found[protocol] = {"score": ended.json, "lists": list(map(json.loads, lines))}
    text = re.sub(REASON, r'"reason": "<prose>"', json.dumps(found, ensure_ascii=False))
    golden("score", json.loads(text), nearly=True)


def test_catalogs(golden: Golden, files: dict[str, Path], tmp_path: Path) -> None:
    def asked(*words: str | Path, stdin: str = "") -> Any:
        return convrec("catalog", *words, "--json", "-", home=tmp_path / "home", stdin=stdin).json

    catalog, other = files["catalog"], files["other"]
    name = ("--name", "golden", "--yes")
    found = {
        "check": asked("check", catalog),
        "diff": asked("diff", catalog, other),
        "link": asked("link", "--catalog", catalog, stdin=TITLES),
        "publish": asked("publish", catalog, *name),
        "publish again": asked("publish", catalog, *name),
        "publish other": asked("publish", other, *name),
        "versions": asked("versions", "golden"),
        "version": asked("versions", "golden@2"),
    }
    columns = "name, version, items, quarantined, compared_with, file"
    query = f"SELECT {columns} FROM catalog_versions ORDER BY version"
    found["table"] = rows(tmp_path / "home", query)
    for words in (("link",), ("link", "--explain")):
        ended = convrec("catalog", *words, "--catalog", catalog, home=tmp_path, stdin=TITLES)
        found[" ".join(words) + ", CSV"] = ended.out.splitlines()
    text = json.dumps(found, ensure_ascii=False).replace(str(tmp_path), "")
    text = re.sub(r'"(published_at|announced_at)": "[^"]+"', r'"\1": "<time>"', text)
    text = re.sub(REASON, r'"reason": "<prose>"', text)
    golden("catalogs", json.loads(text), nearly=True)


def id_of(demo: Demo, stage: str, kind: str = "checkpoint") -> str:
    found = [e for e in demo.first["stages"] if (e["stage"], e["kind"]) == (stage, kind)]
    return str(found[-1]["artifact_id"])


def test_artifacts(golden: Golden, demo: Demo) -> None:
    def asked(*words: str) -> Any:
        return convrec("artifacts", *words, "--json", "-", home=demo.home).json

    kinds = {entry["kind"]: entry["artifact_id"] for entry in demo.first["stages"]}
    listed = asked("list")
    run = demo.first["flow_run_id"]
    assert [one["artifact_id"] for one in asked("list", "--run", run[:8])] == [
        entry["artifact_id"] for entry in demo.first["stages"]
    ]
    of_split = "SELECT context_id FROM conversations WHERE split = '{}' ORDER BY sample_id LIMIT 1"
    train, test = (rows(demo.home, of_split.format(split))[0][0] for split in ("train", "test"))
    traced = {
        "train": asked("trace", "--conversation", train),
        "test": asked("trace", "--conversation", test),
        "of": asked("trace", "--conversation", train, "--of", kinds["demonstrations"]),
    }
    found = {
        "list": shape(listed),
        "list --runs": shape(asked("list", "--runs")),
        "show": {kind: shape(asked("show", name)) for kind, name in kinds.items()},
        "lineage": shape(asked("lineage", kinds["demonstrations"])),
        "trace": {name: shape(one) for name, one in traced.items()},
        "pins": asked("pins"),
        "gc": shape(asked("gc", "--keep-runs", "0")),
    }
    golden("json_artifacts", found)
    relations = [[one["relation"], one["kind"]] for one in asked("lineage", kinds["candidates"])]
    golden("lineage", sorted(relations))
    golden("trace", traced["of"], nearly=True)


def test_exported_rows(golden: Golden, demo: Demo, tmp_path: Path) -> None:
    import polars as pl

    found = {}
    for kind in ("catalog", "conversations", "demonstrations"):
        name = next(e["artifact_id"] for e in demo.first["stages"] if e["kind"] == kind)
        for suffix in (".jsonl", ".csv", ".parquet"):
            file = tmp_path / f"{kind}{suffix}"
            assert convrec("artifacts", "export", name, file, home=demo.home).code == 0
            if suffix == ".parquet":
                schema = pl.read_parquet_schema(file)
                found[file.name] = [[column, str(sql)] for column, sql in schema.items()]
            else:
                found[file.name] = file.read_text(encoding="utf-8").splitlines()[:2]
    folder = tmp_path / "folder"
    assert convrec("artifacts", "export", id_of(demo, "sft"), folder, home=demo.home).code == 0
    model = tmp_path / "model"
    assert convrec("export", id_of(demo, "sft"), model, home=demo.home).code == 0
    found["folder"] = sorted(path.name for path in folder.iterdir())
    found["model"] = sorted(path.name for path in model.iterdir())
    golden("exports", found)


def test_llm(golden: Golden, demo: Demo, reddit: Asked, tmp_path: Path) -> None:
    def asked(*words: str | Path, home: Path = demo.home) -> Any:
        return convrec("llm", *words, "--json", "-", home=home).json

    teacher = rows(demo.home, "SELECT owner, response FROM llm_answers WHERE owner <> ''")
    file = tmp_path / "answers.jsonl"
    lines = [
        {"custom_id": owner, "response": {"status_code": 200, "body": json.loads(response)}}
        for owner, response in teacher
        if "ratings" not in response
    ]
    file.write_text("\n".join(map(json.dumps, lines)) + "\nnot JSON\n", encoding="utf-8")
    words = ("import", file, "--profile", "demo", *sets(SMALL))
    home = tmp_path / "home"
    imported = asked(*words, home=home)
    parsed = asked("reparse", "demo", *sets(SMALL))
    assert {stage["state"] for stage in parsed["stages"]} == {"same"}
    ledger = asked("ledger")
    for row in ledger["rows"]:
        row["run"], row["day"] = "<run>", "<day>"
    found = {
        "ledger": ledger,
        "ledger by stage": asked("ledger", "--by", "stage"),
        "ledger of repairs": asked("ledger", "--by", "stage,model", home=reddit.home),
        "batches": shape(asked("batches")),
        "import": imported,
        "import again": asked(*words, home=home),
        "reparse": parsed,
    }
    golden("llm", found, nearly=True)


def test_replayed_answers_make_the_same_lists(
    demo: Demo, prefect_server: None, tmp_path: Path
) -> None:
    """Responses replayed from a Batch output file make the same artifact as live ones."""
    file = tmp_path / "answers.jsonl"
    query = "SELECT request_key, response FROM llm_answers WHERE model = 'demo-teacher'"
    lines = [
        {"custom_id": key, "response": {"status_code": 200, "body": json.loads(response)}}
        for key, response in rows(demo.home, query)
    ]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = {**SMALL, "recommend.source": "replay", "recommend.replay": str(file)}
    words = ("run", "demo", *sets(source), "--until", "recommend", "--json", "-")
    made = convrec(*words, home=tmp_path / "home").json
    lists = [e["artifact_id"] for e in made["stages"] if e["kind"] == "teacher_lists"]
    assert lists == [id_of(demo, "recommend", "teacher_lists")]
    assert made["llm"]["sent"] == 0


def test_training_is_planned_and_checked(golden: Golden, tmp_path: Path) -> None:
    plan = ("train", "plan", "--model", "Qwen2.5-7B-Instruct", "--gpus", "8xH100")
    small = ("train", "plan", "--model", "Qwen2.5-0.5B-Instruct", "--gpus", "1xA10G")
    check = ("train", "check", "demo", "--json", "-")
    found = {
        "plan": convrec(*plan, "--write", tmp_path / "out", "--json", "-", home=tmp_path).json,
        "small": convrec(*small, "--rows", "1000", "--json", "-", home=tmp_path).json,
        "check": shape(convrec(*check, home=tmp_path).json),
    }
    text = json.dumps(found).replace(str(tmp_path), "")
    files = {p.name: json.loads(p.read_text()) for p in sorted((tmp_path / "out").iterdir())}
    text = re.sub(REASON, r'"reason": "<prose>"', text)
    golden("train", {**json.loads(text), "written": files}, nearly=True)


def test_serving_and_comparing(golden: Golden, demo: Demo, tmp_path: Path) -> None:
    text = "Something like Heat (1995)"
    words = ("recommend", text, "--checkpoint", id_of(demo, "sft"))
    listed = convrec(*words, home=demo.home)
    assert re.fullmatch(r"(\d\. .+ \(\d{4}\)\n){5}", listed.out)
    served = convrec(*words, "--n", "3", "--json", "-", home=demo.home).json
    runs = [demo.first["flow_run_id"], demo.again["flow_run_id"]]
    page = tmp_path / "page.html"
    compared = convrec("compare", *runs, "--out", page, "--json", "-", home=demo.home).json
    shapes = [shape(one) for one in compared.values()]
    assert page.exists()
    golden("json_serving", {"recommend": shape(served), "compare": shapes})


def test_what_is_forgotten(golden: Golden, reddit: Asked, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(reddit.home, home)
    query = f"SELECT context_id FROM conversations WHERE conversation LIKE '%{BROKEN}%'"
    context = rows(home, query)[0][0]
    words = ("artifacts", "forget", "--conversation", context, "--yes", "--json", "-")
    golden("forget", convrec(*words, home=home).json)


def test_files_of_a_checkpoint(golden: Golden, demo: Demo) -> None:
    found = {}
    for stage in ("sft", "rank_grpo"):
        folder = demo.home / "files" / id_of(demo, stage)
        for path in sorted(folder.glob("*.json*")):
            if path.name in ("tokenizer.json", "tokenizer_config.json"):
                continue  # written by transformers
            lines = path.read_text(encoding="utf-8").splitlines()
            values = list(map(json.loads, lines)) if path.suffix == ".jsonl" else None
            value = json.loads(path.read_text(encoding="utf-8")) if values is None else values
            found[f"{stage}/{path.name}"] = shape(value)
        found[f"{stage}/chat_template.jinja"] = (folder / "chat_template.jinja").read_text()
    query = "SELECT artifact_id, manifest FROM checkpoint ORDER BY artifact_id"
    found["manifests"] = [shape(json.loads(manifest)) for _, manifest in rows(demo.home, query)]
    found["curves"] = rows(demo.home, "SELECT DISTINCT name FROM curves ORDER BY name")
    golden("checkpoints", found)
