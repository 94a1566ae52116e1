from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convrec.cli.train import app
from convrec.errors import InputError
from tests.support.model_folders import rename_weights, save_model


def test_check_prints_a_line_for_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    folder = save_model(tmp_path / "student")
    settings = (f"base={folder}", "max_prompt_tokens=56", "max_completion_tokens=200")
    options = [word for setting in settings for word in ("--set", f"model.{setting}")]
    result = CliRunner().invoke(app, ["check", "demo", *options, "--json", "-"])
    assert result.exit_code == 0
    findings = json.loads(result.stdout)
    assert [(x["state"], x["text"]) for x in findings if x["part"] == "model"] == [
        ("ok", "LlamaForCausalLM with all of its 21 weights"),
        ("ok", "all weights are finite"),
        ("ok", "its 256 positions hold 56 + 200 tokens"),
        ("ok", "prompts have its chat template and start with '<|user|>'"),
        ("ok", "all samplers work"),
    ]


def test_check_ends_with_the_sentence_of_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    folder = save_model(tmp_path / "student")
    rename_weights(folder, lambda name: f"module.{name}")
    result = CliRunner().invoke(app, ["check", "demo", "--set", f"model.base={folder}"])
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 2
    assert "contain `module.`" in str(result.exception)


def test_a_plan_names_its_assumptions_and_only_parts_of_some_size() -> None:
    options = ["--profile", "paper-qwen2.5-0.5b", "--gpus", "8xH100", "--rows", "5000"]
    result = CliRunner().invoke(app, ["plan", *options])
    assert result.exit_code == 0
    assert "for 5,000 demonstrations (--rows), 383,013 samples (--samples)" in result.stdout
    assert "lists of maximum length" in result.stdout
    assert "vllm" in result.stdout
    assert "buckets" not in result.stdout  # DDP's, and the plan shards
