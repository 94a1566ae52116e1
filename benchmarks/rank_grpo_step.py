"""The cost of a Rank-GRPO step compared with TRL's GRPO step, and of rank code with a plain loop.

    python benchmarks/rank_grpo_step.py [--prompts 8] [--group 8] [--micro-batch 64] [--rounds 21]
                                        [--threads 1]

A model of the demo's size (4 layers, hidden 128, a vocabulary of 4,096) and lists of 20 lines of
the demo catalog, some of them too short, too long, or with repeats.

**Step.** Both trainers take the same prompts and lists, alternating, in one process: rewards,
advantages, forward, backward and optimizer, with and without KL, both with the same micro-batches.
Sampling is the same in both and is left out, which makes the ratio stricter. Prints the median of
the rounds' ratios. Goal: at most 1.10.

**Ranks.** Segmentation and rewards of one batch, compared with a loop written like the published
code: each token is checked, and decoded unless it is the newline token; each line is cleaned by
regular expressions repeatedly, then compared title by title. It follows its own protocol, so the
two disagree about malformed lines. `warm` is as in training, where lines were parsed before
(scored lists are not cached, parsed lines are); `cold` has neither. Goal: 20 times.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from trl import GRPOTrainer

from convrec.catalog.load import load_catalog
from convrec.config import ROOT, Config
from convrec.metrics import relevance
from convrec.metrics.rewards import exp_inf_rewards
from convrec.models.generation.without_catalog import count_newlines
from convrec.models.hardware import keep_freed_memory
from convrec.models.load import Student, load_checkpoint
from convrec.models.tiny import make_tiny
from convrec.rank_grpo import segment_ranks
from convrec.stages.rank_grpo.inputs import prepare_inputs
from convrec.stages.rank_grpo.make_trainer import make_trainer
from convrec.stages.rank_grpo.reward_function import ListScorer
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import format_line
from convrec.training.metrics_log import MetricsLog

N = 20
Items = list[tuple[str, str, int | None]]
Row = dict[str, Any]


class World:
    """The catalog, a model, prompts with their ground truth, and lists for them."""

    def __init__(self, prompts: int, group: int, seed: int) -> None:
        rng = random.Random(seed)
        frame = load_catalog(ROOT / "catalog" / "demo.csv")[0]
        self.items: Items = list(frame.select("item_id", "title", "year").iter_rows())
        self.rows = [self._row(rng) for _ in range(prompts)]
        lines = [format_line(title, year) for _, title, year in self.items]
        texts = [*lines, *(row["conversation"] for row in self.rows)]
        filler = ["".join(rng.choices("abcdefghijklmnop", k=7)) for _ in range(20_000)]
        model = Config().model
        self.student = Student(*make_tiny([*texts * 20, " ".join(filler)], model, seed))
        self.texts = [self._text(lines, rng) for _ in range(prompts * group)]
        end = self.student.tokenizer.eos_token_id
        self.lists = [[*self.student.tokenizer.encode(text), end] for text in self.texts]
        self.group = group

    def _row(self, rng: random.Random) -> Row:
        drawn = rng.sample(self.items, 8)
        titled = [{"title": title, "year": year} for _, title, year in drawn]
        said = " and ".join(item["title"] for item in titled[:2])
        return {
            "sample_id": said,
            "context_id": said,
            "conversation": f"Looking for films like {said}, something slow and strange please",
            "prompt": None,
            "seen": titled[:2],
            "ground_truth": titled[2:],
        }

    @staticmethod
    def _text(lines: list[str], rng: random.Random) -> str:
        chosen = rng.sample(lines, rng.choice([N, N, N, N - 3, N + 2]))
        if rng.random() < 0.3:
            chosen[-1] = chosen[0]
        return "\n".join(chosen)

    def batch(self) -> list[Row]:
        """The dataset row of each list."""
        return [row for row in self.rows for _ in range(self.group)]


def trainer_of(
    world: World, algorithm: str, beta: float, micro_batch: int, folder: Path
) -> GRPOTrainer:
    config = Config.model_validate(
        {
            "model": {"prompt": "plain", "bf16": False},
            "rank_grpo": {
                "algorithm": algorithm,
                "beta": beta,
                "prompts_per_step": len(world.rows),
                "group_size": world.group,
                "micro_batch": micro_batch,
                "learning_rate": 1e-5,
                "steps": 1,
            },
        }
    )
    source = folder / "student"
    world.student.model.save_pretrained(source)
    world.student.tokenizer.save_pretrained(source)
    index, metrics_log = TitleIndex(world.items), MetricsLog(folder / algorithm)
    inputs = prepare_inputs(load_checkpoint(source), world.rows, [], [], index, config, 0)
    trainer = make_trainer(inputs, folder / algorithm, metrics_log, lambda *_: None)
    trainer.rollout_func = lambda prompts, _: {
        "prompt_ids": prompts,
        "completion_ids": world.lists,
        "logprobs": None,
    }
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.model.train()
    return trainer


def step(trainer: GRPOTrainer, rows: list[Row]) -> float:
    started = time.perf_counter()
    for _ in range(trainer.args.gradient_accumulation_steps):
        trainer.training_step(trainer.model, rows, None)
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return time.perf_counter() - started


def compare_steps(world: World, beta: float, micro_batch: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            name: trainer_of(world, name, beta, micro_batch, Path(folder))
            for name in ("grpo", "rank_grpo")
        }
        encoded = list(trainers["grpo"].train_dataset)
        rows = [row for row in encoded for _ in range(world.group)]
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        for turn in range(rounds + 2):
            for name in sorted(trainers, reverse=bool(turn % 2)):
                took = step(trainers[name], rows)
                if turn >= 2:
                    seconds[name].append(took)
    ratios = [a / b for a, b in zip(seconds["rank_grpo"], seconds["grpo"], strict=True)]
    return {
        "grpo_seconds": round(median(seconds["grpo"]), 4),
        "rank_grpo_seconds": round(median(seconds["rank_grpo"]), 4),
        "ratio": round(median(ratios), 4),
    }


# -- the plain loop ------------------------------------------------------------------------------

LINE = re.compile(r"(.+?)\s+\((\d{4})\)")


def plain_segments(ids: torch.Tensor, mask: torch.Tensor, tokenizer: Any) -> torch.Tensor:
    newline = tokenizer.encode("\n")[0]
    segments = torch.full_like(ids, -1)
    for row in range(ids.shape[0]):
        rank = 0
        for place in range(int(mask[row].sum())):
            token = int(ids[row, place].item())
            segments[row, place] = rank
            rank += 1 if token == newline else tokenizer.decode([token]).count("\n")
    return segments


def clean(text: str) -> str:
    before = None
    while text != before:
        before = text
        text = re.sub(r"\s+", " ", text).strip()
        text = re.sub(r"^[*_\-#]+|[*_\-#]+$", "", text).strip()
        text = re.sub(r"^\d+\s*[.)\-]\s+", "", text).strip()
    return text


def plain_rewards(text: str, row: Row, pairs: set[tuple[str, int]]) -> list[float]:
    items = []
    for line in text.split("\n"):
        if found := re.match(LINE, clean(line)):
            title = clean(re.sub(r"\([^()]*\)", "", found[1]))
            items.append((title, int(found[2])))
    seen = {item["title"] for item in row["seen"]}
    open_truths = [(clean(x["title"]).casefold(), x["year"]) for x in row["ground_truth"]]
    rewards = [0.0] * N
    for rank, (title, year) in enumerate(items[:N]):
        if title in seen or (title, year) not in pairs:
            continue
        for truth in open_truths:
            if truth[0] == clean(title).casefold() and abs(truth[1] - year) <= 2:
                rewards[rank] = 1.0
                open_truths.remove(truth)
                break
    return rewards


def compare_ranks(world: World, rounds: int) -> dict[str, Any]:
    tokenizer = world.student.tokenizer
    width = max(map(len, world.lists))
    ids = torch.tensor([x + [tokenizer.pad_token_id] * (width - len(x)) for x in world.lists])
    mask = torch.tensor([[1] * len(x) + [0] * (width - len(x)) for x in world.lists])
    counts = count_newlines(tokenizer, world.student.model.config.vocab_size)
    index, rows = TitleIndex(world.items), world.batch()
    pairs = {(title, year) for _, title, year in world.items if year is not None}

    def new() -> ListScorer:
        relevance._parse.cache_clear()
        relevance._key.cache_clear()
        return ListScorer(index, N, exp_inf_rewards, years=True)

    def score(scorer: ListScorer) -> tuple[torch.Tensor, list[list[float]]]:
        scorer._score_cached.cache_clear()
        rewards = [scorer.rank_rewards(x, row) for x, row in zip(world.texts, rows, strict=True)]
        return segment_ranks(ids, mask, counts), rewards

    scorer = new()

    def warm() -> tuple[torch.Tensor, list[list[float]]]:
        return score(scorer)

    def cold() -> tuple[torch.Tensor, list[list[float]]]:
        return score(new())

    def plain() -> tuple[torch.Tensor, list[list[float]]]:
        rewards = [plain_rewards(x, row, pairs) for x, row in zip(world.texts, rows, strict=True)]
        return plain_segments(ids, mask, tokenizer), rewards

    for mine, other in zip(warm()[1], plain()[1], strict=True):
        assert mine == other
    assert torch.equal(warm()[0], plain()[0])
    ways: dict[str, Callable[[], Any]] = {"plain": plain, "cold": cold, "warm": warm}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    found = {f"{name}_ms": round(1e3 * median(values), 3) for name, values in seconds.items()}
    for name in ("cold", "warm"):
        found[f"times_{name}"] = round(found["plain_ms"] / found[f"{name}_ms"], 1)
    return {"tokens": int(mask.sum()), **found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--micro-batch", type=int, default=0, help="lists at once; 0: all")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    world = World(options.prompts, options.group, options.seed)
    figures: dict[str, Any] = {"threads": options.threads, "rounds": options.rounds}
    figures["parameters"] = world.student.model.num_parameters()
    figures["ranks"] = compare_ranks(world, options.rounds)
    for beta in (0.0, 1e-3):
        figures[f"step_beta_{beta:g}"] = compare_steps(
            world, beta, options.micro_batch, options.rounds
        )
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
