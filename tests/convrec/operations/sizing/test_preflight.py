"""What would fail in the first minute of a training is found before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from typer.testing import CliRunner

from convrec.cli.train import app
from convrec.config import Config, load
from convrec.errors import ConfigError, InputError
from convrec.operations.sizing.finding import MISSING, OK, REFUSED, Finding
from convrec.operations.sizing.preflight import check_training, refuse_impossible
from tests.support.model_folders import save_model, set_template

PAPER = "paper-llama-3.2-3b"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without GPUs, network, vLLM, bitsandbytes and deepspeed."""

    def no_network(*args: Any, **kwargs: Any) -> None:
        raise httpx2.ConnectError("no network")

    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    for module in (
        "convrec.operations.sizing.preflight",
        "convrec.operations.sizing.preflight_vllm",
        "convrec.training.optimization",
        "convrec.training.launch_settings",
    ):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)


def texts(findings: list[Finding], state: str) -> str:
    return "\n".join(f"{x.part}: {x.text}" for x in findings if x.state == state)


def check(profile: str, **overrides: Any) -> list[Finding]:
    settings = {key.replace("__", "."): value for key, value in overrides.items()}
    return check_training(load(profile, settings))


def error(profile: str, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        check(profile, **overrides)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("profile", [PAPER, "paper-llama-3.2-1b", "paper-qwen2.5-0.5b"])
def test_the_recipe_of_the_paper_is_in_order(profile: str) -> None:
    findings = check(profile)
    assert texts(findings, REFUSED) == ""
    fine, missing = texts(findings, OK), texts(findings, MISSING)
    assert "accelerate accepts zero3, 4 processes" in fine
    assert "384 lists per step, 96 in each of 4 processes" in fine
    assert "reserves 3072 tokens for a prompt and its list" in fine
    for lacking in (
        "the Hub cannot be reached",
        "zero3 needs GPUs, but this machine has none",
        "zero3 needs the package deepspeed, which is not installed (pip install -c constraints.txt "
        "-e '.[deepspeed]')",
        "sft: bitsandbytes is not installed",
        "rank_grpo: bitsandbytes is not installed",
        "the package vllm is not installed; docs/guides/training.md says how to install it",
        "vllm: needs a GPU",
    ):
        assert lacking in missing


def test_shards_need_vllm() -> None:
    launch = {"train__launcher": "accelerate", "train__parallel": "fsdp", "train__processes": 4}
    refused = texts(check("demo", **launch), REFUSED)
    assert "rank_grpo: train.parallel=fsdp shards the weights" in refused
    assert "rank_grpo.vllm=colocate" in refused
    options = ["--set", "train.launcher=accelerate", "--set", "train.parallel=fsdp"]
    result = CliRunner().invoke(app, ["check", "demo", *options])
    assert (result.exit_code, "refused" in result.stdout) == (2, True)


def test_a_tracker_that_is_not_installed_is_missing() -> None:
    missing = texts(check("demo", train__report_to=["wandb"]), MISSING)
    assert missing == (
        "tracking: train.report_to=wandb needs the package wandb, which is not installed; "
        "trainings go on without it"
    )


def test_micro_batches_must_divide_a_step() -> None:
    assert "micro_batch=32 is larger than a step" in error("demo", sft__micro_batch=32)
    assert "is larger than a step, which has 64 rows" in error("demo", rank_grpo__micro_batch=65)
    message = error("demo", rank_grpo__micro_batch=24)
    assert "rank_grpo.micro_batch=24 does not divide the 64 rows" in message
    split = texts(check("demo", rank_grpo__micro_batch=16), OK)
    assert "64 lists per step, 64 in each of 1 processes, at most 16 at once" in split


def test_a_step_that_processes_cannot_share_is_refused() -> None:
    launch = {"train__launcher": "accelerate", "train__processes": 3}
    findings = check("demo", sft__batch_size=9, **launch)
    assert "3 processes cannot share rank_grpo.prompts_per_step=8" in texts(findings, REFUSED)
    engines = {"rank_grpo__vllm": "colocate", "rank_grpo__sampler": "free"}
    launch["train__processes"] = 2
    findings = check("demo", rank_grpo__vllm_tensor_parallel=4, **engines, **launch)
    assert "vllm_tensor_parallel=4 does not divide" in texts(findings, REFUSED)


def test_vllm_must_have_room_for_prompt_and_list() -> None:
    message = error(PAPER, rank_grpo__vllm_max_length=2048)
    assert message == (
        "rank_grpo.vllm_max_length=2048 is too short for prompts of up to 2048 and lists of up to "
        "1024 tokens; set it to 3072 or more, or to 0"
    )


def test_a_server_that_does_not_respond_is_missing() -> None:
    server = {"rank_grpo__vllm": "server", "rank_grpo__vllm_url": "http://127.0.0.1:9"}
    findings = check("demo", rank_grpo__sampler="free", **server)
    assert "64 lists per step with vLLM (server)" in texts(findings, OK)
    assert "no vLLM server responds at rank_grpo.vllm_url=http://127.0.0.1:9" in texts(
        findings, MISSING
    )


def test_a_list_must_fit_into_a_completion(tmp_path: Path) -> None:
    message = error("demo", model__max_completion_tokens=30)
    assert "a list of 20 lines needs at least 40 tokens" in message
    folder = save_model(tmp_path / "student")
    named: dict[str, Any] = {"model__base": str(folder), "model__max_prompt_tokens": 56}
    named["model__max_completion_tokens"] = 200
    missing = texts(check("demo", **named), MISSING)
    assert missing.startswith("lists: room: a list of 20 average catalog lines has ")
    assert "model.max_completion_tokens=200, so most would be cut" in missing
    named["model__max_completion_tokens"] = 60
    assert "a list of 20 lines needs at least" in error("demo", **named)


def test_a_gpu_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    gpu = type("Gpu", (), {"total_memory": 80e9})
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda number: gpu)
    launch = {"train__launcher": "accelerate", "train__processes": 4}
    missing = texts(check("demo", **launch), MISSING)
    assert "train: 4 processes need 4 GPUs, but this machine has 2" in missing
    assert "train.launcher=process trains on one GPU, but 2 are visible" in texts(
        check("demo"), MISSING
    )


def test_a_gpu_that_is_too_small_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    findings = {}
    for size in (24e9, 80e9):
        gpu = type("Gpu", (), {"total_memory": size})
        monkeypatch.setattr("torch.cuda.get_device_properties", lambda number, gpu=gpu: gpu)
        findings[size] = check(PAPER)
    assert "rank_grpo: a step needs about" in texts(findings[24e9], MISSING)
    assert "of a GPU, 12 lists at once" in texts(findings[80e9], OK)


def test_attention_that_is_not_installed_is_missing() -> None:
    missing = texts(check("demo", train__attn_implementation="flash_attention_2"), MISSING)
    assert "flash_attention_2 needs the package flash_attn" in missing


def test_a_template_without_the_conversation_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "student")
    set_template(folder, "<|user|>Recommend films.<|assistant|>")
    config = Config.model_validate(
        {"model": {"base": str(folder), "max_prompt_tokens": 64, "max_completion_tokens": 64}}
    )
    with pytest.raises(InputError, match="chat template"):
        check_training(config)


def test_a_model_that_the_hub_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    def unknown(*args: Any, **kwargs: Any) -> None:
        response = httpx2.Response(404, request=httpx2.Request("GET", "https://hub.example"))
        raise RepositoryNotFoundError("no such repository", response=response)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unknown)
    message = error("demo", model__base="nobody/nothing")
    assert message.startswith("model.base=nobody/nothing: nobody/nothing does not exist on the Hub")


def test_the_demo_lacks_nothing() -> None:
    findings = check("demo")
    assert {finding.state for finding in findings} == {OK}
    assert torch.cuda.device_count() == 0


def test_a_run_refuses_only_what_it_would_train() -> None:
    impossible = {"rank_grpo.micro_batch": 24}
    config = load("demo", impossible)
    with pytest.raises(ConfigError, match="does not divide the 64 rows"):
        refuse_impossible(config, {"sft", "rank_grpo"})
    refuse_impossible(config, {"ingest", "sft"})
    refuse_impossible(load(PAPER), {"sft", "rank_grpo"})
    with pytest.raises(ConfigError, match="is too short for prompts"):
        refuse_impossible(load(PAPER, {"rank_grpo.vllm_max_length": 1024}), {"rank_grpo"})
