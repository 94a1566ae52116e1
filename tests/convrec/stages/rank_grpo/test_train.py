"""Training end to end on a micro student."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models import hardware
from convrec.models.hardware import has_bf16
from convrec.models.load import load_checkpoint
from convrec.rank_grpo.trainer import RankGRPOTrainer
from convrec.stages.base import StepContext
from convrec.stages.rank_grpo import make_trainer as trainers
from convrec.stages.rank_grpo.inputs import prepare_inputs, training_data
from convrec.stages.rank_grpo.step import RANK_GRPO
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.stages.rank_grpo.validation import Validation
from convrec.titles.index import TitleIndex
from convrec.training.metrics_log import MetricsLog
from convrec.utils.progress import no_progress
from tests.support.trainings import FILMS, SAMPLES, FixedRollout, config, weights

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def train(
    checkpoint: Path,
    out: Path,
    settings: Config,
    samples: list[dict[str, Any]] = SAMPLES,
    validation: Sequence[dict[str, Any]] = (),
    folder: Path | None = None,
) -> tuple[Mapping[str, Any], pl.DataFrame]:
    torch.set_num_threads(1)
    return train_rank_grpo(
        checkpoint,
        samples,
        TitleIndex(FILMS),
        settings,
        out,
        5,
        no_progress,
        validation=validation,
        working_folder=folder,
    )


@pytest.mark.parametrize("algorithm", ["rank_grpo", "grpo", "gspo", "dr_grpo", "dapo"])
def test_every_algorithm_trains_and_logs_the_same(
    checkpoint: Path, tmp_path: Path, algorithm: str
) -> None:
    figures, curves = train(checkpoint, tmp_path / "out", config(algorithm=algorithm))
    assert set(curves["step"]) == {1, 2}
    names = {"reward", "kl", "entropy", "clip_share", "repeats", "in_catalog", "exact_n"}
    names |= {"relevance/1-1", "relevance/3-3", "seconds", "seconds_sampling", "tokens"}
    assert names <= set(curves["name"])
    assert figures["steps"] == 2
    assert torch.isfinite(weights(tmp_path / "out")).all()


def test_the_output_is_a_plain_model_folder(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(checkpoint, out, config())
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.startswith(".") or name.lower().startswith("readme")]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    text = "Heat (1995)\nAlien (1979)"
    before, after = load_checkpoint(checkpoint).tokenizer, load_checkpoint(out).tokenizer
    assert before.encode(text) == after.encode(text)


def test_the_same_seed_gives_the_same_weights(checkpoint: Path, tmp_path: Path) -> None:
    settings = config(exact=1.0, early=-1.0)
    train(checkpoint, tmp_path / "a", settings)
    train(checkpoint, tmp_path / "b", settings)
    assert torch.equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not torch.equal(weights(tmp_path / "a"), weights(checkpoint))


def test_an_adapter_is_merged_when_saved(checkpoint: Path, tmp_path: Path) -> None:
    settings = config(lora={"rank": 2, "alpha": 64}, learning_rate=0.1, exact=1.0, early=-1.0)
    figures, _ = train(checkpoint, tmp_path / "out", settings)
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    before, after = weights(checkpoint), weights(tmp_path / "out")
    assert figures["parameters"] == len(before) == len(after)
    assert not torch.equal(before, after)


def test_too_few_samples_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    without = [sample | {"ground_truth": []} for sample in SAMPLES[1:]]
    with pytest.raises(
        TrainingError, match=r"prompts_per_step=2 samples, but the training split has 1 "
    ):
        train(checkpoint, tmp_path / "out", config(), [SAMPLES[0], *without])


def test_a_loss_that_is_not_finite_stops_the_run(checkpoint: Path, tmp_path: Path) -> None:
    not_finite = dict.fromkeys(("early", "overflow"), float("nan"))  # not a valid configuration
    settings = config()
    settings = settings.model_copy(
        update={"rank_grpo": settings.rank_grpo.model_copy(update=not_finite)}
    )
    with pytest.raises(TrainingError, match="loss of step 1 is not finite"):
        train(checkpoint, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_running_out_of_memory_suggests_a_smaller_step(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out_of_memory(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")

    monkeypatch.setattr(RankGRPOTrainer, "train", run_out_of_memory)
    with pytest.raises(TrainingError, match=r"try --set rank_grpo\.micro_batch=2"):
        train(checkpoint, tmp_path / "out", config())


def test_the_step_builds_a_checkpoint_artifact(checkpoint: Path, store: Store) -> None:
    torch.set_num_threads(1)
    settings = config()
    scratch = store.make_scratch_folder()
    for path in checkpoint.iterdir():
        (scratch / path.name).write_bytes(path.read_bytes())
    base = store.put(
        ArtifactSpec(kind="checkpoint", stage="sft", version=1),
        StepResult(
            pl.DataFrame([{"path": ".", "base": "tiny", "parameters": 1, "manifest": "{}"}]),
        ),
        scratch=scratch,
    )
    rows = pl.DataFrame([*SAMPLES, SAMPLES[0] | {"split": "test", "conversation": None}])
    catalog = pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row")
    ctx = StepContext(
        config=settings,
        store=store,
        parents={"checkpoint": base},
        frames={"conversations": rows, "catalog": catalog},
        scratch=store.make_scratch_folder(),
    )
    built = RANK_GRPO.build(ctx)
    ref = store.put(RANK_GRPO.spec(ctx), built, scratch=ctx.scratch)
    row = store.read(ref.artifact_id).to_dicts()[0]
    assert (row["path"], row["base"]) == (".", base.artifact_id)
    manifest = json.loads(row["manifest"])
    assert (manifest["micro_batch"], manifest["recompute"]) == (4, "false")
    assert (
        load_checkpoint(store.folder(ref.artifact_id)).model.num_parameters() == row["parameters"]
    )
    assert store.curves(ref.artifact_id).height > 0


def test_only_settings_of_the_weights_are_in_the_key() -> None:
    subset = RANK_GRPO.config(config())
    assert RANK_GRPO.config(config(beta=0.1)) != subset
    other = config().model_copy(
        update={"evaluate": config().evaluate.model_copy(update={"samples": 9})}
    )
    assert RANK_GRPO.config(other) == subset
    assert RANK_GRPO.config(config(micro_batch=2)) == subset


def test_bf16_trains_like_float32_up_to_rounding(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_bf16():
        pytest.skip("this processor has no bf16")
    monkeypatch.setattr(hardware, "is_small", lambda model: False)
    monkeypatch.setattr(trainers, "make_rollout", lambda inputs: FixedRollout(4))
    settings = config(beta=0.1, exact=1.0, early=-1.0)
    _, exact = train(checkpoint, tmp_path / "exact", settings)
    halved = settings.model_copy(update={"model": settings.model.model_copy(update={"bf16": True})})
    _, rounded = train(checkpoint, tmp_path / "rounded", halved)
    moved = weights(tmp_path / "exact") - weights(checkpoint)
    apart = weights(tmp_path / "exact") - weights(tmp_path / "rounded")
    assert 0 < apart.norm() < 0.5 * moved.norm()
    assert load_checkpoint(tmp_path / "rounded").model.dtype == torch.float32
    for name, tolerance in (("loss", 0.02), ("entropy", 0.05), ("kl", 0.01)):
        first, second = (
            frame.filter(pl.col("name") == name)["value"].to_list() for frame in (exact, rounded)
        )
        assert second == pytest.approx(first, abs=tolerance), name


def test_the_reference_of_lora_is_the_base_model(checkpoint: Path, tmp_path: Path) -> None:
    settings = config(
        steps=3, lora={"rank": 2, "alpha": 64}, learning_rate=0.1, beta=0.1, exact=1.0, early=-1.0
    )
    _, curves = train(checkpoint, tmp_path / "out", settings)
    kl = curves.filter(pl.col("name") == "kl")["value"].to_list()
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[-1] > 1e-4


def test_every_rank_is_logged_and_saved(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers, "make_rollout", lambda inputs: FixedRollout(4))
    out = tmp_path / "out"
    settings = config(beta=0.1, eval_every=1, eval_samples=2)
    figures, curves = train(checkpoint, out, settings, validation=SAMPLES)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "validation_ndcg@3" in line]
    for line in evaluations:
        low, high = (line[f"validation_ndcg@3_{end}"] for end in ("low", "high"))
        assert low <= line["validation_ndcg@3"] <= high
    assert [line["step"] for line in steps] == [1, 2]
    assert [line["step"] for line in evaluations] == [0, 1, 2]
    ranks = {f"{name}@rank{rank}" for name in ("reward", "clip_share") for rank in (1, 2, 3)}
    per_step = {"kl", "entropy", "exact_n", "repeats", "in_catalog", "reward", "clip_share"}
    parts = {"seconds_sampling", "seconds_scoring", "seconds_loss"}
    for line in steps:
        assert ranks | per_step | parts <= set(line)
        assert sum(line[part] for part in parts) == pytest.approx(line["seconds"])
        assert min(line[part] for part in parts) > 0
    points = {(line["step"], name, line[name]) for line in lines for name in line if name != "step"}
    assert set(curves.iter_rows()) == points
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [(row["step"], row["context_id"]) for row in samples[:2]] == [(0, "2"), (0, "4")]
    assert len(samples) == 6
    assert figures["best_step"] in (0, 1, 2)


def test_the_best_weights_by_validation_are_saved(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = "Alien (1979)", "Big (1988)"
    texts = iter([bad, good, bad, bad, bad])
    monkeypatch.setattr(
        "convrec.stages.rank_grpo.validation.Validation._evaluate",
        evaluate_lists(texts),
        raising=True,
    )
    settings = config(steps=8, eval_every=1, patience=2, exact=1.0, early=-1.0)
    figures, curves = train(checkpoint, tmp_path / "out", settings, validation=SAMPLES)
    assert figures["best_step"] == 1
    assert figures["steps"] == max(curves["step"]) == 3
    one = config(steps=1, eval_every=0, exact=1.0, early=-1.0)
    train(checkpoint, tmp_path / "one", one)
    assert torch.equal(weights(tmp_path / "out"), weights(tmp_path / "one"))


def evaluate_lists(texts: Iterator[str]) -> Any:
    """An evaluation in which the model generates the next text for every sample."""
    evaluate = Validation._evaluate

    def with_text(self: Validation, step: int, model: Any) -> None:
        text = next(texts)
        self.generate = lambda: [text] * len(self.samples)
        evaluate(self, step, model)

    return with_text


@pytest.mark.parametrize(("tokens", "is_cut"), [(80, False), (6, True)])
def test_lists_that_reach_the_token_limit_are_reported(
    checkpoint: Path, tmp_path: Path, tokens: int, is_cut: bool
) -> None:
    settings = config(sampler="lines")
    model = settings.model.model_copy(update={"max_completion_tokens": tokens})
    settings = settings.model_copy(update={"model": model})
    figures, curves = train(checkpoint, tmp_path / "out", settings)
    shares = curves.filter(pl.col("name") == "cut")["value"].to_list()
    assert len(shares) == 2
    assert figures["cut_last"] == round(shares[-1], 4)
    if is_cut:
        mean = sum(shares) / 2
        assert mean >= 0.25
        assert f"{mean:.1%} of the sampled lists reached model.max_completion_tokens" in str(
            figures["warning"]
        )
    else:
        assert shares == [0.0, 0.0]
        assert "max_completion_tokens and lost" not in str(figures.get("warning"))


def test_validation_and_saving_do_not_change_training(checkpoint: Path, tmp_path: Path) -> None:
    plain = config(steps=4, eval_every=0, save_every=0)
    _, expected = train(checkpoint, tmp_path / "plain", plain)
    validated = config(steps=4, eval_every=1, save_every=1)
    _, curves = train(
        checkpoint,
        tmp_path / "validated",
        validated,
        validation=SAMPLES,
        folder=tmp_path / "folder",
    )
    untimed = ~pl.col("name").str.contains("seconds|validation")
    assert curves.filter(untimed).equals(expected.filter(untimed))


def test_save_every_and_vllm_url_are_not_in_the_key() -> None:
    subset = RANK_GRPO.config(config())
    assert RANK_GRPO.config(config(save_every=1)) == subset
    assert RANK_GRPO.config(config(vllm_url="http://127.0.0.1:9")) == subset
    assert RANK_GRPO.config(config(eval_every=1)) != subset
    assert RANK_GRPO.config(config(patience=1)) != subset


def test_the_order_of_the_data_is_shuffled(checkpoint: Path) -> None:
    tokenizer = load_checkpoint(checkpoint).tokenizer
    data = training_data(SAMPLES, tokenizer, config(steps=6, prompts_per_step=2), 3)
    order = [tuple(prompt) for prompt in data["prompt"]]
    assert len(order) == 12
    assert sorted(order[:6]) == sorted(order[6:])
    assert order[:6] != order[6:]
    shared = training_data(SAMPLES, tokenizer, config(steps=6, iterations=2), 3)
    assert len(shared) == 6


def test_a_process_without_validation_samples_generates_none(
    checkpoint: Path, tmp_path: Path
) -> None:
    settings = config(eval_every=1)
    student, one = load_checkpoint(checkpoint), SAMPLES[:1]
    inputs = prepare_inputs(student, SAMPLES, one, (), TitleIndex(FILMS), settings, 5)
    trainer: Any = SimpleNamespace(accelerator=SimpleNamespace(num_processes=2, process_index=0))
    validation = trainers.make_validation(inputs, trainer, MetricsLog(tmp_path))
    assert validation is not None
    assert validation.generate() == []
