"""accelerate's settings for a machine, what is refused, and the dry run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from convrec.config import Config
from convrec.errors import ConfigError, TrainingError
from convrec.operations.sizing.preflight import LACKS, check_training
from convrec.pipeline.graph import NODES
from convrec.training.parallel import SHIPPED, TEMPLATES, parallel, ready, refuse


def config(stages: dict[str, Any] | None = None, **train: Any) -> Config:
    return Config.model_validate({"train": {"launcher": "accelerate", **train}, **(stages or {})})


@pytest.mark.parametrize("name", SHIPPED)
def test_templates_are_read_by_accelerate(name: str, tmp_path: Path) -> None:
    assert load_config_from_file(str(TEMPLATES / f"{name}.yaml")).num_processes == 1
    how = parallel(config(parallel=name), gpus=4)
    assert (how.processes, how.sharded) == (4, name != "ddp")
    written = tmp_path / "accelerate.json"
    written.write_text(json.dumps(how.settings), encoding="utf-8")
    again = load_config_from_file(str(written))
    assert again.num_processes == 4
    assert (
        again.distributed_type == {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}[name]
    )


def test_cpu_processes_where_there_is_no_gpu() -> None:
    how = parallel(config(processes=2), gpus=0)
    assert how.settings["distributed_type"] == "MULTI_GPU"
    assert how.settings["use_cpu"]
    alone = parallel(config(), gpus=0)
    assert (alone.processes, alone.settings["distributed_type"]) == (1, "NO")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is no file; give one of ddp, fsdp, zero3"),
        ("num_processes: [", "cannot be read by accelerate"),
        ("num_machines: 2\nnum_processes: 4\ndistributed_type: MULTI_GPU", "names 2 machines"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "own.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as raised:
        parallel(config(parallel=str(path)), gpus=0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("stage", "train", "stages", "said"),
    [
        ("sft", {"processes": 3}, {}, r"3 processes cannot share .*--set sft.batch_size=9"),
        ("rank_grpo", {"processes": 7}, {}, "7 processes cannot share rank_grpo"),
        ("rank_grpo", {"parallel": "fsdp"}, {}, "samples with whole weights"),
        ("sft", {"parallel": "zero3"}, {"sft": {"lora": {"rank": 4}}}, r"sft.lora.rank=4 does not"),
    ],
)
def test_what_no_machine_can_do(stage: Any, train: Any, stages: Any, said: str) -> None:
    asked = config(stages, **train)
    with pytest.raises(ConfigError, match=said):
        refuse(asked, stage, parallel(asked, gpus=0))


def test_what_is_lacking_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(TrainingError, match="needs GPUs, and there is none here; use train"):
        ready(config(parallel="fsdp"), "sft")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(TrainingError, match="4 processes need as many GPUs, and there are 2"):
        ready(config(processes=4), "sft")


def test_ids_do_not_depend_on_the_launcher() -> None:
    for name in ("checkpoint_sft", "checkpoint_rank_grpo"):
        subset = NODES[name].step.config
        assert subset(config(processes=2, parallel="fsdp")) == subset(Config())


def test_the_dry_run_knows_what_is_lacking_for_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convrec.operations.sizing.preflight.find_spec", lambda name: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    vllm = {"sampler": "free", "vllm": "server", "vllm_url": "http://127.0.0.1:9"}
    found = check_training(config({"rank_grpo": vllm}, processes=2))
    assert any("with vLLM (server)" in line.text for line in found)
    lacks = [line.text for line in found if line.state == LACKS]
    assert any("vllm is not installed" in text for text in lacks)
    assert any("nothing answers at rank_grpo.vllm_url" in text for text in lacks)
    with pytest.raises(ConfigError, match="cannot share sft"):
        check_training(config(processes=3))
