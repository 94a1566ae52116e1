"""Three films, six conversations, and trainings of a micro student on them.

    python -m tests.support.trainings KIND CHECKPOINT OUT FOLDER STEP

trains like `train`, and kills itself with SIGKILL once STEP is logged (0: never).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from convrec.config import Config
from convrec.models.load import load_checkpoint
from convrec.stages.rank_grpo import make_trainer as trainers
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.stages.sft.train import train_sft
from convrec.titles.index import TitleIndex
from convrec.training.metrics_log import METRICS

FILMS = [("1", "Heat", 1995), ("2", "Alien", 1979), ("3", "Big", 1988)]
SAMPLES: list[dict[str, Any]] = [
    {
        "sample_id": str(i),
        "context_id": str(i),
        "split": "train",
        "conversation": f"something like {title}",
        "prompt": None,
        "seen": [{"title": title, "year": year}],
        "ground_truth": [{"title": "Alien", "year": 1979}],
    }
    for i, (_, title, year) in enumerate(FILMS * 2)
]
VALIDATION_SAMPLES = 4
ROWS = [(f"something like {title}", f"Big (1988)\n{title} ({year})") for _, title, year in FILMS]

KINDS: dict[str, dict[str, Any]] = {
    "rank_grpo": {"rank_grpo": {"beta": 1e-3, "eval_every": 3, "exact": 1.0, "early": -1.0}},
    "grpo": {"rank_grpo": {"algorithm": "grpo", "beta": 0.0}},
    "twice": {"rank_grpo": {"iterations": 2, "lora": {"rank": 2, "dropout": 0.1}, "exact": 1.0}},
    "parts": {"rank_grpo": {"micro_batch": 2, "beta": 1e-3, "exact": 1.0, "early": -1.0}},
    "fixed": {
        "rank_grpo": {"prompts_per_step": 3, "beta": 1e-3, "eval_every": 3, "exact": 1.0},
    },
    "fixed_token": {"rank_grpo": {"prompts_per_step": 3, "reduction": "token", "beta": 1e-3}},
    "fixed_parts": {
        "rank_grpo": {"prompts_per_step": 4, "micro_batch": 2, "beta": 1e-3, "exact": 1.0},
    },
    "sft": {"sft": {"epochs": 4, "learning_rate": 1e-2, "batch_size": 2}},
    "sft_steps": {
        "sft": {
            "steps": 13,
            "learning_rate": 1e-2,
            "schedule": "drop",
            "drop_step": 9,
            "batch_size": 2,
            "micro_batch": 1,
            "eval_every": 2,
            "save_every": 3,
        }
    },
    "sft_lora": {"sft": {"epochs": 4, "batch_size": 2, "lora": {"rank": 2, "dropout": 0.1}}},
}


class FixedRollout:
    """A rollout whose lists depend only on the prompt, the step and the row of the batch."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.rng_state_after_step = None

    def __call__(self, prompts: list[list[int]], trainer: Any, draws: Any = None) -> dict[str, Any]:
        tokenizer, step = trainer.processing_class, trainer.state.global_step
        rows = self.batch_size if draws is None else VALIDATION_SAMPLES
        first = trainer.accelerator.process_index * rows // trainer.accelerator.num_processes
        lists = []
        for row, prompt in enumerate(prompts, start=first):
            draw = random.Random(f"{prompt} {step} {row}")
            lines = draw.choices(["Heat (1995)", "Alien (1979)", "Big (1988)", "?"], k=4)
            text = "\n".join(lines[: draw.choice([2, 3, 3, 4])])
            lists.append([*tokenizer.encode(text), tokenizer.eos_token_id])
        return {"prompt_ids": prompts, "completion_ids": lists, "logprobs": None}


def config(**rank_grpo: Any) -> Config:
    settings = {"steps": 2, "prompts_per_step": 2, "group_size": 2, "learning_rate": 1e-3}
    return Config.model_validate(
        {
            "list_length": 3,
            "model": {
                "prompt": "plain",
                "max_prompt_tokens": 32,
                "max_completion_tokens": 80,
                "bf16": False,
            },
            "rank_grpo": settings | rank_grpo,
        }
    )


def train(
    kind: str,
    checkpoint: Path,
    out: Path,
    folder: Path | None,
    on_step: Callable[[int], None] = lambda step: None,
) -> list[tuple[int, str, float]]:
    """Train one of KINDS in the working folder; returns the curves without times."""
    torch.set_num_threads(1)
    kind_settings = KINDS[kind]
    settings = config(steps=8, save_every=2, **kind_settings.get("rank_grpo", {}))

    if kind.startswith("fixed"):
        batch_size = settings.rank_grpo.prompts_per_step * settings.rank_grpo.group_size
        vars(trainers)["make_rollout"] = lambda inputs: FixedRollout(batch_size)

    def progress(done: int, total: int, text: str) -> None:
        on_step(done)

    if kind.startswith("sft"):
        values = settings.model_dump() | {"sft": kind_settings["sft"]}
        values["model"] |= {"base": str(checkpoint)}
        settings = Config.model_validate(values)
        _, curves = train_sft(
            ROWS * 3, ROWS, settings, out, seed=5, progress=progress, working_folder=folder
        )
    else:
        _, curves = train_rank_grpo(
            checkpoint,
            SAMPLES,
            TitleIndex(FILMS),
            settings,
            out,
            5,
            progress,
            validation=SAMPLES[:VALIDATION_SAMPLES],
            working_folder=folder,
        )
    return [point for point in curves.iter_rows() if "seconds" not in point[1]]


def weights(folder: Path) -> torch.Tensor:
    """All weights of a checkpoint as one vector."""
    model = load_checkpoint(folder).model
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def logged_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics log without times."""
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if "seconds" not in name}
        for line in lines
    ]


def main(kind: str, checkpoint: str, out: str, folder: str, last: str) -> None:
    def die(step: int) -> None:
        if step == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    train(kind, Path(checkpoint), Path(out), Path(folder), die)


if __name__ == "__main__":
    main(*sys.argv[1:])
