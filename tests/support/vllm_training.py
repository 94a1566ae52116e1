"""Rank-GRPO with lists from vLLM on a CPU, run by an interpreter that has vLLM.

    python -m tests.support.vllm_training CHECKPOINT FOLDER ALGORITHM

trains in FOLDER/vllm, then again in FOLDER/own on the same lists without vLLM. FOLDER/calls.json
has the lists of each call of vLLM and their log-probabilities by vLLM, by the trained model of that
step, and by the initial model.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}

import torch
from torch import Tensor
from trl.generation.vllm_generation import VLLMGeneration
from vllm.model_executor.layers import utils

from convrec.config import Config
from convrec.models.load import load_checkpoint
from convrec.stages.rank_grpo import make_trainer as trainers
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.utils.progress import no_progress
from tests.support.trainings import FILMS, SAMPLES, VALIDATION_SAMPLES, config

SETTINGS = {"steps": 2, "learning_rate": 1e-2, "eval_every": 1, "save_every": 0, "sampler": "free"}
"""With a learning rate at which one step moves the probabilities of each list."""


def keep_weights_unpacked(layer: Any, *args: Any, **kwargs: Any) -> None:
    """Replaces the packing of weights for CPUs, after which vLLM cannot receive new ones."""
    layer.cpu_linear = torch.nn.functional.linear


def logps(model: Any, prompt: list[int], ids: list[int]) -> list[float]:
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 :]
    by_token = logits[:-1].float().log_softmax(-1).gather(1, torch.tensor(ids)[:, None])
    return [float(value) for value in by_token[:, 0]]


def train(checkpoint: Path, out: Path, **rank_grpo: Any) -> None:
    settings: Config = config(**SETTINGS, **rank_grpo)
    validation = SAMPLES[:VALIDATION_SAMPLES]
    index = TitleIndex(FILMS)
    train_rank_grpo(
        checkpoint, SAMPLES, index, settings, out, 5, no_progress, validation=validation
    )


def main(checkpoint: str, folder: str, algorithm: str) -> None:
    utils.dispatch_cpu_unquantized_gemm = keep_weights_unpacked
    torch.set_num_threads(1)
    initial = load_checkpoint(Path(checkpoint)).model
    calls: list[dict[str, Any]] = []
    generate = VLLMGeneration.generate

    def recorded(self: Any, prompts: Any, *args: Any, **kwargs: Any) -> Any:
        output = generate(self, prompts, *args, **kwargs)
        model, lists = self.accelerator.unwrap_model(self.model), output[1]
        rows = zip(prompts, lists, output[2], strict=True)
        calls.append(
            {
                "prompts": prompts,
                "lists": lists,
                "by_vllm": [[of_token[0] for of_token in row] for _, _, row in rows],
                "by_trained": [logps(model, *row) for row in zip(prompts, lists, strict=True)],
                "by_initial": [logps(initial, *row) for row in zip(prompts, lists, strict=True)],
            }
        )
        return output

    VLLMGeneration.generate = recorded
    train(Path(checkpoint), Path(folder) / "vllm", algorithm=algorithm, vllm="colocate")
    (Path(folder) / "calls.json").write_text(json.dumps(calls), encoding="utf-8")

    def replay(prompts: list[list[int]], trainer: Any, draws: Any = None) -> dict[str, Any]:
        lists = calls.pop(0)["lists"]
        return {"prompt_ids": prompts, "completion_ids": lists, "logprobs": None}

    vars(trainers)["make_rollout"] = lambda inputs: replay
    train(Path(checkpoint), Path(folder) / "own", algorithm=algorithm)


if __name__ == "__main__":
    main(*sys.argv[1:])
