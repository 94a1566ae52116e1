"""Lists from vLLM: what TRL and vLLM get, and what the training does with the lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from convrec.config import Config
from convrec.errors import ConfigError, TrainingError
from convrec.models.load import load_checkpoint
from convrec.models.prompts import encode_prompt, student_prompt
from convrec.stages.rank_grpo import make_trainer as trainers
from convrec.stages.rank_grpo.arguments import trainer_arguments
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.training import launch_settings
from convrec.training.metrics_log import SAMPLES as SAMPLES_FILE
from convrec.utils.progress import no_progress
from tests.support import trainings
from tests.support.trainings import FILMS, SAMPLES, VALIDATION_SAMPLES, logged_metrics, weights
from tests.support.vllm_stand_in import StandIn, use_stand_in

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def config(**vllm: Any) -> Config:
    return Config.model_validate({"rank_grpo": {"sampler": "free", **vllm}})


def train(
    checkpoint: Path, out: Path, model: dict[str, Any] | None = None, **rank_grpo: Any
) -> Any:
    torch.set_num_threads(1)
    settings = {"sampler": "free", "eval_every": 1, "save_every": 0, "exact": 1.0, **rank_grpo}
    values = trainings.config(**settings).model_dump()
    values["model"] |= model or {}
    samples, index = SAMPLES, TitleIndex(FILMS)
    return train_rank_grpo(
        checkpoint,
        samples,
        index,
        Config.model_validate(values),
        out,
        5,
        no_progress,
        validation=samples[:VALIDATION_SAMPLES],
    )


def test_a_missing_vllm_is_an_error(tmp_path: Path) -> None:
    if launch_settings.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed")
    with pytest.raises(TrainingError, match=r"rank_grpo.vllm=colocate needs the package vllm"):
        trainer_arguments(config(vllm="colocate"), tmp_path, 7)


def test_trl_gets_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_settings, "find_spec", lambda name: name)
    server = {"vllm": "server", "vllm_url": "http://127.0.0.1:8000/"}
    trl = trainer_arguments(config(**server), tmp_path, 7)
    assert trl.use_vllm
    assert trl.vllm_mode == "server"
    assert trl.vllm_server_base_url == "http://127.0.0.1:8000"
    assert trl.vllm_max_model_length == 512 + 512
    assert trl.vllm_importance_sampling_mode == "token_truncate"
    monkeypatch.setattr("convrec.stages.rank_grpo.arguments.process_count", lambda: 4)
    colocate = {"vllm_tensor_parallel": 2, "vllm_memory": 0.4, "vllm_max_length": 900}
    trl = trainer_arguments(config(vllm="colocate", **colocate), tmp_path, 7)
    assert trl.vllm_tensor_parallel_size == 2
    assert trl.vllm_gpu_memory_utilization == 0.4
    assert trl.vllm_max_model_length == 900
    assert not trainer_arguments(config(), tmp_path, 7).use_vllm


def test_engines_need_equally_many_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_settings, "find_spec", lambda name: name)
    settings = config(vllm="colocate", vllm_tensor_parallel=2)
    with pytest.raises(ConfigError, match=r"vllm_tensor_parallel=2 does not divide .*, 1; choose"):
        trainer_arguments(settings, tmp_path, 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vllm": "colocate", "sampler": "lines"}, "set rank_grpo.sampler=free"),
        ({"vllm": "server"}, "needs rank_grpo.vllm_url"),
    ],
)
def test_unsupported_vllm_settings_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**settings)


@pytest.mark.parametrize(
    ("algorithm", "model"),
    [
        ("rank_grpo", {"prompt": "instruct", "max_prompt_tokens": 300}),
        ("grpo", {"prompt": "plain", "max_prompt_tokens": 6}),  # truncated
    ],
)
def test_vllm_gets_our_token_ids(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
    model: dict[str, Any],
) -> None:
    use_stand_in(monkeypatch)
    train(checkpoint, tmp_path / "out", model, vllm="colocate", algorithm=algorithm, steps=2)
    tokenizer = load_checkpoint(checkpoint).tokenizer
    settings = Config.model_validate({"list_length": 3, "model": model})
    texts = [student_prompt(sample["conversation"], None, settings) for sample in SAMPLES]
    ours = [encode_prompt(tokenizer, text, model["max_prompt_tokens"]) for text in texts]
    whole = [encode_prompt(tokenizer, text, 999) for text in texts]
    assert (ours == whole) == (algorithm == "rank_grpo")
    first, step, *_ = StandIn.latest.prompts
    assert len(first) == VALIDATION_SAMPLES
    assert all(prompt in ours for prompt in first)
    assert len(step) == 4
    assert step[0] == step[1] != []
    assert all(prompt in ours for prompt in step)
    assert StandIn.latest.generation_kwargs["stop_token_ids"] == [tokenizer.eos_token_id]


def test_validation_gets_the_lists_of_the_latest_weights(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_stand_in(monkeypatch)
    train(checkpoint, tmp_path / "out", vllm="colocate", learning_rate=1e-2)
    engine = StandIn.latest
    assert engine.syncs == 3  # before the first step, and after each of two
    assert len(engine.prompts) == 2 + 3
    sent = torch.cat([weight.flatten() for weight in engine.engine.parameters()])
    assert (sent - weights(checkpoint)).abs().max() > 1e-3
    tokenizer = engine.processing_class
    texts = tokenizer.batch_decode(engine.lists[-1], skip_special_tokens=True)
    samples = (tmp_path / "out" / SAMPLES_FILE).read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line)["completion"] for line in samples]
    assert logged[-VALIDATION_SAMPLES:] == texts


@pytest.mark.parametrize("algorithm", ["rank_grpo", "grpo"])
def test_vllm_s_lists_train_like_our_own(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    settings = {"algorithm": algorithm, "steps": 3, "eval_every": 0, "learning_rate": 1e-2}
    with monkeypatch.context() as patch:
        use_stand_in(patch)
        train(checkpoint, tmp_path / "vllm", vllm="colocate", **settings)
    engine = StandIn.latest
    assert engine.syncs == 3  # before each generation
    calls = iter(engine.lists)

    def replay(prompts: list[list[int]], trainer: Any, draws: Any = None) -> dict[str, Any]:
        lists = next(calls)
        return {"prompt_ids": prompts, "completion_ids": lists, "logprobs": None}

    monkeypatch.setattr(trainers, "make_rollout", lambda inputs: replay)
    train(checkpoint, tmp_path / "own", **settings)
    pairs = zip(logged_metrics(tmp_path / "vllm"), logged_metrics(tmp_path / "own"), strict=True)
    for expected, line in pairs:
        assert line == pytest.approx(expected, abs=1e-4, nan_ok=True), line["step"]
    assert (weights(tmp_path / "vllm") - weights(checkpoint)).abs().max() > 1e-3
    assert (weights(tmp_path / "vllm") - weights(tmp_path / "own")).abs().max() < 1e-3


def test_weights_of_adapters_are_merged_for_vllm(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_stand_in(monkeypatch)
    lora = {"rank": 2, "target_modules": ("q_proj", "v_proj")}
    figures, _ = train(
        checkpoint, tmp_path / "out", vllm="colocate", lora=lora, learning_rate=1e-2, patience=9
    )
    sent = torch.cat([weight.flatten() for weight in StandIn.latest.engine.parameters()])
    assert (sent - weights(checkpoint)).abs().max() > 1e-3
    assert figures["parameters"] == sent.numel()


def test_a_failed_start_is_one_sentence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_settings, "find_spec", lambda name: name)
    with pytest.raises(TrainingError, match=r"vLLM failed in .* \(ImportError: .*change") as e:
        train(checkpoint, tmp_path / "out", vllm="colocate")
    assert "\n" not in str(e.value)
