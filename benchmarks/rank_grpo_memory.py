"""Peak memory and time of a Rank-GRPO step in micro-batches, compared with one piece.

    python -m benchmarks.rank_grpo_memory MODEL [--lists 8] [--tokens 480] [--rounds 2]

Trains MODEL (a transformers folder, for example that of SmolLM2-135M) for a few steps of `--lists`
lists, half of whose `--tokens` tokens are the prompt. Lists never end early, so every step has the
same size. Each run has its own process, and a configuration alternates with the one-piece step of
the same weights. Prints

peak     resident memory of the whole process at its highest (VmHWM), libraries included
seconds  a step by the clock, and by the processor in brackets: median without the first step
ratio    processor seconds of the step divided by those of the one-piece step, median of the rounds

The last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import command, peak_mb
from convrec.config import Config

GROUP = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "full, one piece": {"micro_batch": 0},
    "full, 2 lists": {"micro_batch": 2},
    "full, 1 list": {"micro_batch": 1},
    "full, 2 lists, recomputed": {"micro_batch": 2, "recompute": "on"},
    "full, 1 list, recomputed": {"micro_batch": 1, "recompute": "on"},
    "full, 1 list, recomputed, reference in bf16": {
        "micro_batch": 1,
        "recompute": "on",
        "weights": "bfloat16",
    },
    "adapters, one piece": {"micro_batch": 0, "lora": 32},
    "adapters, 2 lists": {"micro_batch": 2, "lora": 32},
    "adapters, 1 list": {"micro_batch": 1, "lora": 32},
    "adapters, 1 list, recomputed": {"micro_batch": 1, "lora": 32, "recompute": "on"},
    "adapters, 2 lists, recomputed": {"micro_batch": 2, "lora": 32, "recompute": "on"},
    "adapters, 2 lists, base in bf16": {"micro_batch": 2, "lora": 32, "weights": "bfloat16"},
}
GOALS_GB = {"full": 4.0, "adapters": 2.5}
GOAL_RATIO = 1.25


def config(options: argparse.Namespace, setting: dict[str, Any]) -> Config:
    half = options.tokens // 2
    return Config.model_validate(
        {
            "model": {
                "base": options.model,
                "prompt": "plain",
                "max_prompt_tokens": half,
                "max_completion_tokens": options.tokens - half,
                "weights": setting.get("weights", "float32"),
            },
            "train": {"gradient_checkpointing": setting.get("recompute", "off")},
            "rank_grpo": {
                "steps": options.steps,
                "prompts_per_step": options.lists // GROUP,
                "group_size": GROUP,
                "sampler": "free",
                "micro_batch": setting["micro_batch"] or options.lists,
                "lora": {"rank": setting.get("lora", 0)},
                "eval_every": 0,
                "save_every": 0,
            },
        }
    )


def posts(number: int) -> list[dict[str, Any]]:
    """Posts that are longer than the longest prompt."""
    return [
        {
            "sample_id": str(i),
            "context_id": str(i),
            "conversation": f"{i}: something slow and strange, with rain in every scene. " * 60,
            "prompt": None,
            "seen": [{"title": "Film 1", "year": 1951}],
            "ground_truth": [{"title": "Film 2", "year": 1952}],
        }
        for i in range(number)
    ]


def never_end(make_rollout: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The rollout of a training, with lists of full length."""
    from convrec.models.generation.without_catalog import Unconstrained

    def make(inputs: Any) -> Any:
        rollout = make_rollout(inputs)
        rollout.sampler._constraint = Unconstrained(-1)
        return rollout

    return make


def train_once(options: argparse.Namespace, setting: dict[str, Any]) -> None:
    """Train in this process; print the peak and the seconds of each step after the first."""
    from convrec.stages.rank_grpo import make_trainer
    from convrec.stages.rank_grpo.train import train_rank_grpo
    from convrec.titles.index import TitleIndex

    vars(make_trainer)["make_rollout"] = never_end(make_trainer.make_rollout)
    films = [(str(i), f"Film {i}", 1950 + i) for i in range(50)]
    clock: list[tuple[float, float]] = []

    def progress(done: int, total: int, text: str) -> None:
        clock.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        figures, curves = train_rank_grpo(
            Path(options.model),
            posts(options.lists // GROUP),
            TitleIndex(films),
            config(options, setting),
            Path(folder) / "out",
            0,
            progress,
        )
    tokens = curves.filter(curves["name"] == "tokens")["value"].to_list()
    assert set(tokens) == {float(options.tokens - options.tokens // 2)}, tokens
    steps = [
        (after[0] - before[0], after[1] - before[1]) for before, after in itertools.pairwise(clock)
    ]
    parts = {name: figures[f"seconds_{name}"] for name in ("sampling", "loss")}
    print(json.dumps({"peak_gb": peak_mb() * 2**20 / 1e9, "steps": steps, **parts}))


def run(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """The figures of one run in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.rank_grpo_memory", options.model]
    for option in ("lists", "tokens", "steps"):
        arguments += [f"--{option}", str(getattr(options, option))]
    said = command([*arguments, "--child", json.dumps(SETTINGS[name])]).stdout
    figures: dict[str, Any] = json.loads(said.splitlines()[-1])
    wall, cpu = (median(step[i] for step in figures["steps"]) for i in (0, 1))
    print(f"  {name}: {figures['peak_gb']:.2f} GB, {wall:.1f} s, {cpu:.1f} s CPU", flush=True)
    return {"peak_gb": figures["peak_gb"], "wall": wall, "cpu": cpu}


def compare(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """One configuration in alternation with the one-piece step."""
    kind = name.partition(",")[0]
    one_piece = f"{kind}, one piece"
    pairs = []
    for _ in range(options.rounds):
        first = run(options, one_piece) if name != one_piece and not options.alone else None
        pairs.append((run(options, name), first))
    peak = max(mine["peak_gb"] for mine, _ in pairs)
    ratios = [mine["cpu"] / whole["cpu"] for mine, whole in pairs if whole is not None]
    return {
        "name": name,
        "peak_gb": round(peak, 2),
        "peak_goal_gb": GOALS_GB[kind],
        "seconds": round(median(mine["wall"] for mine, _ in pairs), 2),
        "cpu_seconds": round(median(mine["cpu"] for mine, _ in pairs), 2),
        "ratio": round(median(ratios), 3) if ratios else None,
        "ratio_goal": GOAL_RATIO,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("--lists", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=480)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--alone", action="store_true", help="measure no ratio")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train_once(options, json.loads(options.child))
        return
    rows = [compare(options, name) for name in options.only]
    print(f"\n{'':46}{'peak GB':>9}{'seconds':>16}{'ratio':>7}")
    for row in rows:
        seconds = f"{row['seconds']:.1f} ({row['cpu_seconds']:.1f})"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"{row['name']:46}{row['peak_gb']:9.2f}{seconds:>16}{ratio:>7}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
