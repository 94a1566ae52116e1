"""Training end to end on a micro student: what is learned, kept, saved and refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from convrec.artifacts import ArtifactSpec, Built, Job, Store
from convrec.catalog.index import TitleIndex
from convrec.config import Config
from convrec.errors import TrainingError
from convrec.rank_grpo import RANK_GRPO
from convrec.sft.student import load_checkpoint
from convrec.training import rl
from convrec.training.rl import train_rank_grpo
from tests.convrec.training.world import FILMS, SAMPLES, config

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

def silent(done: int, total: int, text: str) -> None:
    """Report nothing."""


def train(
    checkpoint: Path, out: Path, settings: Config, samples: list[dict[str, Any]] = SAMPLES
) -> tuple[Mapping[str, Any], pl.DataFrame]:
    torch.set_num_threads(1)
    return train_rank_grpo(checkpoint, samples, TitleIndex(FILMS), settings, out, 5, silent)


def state(folder: Path) -> torch.Tensor:
    model = load_checkpoint(folder).model
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("algorithm", ["rank_grpo", "grpo", "gspo", "dr_grpo", "dapo"])
def test_every_algorithm_trains_and_logs_the_same_figures(
    checkpoint: Path, tmp_path: Path, algorithm: str
) -> None:
    figures, curves = train(checkpoint, tmp_path / "out", config(algorithm=algorithm))
    assert set(curves["step"]) == {1, 2}
    names = {"reward", "kl", "entropy", "clip_share", "repeats", "in_catalog", "exact_n"}
    names |= {"relevance/1-1", "relevance/3-3", "seconds", "seconds_sampling", "tokens"}
    assert names <= set(curves["name"])
    assert figures["steps"] == 2
    assert torch.isfinite(state(tmp_path / "out")).all()


def test_only_a_plain_model_folder_is_left(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(checkpoint, out, config())
    left = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= left
    assert not [name for name in left if name.startswith(".") or name.lower().startswith("readme")]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    text = "Heat (1995)\nAlien (1979)"
    before, after = load_checkpoint(checkpoint).tokenizer, load_checkpoint(out).tokenizer
    assert before.encode(text) == after.encode(text)


def test_the_same_seed_gives_the_same_weights(checkpoint: Path, tmp_path: Path) -> None:
    settings = config(exact=1.0, early=-1.0)
    train(checkpoint, tmp_path / "a", settings)
    train(checkpoint, tmp_path / "b", settings)
    assert torch.equal(state(tmp_path / "a"), state(tmp_path / "b"))
    assert not torch.equal(state(tmp_path / "a"), state(checkpoint))


def test_an_adapter_is_merged_when_it_is_saved(checkpoint: Path, tmp_path: Path) -> None:
    settings = config(lora={"rank": 2, "alpha": 64}, learning_rate=0.1, exact=1.0, early=-1.0)
    figures, _ = train(checkpoint, tmp_path / "out", settings)
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    before, after = state(checkpoint), state(tmp_path / "out")
    assert figures["parameters"] == len(before) == len(after)
    assert not torch.equal(before, after)


def test_too_few_samples_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    without = [sample | {"ground_truth": []} for sample in SAMPLES[1:]]
    with pytest.raises(TrainingError, match=r"there are 1 training samples .* needs .*=2"):
        train(checkpoint, tmp_path / "out", config(), [SAMPLES[0], *without])


def test_a_loss_that_is_not_finite_stops_the_run(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="loss of step 1 is not finite"):
        train(checkpoint, tmp_path / "out", config(early=float("nan"), overflow=float("nan")))
    assert not (tmp_path / "out").exists()


def test_running_out_of_memory_is_said_in_one_sentence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")

    monkeypatch.setattr(rl.RankGRPOTrainer, "train", no_room)
    with pytest.raises(TrainingError, match=r"lower rank_grpo\.prompts_per_step"):
        train(checkpoint, tmp_path / "out", config())


def test_the_step_trains_on_the_train_split_and_is_stored(checkpoint: Path, store: Store) -> None:
    torch.set_num_threads(1)
    settings = config()
    scratch = store.scratch()
    for path in checkpoint.iterdir():
        (scratch / path.name).write_bytes(path.read_bytes())
    base = store.put(
        ArtifactSpec(kind="checkpoint", stage="sft", version=1),
        Built(
            pl.DataFrame([{"path": ".", "base": "tiny", "parameters": 1, "manifest": "{}"}]),
        ),
        scratch=scratch,
    )
    rows = pl.DataFrame([*SAMPLES, SAMPLES[0] | {"split": "test", "conversation": None}])
    catalog = pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row")
    job = Job(
        config=settings,
        store=store,
        parents={"checkpoint": base},
        frames={"conversations": rows, "catalog": catalog},
        scratch=store.scratch(),
    )
    built = RANK_GRPO.build(job)
    ref = store.put(RANK_GRPO.spec(job), built, scratch=job.scratch)
    row = store.read(ref.artifact_id).to_dicts()[0]
    assert (row["path"], row["base"]) == (".", base.artifact_id)
    assert (
        load_checkpoint(store.folder(ref.artifact_id)).model.num_parameters() == row["parameters"]
    )
    assert store.curves(ref.artifact_id).height > 0


def test_only_what_changes_the_weights_is_in_the_key() -> None:
    subset = RANK_GRPO.config(config())
    assert RANK_GRPO.config(config(beta=0.1)) != subset
    other = config().model_copy(
        update={"evaluate": config().evaluate.model_copy(update={"samples": 9})}
    )
    assert RANK_GRPO.config(other) == subset
