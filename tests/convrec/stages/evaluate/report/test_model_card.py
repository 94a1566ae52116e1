"""The model card of a checkpoint, and its export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.manifest import serving_settings
from convrec.serving.export import auto_tokenizer_agrees, export_checkpoint
from convrec.stages.evaluate import METRICS
from convrec.stages.evaluate.report.model_card import model_card, write_model_card

TEXTS = ["Loved Heat (1995) & it's 12 Angry Men", "Up (2009)\nAlien (1979)"] * 9


def checkpoint(world: Any, stage: str = "rank_grpo") -> str:
    """Replace a checkpoint of the world by one with files and a manifest."""
    config = world.config
    manifest = {"seed": 7, "serving": serving_settings(config)}
    world.refs.pop(f"generations_{stage}")
    lists = world.store.read(world.lists[stage].artifact_id)
    parents = ("catalog", "conversations", "teacher_lists", "demonstrations")
    refs = dict(world.refs)
    world.refs = {role: refs[role] for role in parents}
    ref = world.put(
        f"checkpoint_{stage}",
        "checkpoint",
        [(".", "org/base-model", 1234, json.dumps(manifest))],
        stage=stage,
    )
    folder = world.store.folder(ref.artifact_id)
    for name in ("config.json", "tokenizer.json", "model.safetensors", "metrics.jsonl"):
        (folder / name).write_text("{}", encoding="utf-8")
    world.refs = {**refs, f"checkpoint_{stage}": ref, "checkpoint": ref}
    world.put(f"generations_{stage}", "generations", lists, stage="evaluate")
    return str(ref.artifact_id)


@pytest.fixture
def trained(world: Any) -> tuple[Any, str]:
    world.lists = {stage: world.refs[f"generations_{stage}"] for stage in ("sft", "rank_grpo")}
    return world, checkpoint(world)


def test_card_has_metrics_after_evaluation(
    trained: tuple[Any, str],
) -> None:
    world, name = trained
    before = model_card(world.store, name)
    assert "Not measured yet" in before
    assert "1,234 parameters" in before
    assert 'base_model: "org/base-model"' in before
    assert "unconstrained" in before.lower()
    world.put("metrics", "metrics", METRICS.build(world.ctx()).rows, stage="evaluate")
    path = write_model_card(world.store, name)
    card = path.read_text(encoding="utf-8")
    assert path == world.store.folder(name) / "README.md"
    assert "| rank_grpo (this) |" in card
    assert "60 test samples" in card


def test_export_leaves_out_training_records(trained: tuple[Any, str], tmp_path: Path) -> None:
    world, name = trained
    out = export_checkpoint(world.store, name, tmp_path / "plain")
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert oct((out / "model.safetensors").stat().st_mode)[-3:] == "644"
    assert not [path for path in tmp_path.iterdir() if path != out]


def test_export_errors(trained: tuple[Any, str], tmp_path: Path) -> None:
    world, name = trained
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        export_checkpoint(world.store, name, tmp_path / "full")
    with pytest.raises(InputError, match="x is not a folder"):
        export_checkpoint(world.store, name, tmp_path / "full" / "x" / "new")
    with pytest.raises(InputError, match="neither a folder nor a checkpoint"):
        export_checkpoint(world.store, "checkpoint-nothing", tmp_path / "new")
    with pytest.raises(InputError, match="no model to export"):
        export_checkpoint(world.store, str(tmp_path / "full"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_transformers_loads_the_export(tmp_path: Path, store: Any) -> None:
    """A LoRA adapter can be merged; the merged model gives the same logits."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from convrec.models.load import load_student

    config = Config.model_validate({"model": {"hidden": 16, "layers": 1, "vocabulary": 300}})
    student = load_student(
        "tiny", config=config.model, texts=["Loved Heat (1995) & it's 12 Angry Men"] * 9, seed=1
    )
    base = tmp_path / "base"
    student.model.save_pretrained(base)
    student.tokenizer.save_pretrained(base)
    plain = AutoModelForCausalLM.from_pretrained(base)
    tuned = get_peft_model(plain, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
    tuned.save_pretrained(tmp_path / "adapter")
    merged = export_checkpoint(store, str(tmp_path / "adapter"), tmp_path / "merged", merge=True)
    copied = export_checkpoint(store, str(tmp_path / "adapter"), tmp_path / "copied")
    assert (copied / "adapter_config.json").is_file()
    loaded = AutoModelForCausalLM.from_pretrained(merged)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.allclose(loaded(ids).logits, tuned(ids).logits, atol=1e-5)
    text = "Alien (1979)\nHeat (1995)"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(merged)
    assert tokenizer(text).input_ids == student.tokenizer(text).input_ids
    assert not auto_tokenizer_agrees(
        merged
    )  # the tokenizer of `tiny` is not the one of its Qwen2 config
