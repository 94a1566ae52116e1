"""Lists sampled by vLLM through TRL: its arguments, the rollout, and the lists of a validation.

TRL starts the engine (`colocate`) or connects to its server (`server`), and copies the trained
weights to it before each generation, sharded or not. Prompts are token ids already, so they pass
through a `rollout_func`: without one, TRL would hand them to the tokenizer as text.

vLLM computes in another precision and with other kernels than the training. TRL multiplies the loss
of each token by the ratio of both probabilities, cut at 3 (`token_truncate`). Its own default
leaves out each list whose product of ratios exceeds 3, which most long lists do sooner or later.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from accelerate.utils import gather_object

from convrec.config import Config, RankGrpo
from convrec.errors import ConfigError, ConvrecError, TrainingError
from convrec.training.launch_settings import check_vllm_installed, uneven_engines_error
from convrec.utils.error_text import type_and_first_line

CORRECTION = "token_truncate"
"""TRL's correction of the difference between vLLM's and the training's probabilities."""

SERVER_TIMEOUT = 240.0
"""Seconds to wait until the server responds, TRL's default."""


def vllm_arguments(config: Config, processes: int, *, assume_vllm: bool = False) -> dict[str, Any]:
    """TRL's arguments for vLLM; none without `rank_grpo.vllm`.

    Raises TrainingError if vLLM is not installed, unless `assume_vllm`; ConfigError if the
    processes cannot share engines evenly.
    """
    settings = config.rank_grpo
    if not settings.vllm:
        return {}
    if not assume_vllm:
        check_vllm_installed(settings)
    if message := uneven_engines_error(settings, processes):
        raise ConfigError(message)
    return {
        "use_vllm": True,
        "vllm_mode": settings.vllm,
        "vllm_server_base_url": settings.vllm_url.rstrip("/") or None,
        "vllm_server_timeout": SERVER_TIMEOUT,
        "vllm_tensor_parallel_size": settings.vllm_tensor_parallel,
        "vllm_gpu_memory_utilization": settings.vllm_memory,
        "vllm_max_model_length": max_length(config),
        "vllm_importance_sampling_mode": CORRECTION,
    }


def max_length(config: Config) -> int:
    """Tokens of a prompt and its list for which vLLM reserves memory."""
    model = config.model
    return config.rank_grpo.vllm_max_length or model.max_prompt_tokens + model.max_completion_tokens


class VllmRollout:
    """A TRL `rollout_func` that samples one list per prompt (token ids) with vLLM.

    A list ends with the first of the trainer's EOS tokens. Random numbers are vLLM's own, so lists
    depend on the number of processes and differ after a resume.
    """

    rng_state_after_step = None  # nothing is drawn from torch's generator

    def __call__(self, prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        """The lists, and the log-probability with which vLLM sampled each token."""
        group = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
        _, lists, logps, _ = trainer.vllm_generation.generate(prompts, None, group)
        ends = [_end(ids, trainer.eos_token_ids) for ids in lists]
        return {
            "prompt_ids": prompts,
            "completion_ids": [ids[:end] for ids, end in zip(lists, ends, strict=True)],
            "logprobs": [
                [of_token[0] for of_token in row[:end]]
                for row, end in zip(logps, ends, strict=True)
            ],
        }


def stop_at_eos(trainer: Any) -> None:
    """Let vLLM end a list at the trainer's EOS tokens, whatever tokenizer it has loaded."""
    trainer.vllm_generation.generation_kwargs["stop_token_ids"] = trainer.eos_token_ids


def sample_texts(trainer: Any, prompts: Sequence[list[int]]) -> list[str]:
    """One list for each prompt from vLLM with the current weights; every process must call this.

    The processes share the prompts evenly, as tensor parallelism and the server expect, so some
    prompts may be sampled twice.
    """
    if not prompts:
        return []
    _update_weights(trainer)
    count, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    share = -(-len(prompts) // count)
    local = [prompts[i % len(prompts)] for i in range(rank * share, (rank + 1) * share)]
    _, lists, _, _ = trainer.vllm_generation.generate(local, None, 1)
    ends = (_end(ids, trainer.eos_token_ids) for ids in lists)
    shortened = [ids[:end] for ids, end in zip(lists, ends, strict=True)]
    texts = trainer.processing_class.batch_decode(shortened, skip_special_tokens=True)
    gathered: list[str] = gather_object(texts)
    return gathered[: len(prompts)]


def _update_weights(trainer: Any) -> None:
    """Copy the weights to vLLM unless it has them, as TRL does before a generation."""
    step = trainer.state.global_step
    if trainer._last_loaded_step != step:
        trainer.vllm_generation.sync_weights()
        trainer._last_loaded_step = step


def _end(ids: Sequence[int], eos_ids: Sequence[int]) -> int:
    """Number of tokens up to the first EOS, inclusive; all without one."""
    return next((i for i, token in enumerate(ids, start=1) if token in eos_ids), len(ids))


@contextmanager
def one_line_errors(settings: RankGrpo) -> Iterator[None]:
    """Raise TrainingError for what fails in vLLM, or between TRL and its server."""
    try:
        yield
    except ConvrecError:
        raise
    except Exception as error:
        if not settings.vllm or not _is_from_vllm(error):
            raise
        text = type_and_first_line(error).rstrip(".")
        if settings.vllm == "server":
            message = (
                f"TRL cannot use the vLLM server at rank_grpo.vllm_url={settings.vllm_url} ({text})"
                "; it must run on its own GPUs, reach this machine, and serve one training at a "
                "time: restart it, then run again"
            )
        else:
            message = (
                f"vLLM failed in the training process ({text}); change rank_grpo.vllm_memory="
                f"{settings.vllm_memory:g} or rank_grpo.vllm_max_length, or use a vLLM server"
            )
        raise TrainingError(message) from error


def _is_from_vllm(error: Exception) -> bool:
    """Whether an error passed through TRL's vLLM code."""
    files = (frame.filename for frame in traceback.extract_tb(error.__traceback__))
    return any("/trl/generation/" in name.replace("\\", "/") for name in files)


def stop_vllm(trainer: Any) -> None:
    """Stop an engine in this process, which frees its memory for evaluation."""
    generation: Any = getattr(trainer, "vllm_generation", None)
    if getattr(generation, "llm", None) is not None:
        generation.llm.llm_engine.engine_core.shutdown()
        generation.llm = None
        gc.collect()
