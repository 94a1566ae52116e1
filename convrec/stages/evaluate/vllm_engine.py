"""Lists sampled by vLLM, and what `evaluate.vllm` needs.

Each process of a launch has an engine of its own, on its own GPU. Random numbers are vLLM's: each
list has its own seed, so its text does not depend on the other lists, up to rounding.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.utils.distributed import process_count
from convrec.utils.progress import Progress, no_progress

LOG = "vllm.log"
"""Output of vLLM, in the workspace."""

_CAUSED_BY_ANOTHER = "RuntimeError: Engine core initialization failed"
"""An error that refers to the error before it."""

_MAX_SEED = 2**62
_SEED_STEP = 1_000_003


def evaluate_requirements(config: Config) -> list[str]:
    """What this machine lacks to evaluate with these settings, as phrases; empty if nothing."""
    if not config.evaluate.vllm:
        return []
    import torch

    missing = []
    if find_spec("vllm") is None:
        missing.append("evaluate.vllm=true needs the package vllm, which is not installed")
    if not torch.cuda.is_available():
        missing.append("evaluate.vllm=true needs a GPU, but this machine has none")
    return missing


def check_evaluation(config: Config) -> None:
    """Raise TrainingError if this machine cannot evaluate with these settings."""
    if missing := evaluate_requirements(config):
        raise TrainingError(f"{missing[0]}; set evaluate.vllm=false, or use another machine")


def sample_with_vllm(
    folder: Path,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    config: Config,
    *,
    eos: int,
    working_folder: Path,
    progress: Progress = no_progress,
    python: str = sys.executable,
    engine: Mapping[str, Any] | None = None,
) -> list[list[int]]:
    """Token ids of one list for each prompt (token ids) and seed, with its EOS if it has one.

    `folder` holds a whole model. `python` is the interpreter of an environment with vLLM, `engine`
    further arguments of its `LLM`. Raises TrainingError if vLLM fails; its output stays in
    `working_folder`.
    """
    from convrec.models.generation import vllm_process
    from convrec.training.launch import run_command
    from convrec.training.launch_errors import last_error

    request = {
        "engine": {**_engine_arguments(folder, config), **(engine or {})},
        "sampling": {
            "temperature": config.evaluate.temperature,
            "max_tokens": config.model.max_completion_tokens,
            "stop_token_ids": [eos],
        },
        "prompts": [list(ids) for ids in prompts],
        "seeds": list(seeds),
    }
    with tempfile.TemporaryDirectory(dir=working_folder) as files:
        request_file, result_file = Path(files) / "request.json", Path(files) / "result.json"
        request_file.write_text(json.dumps(request), encoding="utf-8")
        script = [str(vllm_process.__file__), str(request_file), str(result_file)]
        log = working_folder / f"{os.environ.get('RANK', '0')}-{LOG}"
        status = run_command([python, "-P", *script], _environment(), log, progress)
        if status:
            text = log.read_text(encoding="utf-8", errors="replace")
            reason = last_error(text.replace(_CAUSED_BY_ANOTHER, ""))
            raise TrainingError(
                f"vLLM failed with exit status {status}: {reason.rstrip('.')}; see {log}, or set "
                "evaluate.vllm=false"
            )
        lists: list[list[int]] = json.loads(result_file.read_text(encoding="utf-8"))
    return lists


def list_seeds(seed: int, count: int) -> list[int]:
    """The seeds of `count` lists."""
    return [(seed * _SEED_STEP + number) % _MAX_SEED for number in range(count)]


def _engine_arguments(folder: Path, config: Config) -> dict[str, Any]:
    model = config.model
    shared = config.rank_grpo.vllm_tensor_parallel if process_count() == 1 else 1
    return {
        "model": str(folder),
        "dtype": "bfloat16" if model.bf16 else "float32",
        "max_model_len": model.max_prompt_tokens + model.max_completion_tokens,
        "tensor_parallel_size": shared,
    }


def _environment() -> dict[str, str]:
    """This process's environment without its launcher's variables, and with only its own GPU."""
    from convrec.training.launch import TORCHRUN_VARIABLES

    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in TORCHRUN_VARIABLES and not name.startswith(("ACCELERATE_", "TORCHELASTIC_"))
    }
    if process_count() > 1:
        devices = [name for name in inherited.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        inherited["CUDA_VISIBLE_DEVICES"] = devices[rank] if rank < len(devices) else str(rank)
    return inherited
