"""The ids, identities and rows of artifacts.

An id is the hash of kind, stage, version, configuration, parents and inputs, so it is the same on
every machine. Only the rows of trained models are not; see `test_trained.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.golden.access import ROOT, artifact_id_of
from tests.golden.conftest import Golden
from tests.golden.worlds import REDDIT, Asked, Demo, rows, run

HEADERS = """
SELECT artifact_id, kind, stage, version, config, inputs, rows, partial FROM artifacts
ORDER BY artifact_id
"""

TRAINED = ("checkpoint", "generations", "metrics", "report")


def stages(summary: dict[str, Any]) -> list[list[Any]]:
    names = ("stage", "kind", "state", "artifact_id", "rows")
    return [[entry[name] for name in names] for entry in summary["stages"]]


def identities(home: Path) -> dict[str, Any]:
    """Artifact id → everything it is the hash of; checks the hash as well."""
    parents: dict[str, dict[str, str]] = {}
    for name, role, parent in rows(home, "SELECT artifact_id, role, parent_id FROM lineage"):
        parents.setdefault(name, {})[role] = parent
    found = {}
    for name, kind, stage, version, config, inputs, count, partial in rows(home, HEADERS):
        identity = {
            "kind": kind,
            "stage": stage,
            "version": version,
            "config": json.loads(config),
            "parents": parents.get(name, {}),
            "inputs": json.loads(inputs),
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert name == f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
        found[name] = {**identity, "rows": count, "partial": partial}
    return found


def test_ids_of_the_demo(golden: Golden, demo: Demo) -> None:
    golden("ids_demo", {"run": stages(demo.first), "identities": identities(demo.home)})


def test_a_second_run_finds_all_of_it(demo: Demo) -> None:
    first, again = stages(demo.first), stages(demo.again)
    assert [[*row[:2], "cached", *row[3:]] for row in first] == again
    assert demo.again["llm"]["sent"] == 0
    assert demo.again["llm"]["requests"] == demo.again["llm"]["from_ledger"]
    assert demo.again["metrics"] == demo.first["metrics"]
    assert demo.again["comparisons"] == demo.first["comparisons"]


def test_ids_of_the_books(golden: Golden, books: Asked) -> None:
    golden("ids_books", {"run": stages(books.summary), "identities": identities(books.home)})


def test_ids_of_reddit(golden: Golden, reddit: Asked) -> None:
    golden("ids_reddit", {"run": stages(reddit.summary), "identities": identities(reddit.home)})


def test_ids_of_models_that_reason(golden: Golden, reasoning: Asked) -> None:
    found = {"run": stages(reasoning.summary), "identities": identities(reasoning.home)}
    golden("ids_reasoning", found)


def test_ids_of_lists_that_the_data_bring(
    golden: Golden, prefect_server: None, reddit_files: Path, tmp_path: Path
) -> None:
    overrides = {
        **REDDIT,
        "ingest.path": str(reddit_files),
        "recommend.source": "provided",
        "reflect.enabled": False,
    }
    made = run("reddit-v2", overrides, tmp_path, "--until", "adjust")
    assert made["llm"]["requests"] == 0
    golden("ids_provided", {"run": stages(made), "identities": identities(tmp_path)})


# -- the profiles as they ship -----------------------------------------------------------------

README = {
    "catalog": "catalog-9c249c2f2f9a4cefb8e0",
    "conversations": "conversations-676f2a3f62b4933bfbe5",
    "quarantine": "quarantine-2ab6e2082f281126fc4a",
    "teacher_lists": "teacher_lists-f60557eeb33096c3c78d",
    "descriptions": "descriptions-e40982758bf85b9f1488",
    "similarity_basis": "similarity_basis-3953fe38adb7b7c04839",
    "candidates": "candidates-a23b59570942f2ce70e8",
    "judgments": "judgments-03e6d08ae0992b71d9a2",
    "adjustment": "adjustment-3cfeb0ebe69861c81fec",
    "demonstrations": "demonstrations-4c0b8462c33781f77496",
    "checkpoint_sft": "checkpoint-2de8a5dc6300f922cd97",
    "checkpoint_rank_grpo": "checkpoint-c6ff28c63335f6358954",
    "generations_sft": "generations-6f3721a5aa90f0c26e12",
    "generations_rank_grpo": "generations-c39743b7520c75ac4740",
    "generations_free": "generations-35534018ddc52bb715ff",
    "generations_served": "generations-59bc2282e2a4c47c463d",
    "metrics": "metrics-b2633398fd0a3732c896",
    "report": "report-307297ee74fe97f0a19b",
}
"""The ids of `make demo`, in the order of README.md."""

_TEACHER = ("catalog", "conversations", "teacher_lists", "candidates", "judgments")
_MODELS = tuple(f"generations_{name}" for name in ("sft", "rank_grpo", "free", "served"))

PARENTS: dict[str, dict[str, str]] = {
    "similarity_basis": {name: name for name in ("catalog", "descriptions")},
    "candidates": {
        name: name
        for name in (
            "catalog",
            "conversations",
            "teacher_lists",
            "descriptions",
            "similarity_basis",
        )
    },
    "adjustment": {name: name for name in ("catalog", "conversations", "candidates", "judgments")},
    "demonstrations": {
        name: name for name in ("catalog", "conversations", "candidates", "judgments", "adjustment")
    },
    "checkpoint_sft": {"conversations": "conversations", "demonstrations": "demonstrations"},
    "checkpoint_rank_grpo": {
        "catalog": "catalog",
        "conversations": "conversations",
        "checkpoint": "checkpoint_sft",
    },
    "generations_sft": {"conversations": "conversations", "checkpoint": "checkpoint_sft"},
    "generations_rank_grpo": {
        "conversations": "conversations",
        "checkpoint": "checkpoint_rank_grpo",
    },
    "generations_free": {
        "conversations": "conversations",
        "checkpoint": "checkpoint_rank_grpo",
    },
    "generations_served": {
        "conversations": "conversations",
        "checkpoint": "checkpoint_rank_grpo",
    },
    "metrics": {name: name for name in (*_TEACHER, "demonstrations", *_MODELS)},
    "report": {
        name: name
        for name in (
            *_TEACHER,
            "demonstrations",
            *_MODELS,
            "metrics",
            "quarantine",
            "adjustment",
            "checkpoint_sft",
            "checkpoint_rank_grpo",
        )
    },
}
"""The parents of each node by role, for nodes whose id contains no digest of responses."""


def chained(
    known: dict[str, str], home: Path, profile: str, overrides: dict[str, Any]
) -> dict[str, str]:
    """Compute the ids of all nodes in PARENTS from the known ids of the others."""
    found = dict(known)
    for node, reads in PARENTS.items():
        parents = {role: (found[name], found[name].split("-")[0]) for role, name in reads.items()}
        found[node] = artifact_id_of(node, parents, home, profile, overrides)
    return {node: found[node] for node in PARENTS}


def test_readme_shows_these_ids() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\b[a-z_]+-[0-9a-f]{20}\b", text)
    assert list(dict.fromkeys(shown)) == list(README.values())


def test_ids_of_the_demo_as_it_ships(golden: Golden, prefect_server: None, tmp_path: Path) -> None:
    """Run ingest; compute the other ids, except those that depend on responses, from parents."""
    made = run("demo", {}, tmp_path, "--until", "ingest")
    ids = {kind: name for _, kind, _, name, _ in stages(made)[:3]}
    assert ids == {kind: README[kind] for kind in ids}
    assert chained(README, tmp_path, "demo", {}) == {node: README[node] for node in PARENTS}
    books = run("demo-books", {}, tmp_path, "--until", "ingest")
    golden("ids_shipped", {"demo": stages(made)[:3], "demo-books": stages(books)[:3]})


@pytest.mark.slow
def test_ids_of_the_whole_data_of_the_demo(prefect_server: None, tmp_path: Path) -> None:
    made = run("demo", {}, tmp_path, "--until", "adjust")
    ids = [name for *_, name, _ in stages(made) if name]
    assert ids == list(README.values())[:10]


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "demo": ("demo", {}),
    "demo-books": ("demo-books", {}),
    "reddit-v2": ("reddit-v2", {}),
    "inspired-replay": ("inspired-replay", {}),
    "redial": ("redial", {}),
    "another seed": ("demo", {"seed": 8}),
    "shorter lists": ("demo", {"list_length": 10}),
    "no years": ("demo", {"recommend.years": False}),
    "another noun": ("demo", {"domain": "series"}),
    "another line": ("demo", {"domain.line": "{title} [{year}]"}),
    "another prompt": ("demo", {"model.prompt": "instruct"}),
    "another student prompt": (
        "demo",
        {"model.prompt": "instruct", "domain.student": "{conversation}"},
    ),
    "other weights": ("demo", {"remap.similarity_weight": 0.5, "reflect.weight": 0.25}),
    "no judge": ("demo", {"reflect.enabled": False}),
    "no adjustment": ("demo", {"adjust.enabled": False}),
    "a balance": ("demo", {"adjust.balance": 0.5}),
    "provided": ("demo", {"recommend.source": "provided"}),
    "LoRA": ("demo", {"sft.lora.rank": 8, "rank_grpo.lora.rank": 4}),
    "GRPO": ("demo", {"rank_grpo.algorithm": "grpo"}),
    "GSPO": ("demo", {"rank_grpo.algorithm": "gspo", "rank_grpo.reward": "log"}),
    "Dr. GRPO": ("demo", {"rank_grpo.algorithm": "dr_grpo", "rank_grpo.reward": "exp:2.0"}),
    "DAPO": ("demo", {"rank_grpo.algorithm": "dapo", "rank_grpo.reduction": "token"}),
    "constrained": (
        "demo",
        {"rank_grpo.sampler": "constrained", "evaluate.sampler": "constrained"},
    ),
    "free": ("demo", {"rank_grpo.sampler": "free", "evaluate.sampler": "free"}),
    "vLLM": ("demo", {"rank_grpo.sampler": "free", "rank_grpo.vllm": "colocate"}),
    "no validation": ("demo", {"rank_grpo.eval_every": 0, "rank_grpo.patience": 0}),
    "a limit": ("demo", {"evaluate.limit": 5, "evaluate.samples": 4, "evaluate.bootstrap": 10}),
    "moves nothing": (
        "demo",
        {
            "llm.max_concurrency": 3,
            "llm.max_attempts": 2,
            "llm.max_usd": 1,
            "llm.timeout": 5,
            "train.launcher": "accelerate",
            "train.processes": 2,
            "runner.partitions": 3,
            "rank_grpo.save_every": 5,
            "rank_grpo.micro_batch": 1,
            "rank_grpo.vllm_memory": 0.5,
            "sft.micro_batch": 2,
            "sft.save_every": 5,
            "evaluate.batch_size": 8,
        },
    ),
}
"""Settings that change the ids of some artifacts and leave the others alone."""

FAKE = {
    name: f"{re.sub('_(sft|rank_grpo|free|served)$', '', name)}-{number:020x}"
    for number, name in enumerate(README)
}
"""Fixed parent ids, so that only a node's own settings change its id."""


def test_which_settings_move_which_ids(golden: Golden, tmp_path: Path) -> None:
    found = {}
    for name, (profile, overrides) in VARIANTS.items():
        ids = {}
        for node, reads in PARENTS.items():
            parents = {role: (FAKE[one], FAKE[one].split("-")[0]) for role, one in reads.items()}
            ids[node] = artifact_id_of(node, parents, tmp_path, profile, overrides)
        found[name] = ids
    assert found["moves nothing"] == found["demo"]
    golden("ids_by_setting", found)


# -- rows --------------------------------------------------------------------------------------


def contents(home: Path) -> dict[str, Any]:
    """Digests of the rows of untrained artifacts; floats enter as sums, which are rounded."""
    kinds = rows(home, "SELECT table_name, column_name, data_type FROM information_schema.columns")
    found = {}
    for name, kind in rows(home, "SELECT artifact_id, kind FROM artifacts ORDER BY kind"):
        if kind in TRAINED:
            continue
        columns = [(column, sql) for table, column, sql in kinds if table == kind]
        words = [c for c, sql in columns if sql != "DOUBLE" and c != "reason"]  # prose
        exact = ", ".join(f'"{c}"' for c in words)
        where = f"FROM \"{kind}\" WHERE artifact_id = '{name}'"
        lines = [
            json.dumps(row, ensure_ascii=False, default=str)
            for row in rows(home, f'SELECT {exact} {where} ORDER BY "row"')
        ]
        sums = {
            c: rows(home, f'SELECT coalesce(sum("{c}"), 0)::DOUBLE {where}')[0][0]
            for c, sql in columns
            if sql == "DOUBLE"
        }
        text = "\n".join(lines)
        digest = hashlib.sha256(text.encode()).hexdigest()
        found[name] = {"rows": len(lines), "sha256": digest, "sums": sums, "first": lines[:2]}
    return found


def test_rows_of_the_demo(golden: Golden, demo: Demo) -> None:
    golden("rows_demo", contents(demo.home), nearly=True)


def test_rows_of_the_books(golden: Golden, books: Asked) -> None:
    golden("rows_books", contents(books.home), nearly=True)


def test_rows_of_reddit(golden: Golden, reddit: Asked, reasoning: Asked) -> None:
    found = {"embeddings": contents(reddit.home), "reasoning": contents(reasoning.home)}
    golden("rows_reddit", found, nearly=True)


def test_figures_of_what_was_not_trained(golden: Golden, demo: Demo) -> None:
    models = ("sft", "rank_grpo")
    untrained = {k: v for k, v in demo.first["metrics"].items() if k not in models}
    compared = [c for c in demo.first["comparisons"] if not {c["a"], c["b"]} & set(models)]
    steps = ("ingest", "recommend", "remap", "reflect", "adjust")
    query = "SELECT artifact_id, stage, figures FROM artifacts ORDER BY artifact_id"
    figures = {
        name: json.loads(text) for name, stage, text in rows(demo.home, query) if stage in steps
    }
    found = {"metrics": untrained, "comparisons": compared, "figures": figures}
    golden("figures", found, nearly=True)
