"""The export of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from convrec.artifacts import Store
from convrec.config import Config
from convrec.errors import InputError
from convrec.models.load import load_student
from convrec.models.plain_tokenizer import PROBE, auto_tokenizer_agrees
from convrec.serving.export import export_checkpoint
from tests.support.evaluated_run import make_evaluated_run


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A warehouse, and the id of a checkpoint with files."""
    run = make_evaluated_run(Store(tmp_path_factory.mktemp("run")))
    return run.store, run.put_checkpoint_files()


@pytest.mark.parametrize(
    "artifact", ["../catalogs", "checkpoint-../..", "checkpoint-", "/", "a\0b"]
)
def test_an_unknown_artifact_has_no_folder(artifact: str, store: Store, tmp_path: Path) -> None:
    assert store.find(artifact) is None
    with pytest.raises(InputError, match="no artifact"):
        store.read(artifact)
    with pytest.raises(InputError):
        export_checkpoint(store, artifact, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "thesis.txt").write_text("mine")
    (tmp_path / "link").symlink_to(kept)
    for out in (kept, tmp_path / "link", kept / "thesis.txt"):
        with pytest.raises(InputError, match="not empty"):
            export_checkpoint(store, "checkpoint-x", out)
    assert (kept / "thesis.txt").read_text() == "mine"


def test_export_leaves_out_training_records(trained_run: tuple[Store, str], tmp_path: Path) -> None:
    store, name = trained_run
    out = export_checkpoint(store, name, tmp_path / "plain")
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md",
        "catalog.jsonl",
        "catalog_lists.py",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert oct((out / "model.safetensors").stat().st_mode)[-3:] == "644"
    assert not [path for path in tmp_path.iterdir() if path != out]


def test_export_errors(trained_run: tuple[Store, str], tmp_path: Path) -> None:
    store, name = trained_run
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        export_checkpoint(store, name, tmp_path / "full")
    with pytest.raises(InputError, match="x is not a folder"):
        export_checkpoint(store, name, tmp_path / "full" / "x" / "new")
    with pytest.raises(InputError, match="neither a folder nor a checkpoint"):
        export_checkpoint(store, "checkpoint-nothing", tmp_path / "new")
    with pytest.raises(InputError, match="no model to export"):
        export_checkpoint(store, str(tmp_path / "full"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_transformers_loads_the_export(tmp_path: Path, store: Store) -> None:
    """A LoRA adapter can be merged; the merged model gives the same logits."""
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
    assert (
        AutoTokenizer.from_pretrained(merged)(PROBE).input_ids == student.tokenizer(PROBE).input_ids
    )
    assert not auto_tokenizer_agrees(
        base
    )  # as in the warehouse: a Qwen2 model, but not Qwen's words
