"""A dry run of how a training would be started: settings are refused, what is lacking is listed.

Everything is looked at that can be without GPUs and without vLLM: accelerate reads its file, TRL
takes its arguments, batches are shared out, and vLLM's limits are held beside the student's.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import httpx

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.training.parallel import lacking, parallel, refuse

OK, LACKS = "ok", "lacking here"


class Finding(NamedTuple):
    """One thing that was looked at: which part, `ok` or `lacking here`, and a phrase."""

    part: str
    state: str
    text: str


def check_training(config: Config) -> list[Finding]:
    """What was found, in order. Raises ConfigError for settings that can work nowhere."""
    import torch

    gpus = torch.cuda.device_count()
    found = _launch(config, gpus) if config.train.launcher == "accelerate" else []
    return [*found, _arguments(config), *(_vllm(config, gpus) if config.rank_grpo.vllm else [])]


def _launch(config: Config, gpus: int) -> list[Finding]:
    how = parallel(config, gpus)
    refuse(config, "sft", how)
    found = [
        Finding("train", OK, f"accelerate takes {config.train.parallel}, {how.processes} processes")
    ]
    try:
        refuse(config, "rank_grpo", how)
    except ConfigError as error:
        found.append(Finding("rank_grpo", "refused", str(error)))
    return found + [Finding("train", LACKS, text) for text in lacking(config, how, gpus)]


def _arguments(config: Config) -> Finding:
    """TRL's own checks of the arguments of rank_grpo, vLLM's among them."""
    from convrec.stages.rank_grpo.algorithms import trainer_arguments

    with tempfile.TemporaryDirectory() as folder:
        try:
            told = trainer_arguments(config, Path(folder), config.seed, installed=True)
        except ValueError as error:
            raise ConfigError(f"TRL refuses the settings of rank_grpo ({error})") from None
    lists = config.rank_grpo.prompts_per_step * config.rank_grpo.group_size
    how = f"with vLLM ({told.vllm_mode})" if told.use_vllm else "with this project's sampler"
    return Finding("rank_grpo", OK, f"TRL takes its arguments: {lists} lists a step {how}")


def _vllm(config: Config, gpus: int) -> list[Finding]:
    settings, model = config.rank_grpo, config.model
    room = model.max_prompt_tokens + model.max_completion_tokens
    found = [Finding("vllm", OK, f"it needs --max-model-len {room} or more")]
    if find_spec("vllm") is None:
        found.append(Finding("vllm", LACKS, "the package vllm is not installed"))
    if not gpus:
        found.append(Finding("vllm", LACKS, "it needs a GPU, and there is none here"))
    if settings.vllm == "server":
        found.append(_server(settings.vllm_url))
    return found


def _server(url: str) -> Finding:
    """Whether TRL's vLLM server answers."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health/", timeout=3, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kind = type(error).__name__
        return Finding("vllm", LACKS, f"nothing answers at rank_grpo.vllm_url={url} ({kind})")
    if answer.status_code != httpx.codes.OK:
        said = f"rank_grpo.vllm_url={url} answers with HTTP {answer.status_code}"
        return Finding("vllm", LACKS, f"{said}; start it with `trl vllm-serve --model FOLDER`")
    return Finding("vllm", OK, f"its server answers at {url}")
