from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from convrec.config import Config, Lora
from convrec.errors import TrainingError
from convrec.models.hardware import is_out_of_memory
from convrec.models.load import load_checkpoint
from convrec.models.tiny import make_tiny
from convrec.stages.sft import trainer
from convrec.stages.sft.data import encode_rows
from convrec.stages.sft.train import train_sft
from tests.support.micro import ROWS, TEXTS


def sft(config: Config, **values: Any) -> Config:
    return config.model_copy(update={"sft": config.sft.model_copy(update=values)})


def test_labels_cover_only_the_completion(micro: Config) -> None:
    _, tokenizer = make_tiny(TEXTS, micro.model, seed=1)
    data = encode_rows([("more like Heat", "Up (2009)\nAlien (1979)")], tokenizer, micro)
    ids, labels = data["input_ids"][0].tolist(), data["labels"][0].tolist()
    trained = [i for i, label in zip(ids, labels, strict=True) if label != -100]
    assert tokenizer.decode(trained) == "Up (2009)\nAlien (1979)<|end|>"
    assert tokenizer.decode(ids[: -len(trained)]) == "<|user|>more like Heat<|assistant|>"


def test_training_lowers_the_loss_and_reports(
    micro: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, int]] = []
    figures, curves = train_sft(
        ROWS, ROWS[:4], micro, tmp_path, seed=1, progress=lambda d, t, _: seen.append((d, t))
    )
    assert f"{len(ROWS)} demonstrations are too few for model.base=tiny" in caplog.text
    held = [value for _, name, value in curves.iter_rows() if name == "validation_loss"]
    assert len(held) == 3
    assert held[-1] < held[0] - 0.3
    assert figures["steps"] == 9
    assert seen[-1] == (9, 9)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "metrics.jsonl",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_same_seed_same_bytes(micro: Config, tmp_path: Path) -> None:
    config = sft(micro, epochs=1)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_sft(ROWS, [], config, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / n / "model.safetensors").read_bytes() for n in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("max_logits", [0, 2**26])
def test_validation_loss_is_a_mean_of_completion_tokens(
    micro: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_logits: int
) -> None:
    """TRL's loss and the shorter one equal a plain cross-entropy."""
    monkeypatch.setattr(trainer, "MAX_LOGITS_CPU", max_logits)
    config = sft(micro, epochs=1, batch_size=24)
    config = config.model_copy(update={"model": micro.model.model_copy(update={"bf16": False})})
    _, curves = train_sft(ROWS, ROWS[:5], config, tmp_path, seed=1)
    model, tokenizer = load_checkpoint(tmp_path)
    data = encode_rows(ROWS[:5], tokenizer, config)
    total, count = 0.0, 0
    for ids, labels in zip(data["input_ids"], data["labels"], strict=True):
        with torch.no_grad():
            logits = model(torch.from_numpy(ids)[None]).logits[0, :-1]
        target = torch.from_numpy(labels[1:]).long()
        total += float(cross_entropy(logits, target, ignore_index=-100, reduction="sum"))
        count += int((target != -100).sum())
    _, name, value = curves.row(-1)
    assert name == "validation_loss"
    assert value == pytest.approx(total / count, abs=1e-4)


def test_lora_saves_merged_weights(micro: Config, tmp_path: Path) -> None:
    train_sft(ROWS, [], sft(micro, epochs=1), tmp_path / "base", seed=1)
    config = micro.model_copy(
        update={
            "model": micro.model.model_copy(update={"base": str(tmp_path / "base")}),
            "sft": micro.sft.model_copy(update={"lora": Lora(rank=4), "epochs": 1}),
        }
    )
    train_sft(ROWS, [], config, tmp_path / "lora", seed=1)
    base = load_checkpoint(tmp_path / "base").model.state_dict()
    tuned = load_checkpoint(tmp_path / "lora").model.state_dict()
    moved = {name for name in base if not torch.equal(base[name], tuned[name])}
    assert base.keys() == tuned.keys()
    assert moved == {f"model.layers.0.self_attn.{p}_proj.weight" for p in "qkvo"}


def test_no_demonstrations_are_an_error(micro: Config, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no demonstration"):
        train_sft([], [], micro, tmp_path, seed=1)


def test_out_of_memory_suggests_a_smaller_micro_batch(
    micro: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out_of_memory(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(trainer.CompletionTrainer, "compute_loss", run_out_of_memory)
    with pytest.raises(TrainingError, match=r"try --set sft\.micro_batch=4, or --set train.grad"):
        train_sft(ROWS, [], micro, tmp_path, seed=1)
    with pytest.raises(TrainingError, match=r"try a lower model\.max_prompt_tokens, or --set"):
        train_sft(ROWS, [], sft(micro, micro_batch=1), tmp_path, seed=1)
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_a_loss_that_is_not_finite_stops_the_run(
    micro: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_finite(self: Any, model: Any, *_: Any, **__: Any) -> torch.Tensor:
        return next(model.parameters()).sum() * float("nan")

    monkeypatch.setattr(trainer.CompletionTrainer, "compute_loss", not_finite)
    with pytest.raises(TrainingError, match=r"lower sft\.learning_rate"):
        train_sft(ROWS, [], micro, tmp_path, seed=1)


def test_the_weights_with_the_lowest_validation_loss_are_kept(
    micro: Config, tmp_path: Path
) -> None:
    diverges = {"learning_rate": 3.0, "schedule": "constant", "warmup_ratio": 0, "steps": 8}
    figures, curves = train_sft(
        ROWS, ROWS[:5], sft(micro, eval_every=2, **diverges), tmp_path / "best", seed=1
    )
    losses = {step: value for step, name, value in curves.iter_rows() if name == "validation_loss"}
    assert sorted(losses) == [2, 4, 6, 8]
    step = min(losses, key=lambda step: losses[step])
    assert step < 8
    assert (figures["best_step"], figures["validation_loss"]) == (step, losses[step])
    stopped = sft(micro, keep="last", **{**diverges, "steps": step})
    figures, _ = train_sft(ROWS, ROWS[:5], stopped, tmp_path / "stopped", seed=1)
    assert "best_step" not in figures
    best, last = (tmp_path / name / "model.safetensors" for name in ("best", "stopped"))
    assert best.read_bytes() == last.read_bytes()


def test_steps_and_the_last_of_them_is_validated(micro: Config, tmp_path: Path) -> None:
    config = sft(micro, steps=4, eval_every=3, batch_size=5)
    figures, curves = train_sft(ROWS, ROWS[:5], config, tmp_path, seed=1)
    assert figures["steps"] == 4
    steps = [step for step, name, _ in curves.iter_rows() if name == "validation_loss"]
    assert steps == [3, 4]


def test_a_frozen_base_in_bf16_learns(micro: Config, tmp_path: Path) -> None:
    train_sft(ROWS, [], sft(micro, epochs=1), tmp_path / "base", seed=1)
    model = {"base": str(tmp_path / "base"), "weights": "bfloat16", "bf16": False}
    config = micro.model_copy(
        update={
            "model": micro.model.model_copy(update=model),
            "sft": micro.sft.model_copy(update={"lora": Lora(rank=4), "epochs": 2}),
        }
    )
    config = config.model_copy(
        update={"train": config.train.model_copy(update={"gradient_checkpointing": "on"})}
    )
    _, curves = train_sft(ROWS, [], config, tmp_path / "lora", seed=1)
    losses = [value for _, name, value in curves.iter_rows() if name == "loss"]
    assert losses[-1] < losses[0] - 0.01
    tuned = load_checkpoint(tmp_path / "lora").model.state_dict()
    query = tuned["model.layers.0.self_attn.q_proj.weight"]
    assert query.dtype == torch.float32
    assert not torch.equal(query, query.bfloat16().float())  # adapters are not rounded
    gate = tuned["model.layers.0.mlp.gate_proj.weight"]
    assert torch.equal(gate, gate.bfloat16().float())
