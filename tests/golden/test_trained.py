"""Trained models, compared bit by bit.

Rounding depends on the processor and on torch, so the test skips on machines that `trained.json`
does not know.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path

import pytest
import torch

from tests.golden.conftest import HERE
from tests.golden.worlds import Demo, rows


def processor() -> str:
    """A digest of everything that rounding depends on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else []
    kept = ("model name", "flags", "vendor_id", "cpu family", "model\t")
    facts = sorted({line for line in lines if line.startswith(kept)})
    versions = [torch.__version__, platform.machine()]
    return hashlib.sha256(json.dumps([*facts, *versions]).encode()).hexdigest()[:16]


def steps(path: Path) -> list[dict[str, float]]:
    """The figures of each step except times."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]


def test_trained_models_are_the_same_to_the_bit(demo: Demo) -> None:
    found: dict[str, object] = {}
    for name, stage in rows(demo.home, "SELECT artifact_id, stage FROM artifacts ORDER BY stage"):
        if name.startswith("checkpoint-"):
            weights = (demo.home / "files" / name / "model.safetensors").read_bytes()
            tokens = (demo.home / "files" / name / "tokenizer.json").read_bytes()
            found[f"{stage} weights"] = hashlib.sha256(weights).hexdigest()
            found[f"{stage} tokenizer"] = hashlib.sha256(tokens).hexdigest()
            found[f"{stage} steps"] = steps(demo.home / "files" / name / "metrics.jsonl")
    query = "SELECT system, sample_id, draw, completion FROM generations ORDER BY ALL"
    text = json.dumps(rows(demo.home, query), ensure_ascii=False)
    found["generations"] = hashlib.sha256(text.encode()).hexdigest()
    found["metrics"] = {k: demo.first["metrics"][k] for k in ("sft", "rank_grpo")}
    path = HERE / "trained.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if os.environ.get("WRITE_GOLDEN"):
        known[processor()] = found
        path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if processor() not in known:
        pytest.skip("trained.json has nothing of this kind of processor and torch")
    assert found == known[processor()]
