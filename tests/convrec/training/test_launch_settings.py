"""accelerate's settings for a machine, refused combinations, and the dry run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from convrec.config import Config, load
from convrec.errors import ConfigError, TrainingError
from convrec.pipeline.graph import NODES
from convrec.training.launch_settings import (
    SHIPPED,
    TEMPLATES,
    check_stage,
    launch_settings,
    launchable_settings,
    missing_requirements,
)


def config(stages: dict[str, Any] | None = None, **train: Any) -> Config:
    return Config.model_validate({"train": {"launcher": "accelerate", **train}, **(stages or {})})


@pytest.mark.parametrize("name", SHIPPED)
def test_templates_are_read_by_accelerate(name: str, tmp_path: Path) -> None:
    assert load_config_from_file(str(TEMPLATES / f"{name}.yaml")).num_processes == 1
    settings = launch_settings(config(parallel=name), gpus=4)
    assert (settings.processes, settings.sharded) == (4, name != "ddp")
    file = tmp_path / "accelerate.json"
    file.write_text(json.dumps(settings.accelerate), encoding="utf-8")
    loaded = load_config_from_file(str(file))
    assert loaded.num_processes == 4
    assert (
        loaded.distributed_type == {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}[name]
    )


def test_cpu_processes_without_a_gpu() -> None:
    settings = launch_settings(config(processes=2), gpus=0)
    assert settings.accelerate["distributed_type"] == "MULTI_GPU"
    assert settings.accelerate["use_cpu"]
    alone = launch_settings(config(), gpus=0)
    assert (alone.processes, alone.accelerate["distributed_type"]) == (1, "NO")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a file; set it to one of ddp, fsdp, zero3"),
        ("num_processes: [", "cannot be read by accelerate"),
        (
            "num_machines: 2\nnum_processes: 4\ndistributed_type: MULTI_GPU",
            "is for 2 machines, but has no main_process_ip; set it",
        ),
        (
            "num_machines: 2\nnum_processes: 3\ndistributed_type: MULTI_GPU\n"
            "main_process_ip: 10.0.0.1\nmain_process_port: 29500",
            "is for 2 machines, which cannot share 3 processes evenly",
        ),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "accelerate.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as raised:
        launch_settings(config(parallel=str(path)), gpus=0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("stage", "train", "stages", "message"),
    [
        ("rank_grpo", {"processes": 7}, {}, "7 processes cannot share rank_grpo"),
        ("rank_grpo", {"parallel": "fsdp"}, {}, "samples with the full weights"),
        (
            "sft",
            {"parallel": "zero3"},
            {"sft": {"lora": {"rank": 4}}},
            r"not supported with sft.lora.rank=4",
        ),
    ],
)
def test_impossible_settings_are_refused(stage: Any, train: Any, stages: Any, message: str) -> None:
    settings = config(stages, **train)
    with pytest.raises(ConfigError, match=message):
        check_stage(settings, stage, launch_settings(settings, gpus=0))


@pytest.mark.parametrize("parallel", ["fsdp", "zero3"])
def test_sharded_weights_are_allowed_with_vllm(parallel: str) -> None:
    vllm = {"vllm": "colocate", "sampler": "free", "vllm_tensor_parallel": 2}
    settings = config({"rank_grpo": vllm}, parallel=parallel, processes=4)
    check_stage(settings, "rank_grpo", launch_settings(settings, gpus=4))
    settings = config({"rank_grpo": vllm}, parallel=parallel, processes=1)
    with pytest.raises(ConfigError, match="vllm_tensor_parallel=2 does not divide"):
        check_stage(settings, "rank_grpo", launch_settings(settings, gpus=4))


def test_a_file_for_two_machines_keeps_its_address(tmp_path: Path) -> None:
    path = tmp_path / "accelerate.yaml"
    path.write_text(
        "num_machines: 2\nmachine_rank: 1\ndistributed_type: FSDP\n"
        "main_process_ip: 10.0.0.1\nmain_process_port: 29500\n",
        encoding="utf-8",
    )
    train = config(parallel=str(path))
    settings = launch_settings(train, gpus=8)
    assert (settings.machines, settings.processes, settings.sharded) == (2, 16, True)
    assert settings.accelerate["main_process_port"] == 29500
    assert settings.accelerate["machine_rank"] == 0
    assert not missing_requirements(train, settings, gpus=8)
    assert "8 processes need 8 GPUs" in missing_requirements(train, settings, gpus=4)[0]


def test_any_number_of_processes_shares_the_rows_of_a_step() -> None:
    settings = load("reddit-v2", {"train.launcher": "accelerate", "train.processes": 8})
    assert settings.sft.batch_size % 8
    check_stage(settings, "sft", launch_settings(settings, gpus=0))


def test_deepspeed_leaves_the_passes_of_a_step_to_the_trainer(tmp_path: Path) -> None:
    path = tmp_path / "accelerate.yaml"
    path.write_text(
        "distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config:\n  zero_stage: 3\n"
        "  gradient_accumulation_steps: 4\n",
        encoding="utf-8",
    )
    for parallel in ("zero3", str(path)):
        accelerate = launch_settings(config(parallel=parallel), gpus=2).accelerate
        assert accelerate["deepspeed_config"]["zero_stage"] == 3
        assert "gradient_accumulation_steps" not in accelerate["deepspeed_config"]


def test_missing_gpus_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(TrainingError, match="needs GPUs, but this machine has none; use train"):
        launchable_settings(config(parallel="fsdp"), "sft")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(TrainingError, match="4 processes need 4 GPUs, but this machine has 2"):
        launchable_settings(config(processes=4), "sft")


def test_ids_do_not_depend_on_the_launcher() -> None:
    for name in ("checkpoint_sft", "checkpoint_rank_grpo"):
        subset = NODES[name].step.config
        assert subset(config(processes=2, parallel="fsdp")) == subset(Config())
