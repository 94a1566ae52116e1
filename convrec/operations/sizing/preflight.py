"""A dry run of a training's launch: reports what works, and what this machine lacks."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import httpx

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.training.launch_settings import check_stage, launch_settings, missing_requirements

OK, MISSING, REFUSED = "ok", "lacking here", "refused"


class Finding(NamedTuple):
    """The result of one check: the part, its state (OK, MISSING or REFUSED), and a phrase."""

    part: str
    state: str
    text: str


def check_training(config: Config) -> list[Finding]:
    """All findings, in order. Raises ConfigError for settings that cannot work on any machine.

    Raises InputError for a base model that cannot be trained.
    """
    import torch

    from convrec.models.checks import check_base_model

    gpus = torch.cuda.device_count()
    findings = [Finding("model", OK, text) for text in check_base_model(config)]
    if config.train.launcher == "accelerate":
        findings += _check_launch(config, gpus)
    findings.append(_check_arguments(config))
    return [*findings, *(_check_vllm(config, gpus) if config.rank_grpo.vllm else [])]


def _check_launch(config: Config, gpus: int) -> list[Finding]:
    settings = launch_settings(config, gpus)
    check_stage(config, "sft", settings)
    text = f"accelerate accepts {config.train.parallel}, {settings.processes} processes"
    findings = [Finding("train", OK, text)]
    try:
        check_stage(config, "rank_grpo", settings)
    except ConfigError as error:
        findings.append(Finding("rank_grpo", REFUSED, str(error)))
    missing = missing_requirements(config, settings, gpus)
    return findings + [Finding("train", MISSING, text) for text in missing]


def _check_arguments(config: Config) -> Finding:
    """TRL's own checks of the arguments of rank_grpo, including vLLM's."""
    from convrec.stages.rank_grpo.arguments import trainer_arguments

    with tempfile.TemporaryDirectory() as folder:
        try:
            arguments = trainer_arguments(config, Path(folder), config.seed, assume_vllm=True)
        except ValueError as error:
            raise ConfigError(f"TRL refuses the settings of rank_grpo ({error})") from None
    lists = config.rank_grpo.prompts_per_step * config.rank_grpo.group_size
    sampler = f"vLLM ({arguments.vllm_mode})" if arguments.use_vllm else "this project's sampler"
    text = f"TRL accepts its arguments: {lists} lists per step with {sampler}"
    return Finding("rank_grpo", OK, text)


def _check_vllm(config: Config, gpus: int) -> list[Finding]:
    settings, model = config.rank_grpo, config.model
    max_length = model.max_prompt_tokens + model.max_completion_tokens
    findings = [Finding("vllm", OK, f"needs --max-model-len {max_length} or more")]
    if find_spec("vllm") is None:
        findings.append(Finding("vllm", MISSING, "the package vllm is not installed"))
    if not gpus:
        findings.append(Finding("vllm", MISSING, "needs a GPU, but this machine has none"))
    if settings.vllm == "server":
        findings.append(_check_vllm_server(settings.vllm_url))
    return findings


def _check_vllm_server(url: str) -> Finding:
    """Whether TRL's vLLM server responds."""
    try:
        response = httpx.get(f"{url.rstrip('/')}/health/", timeout=3, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kind = type(error).__name__
        return Finding("vllm", MISSING, f"no server responds at rank_grpo.vllm_url={url} ({kind})")
    if response.status_code != httpx.codes.OK:
        status = f"rank_grpo.vllm_url={url} responds with HTTP {response.status_code}"
        return Finding("vllm", MISSING, f"{status}; start it with `trl vllm-serve --model FOLDER`")
    return Finding("vllm", OK, f"its server responds at {url}")
