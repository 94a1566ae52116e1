"""Time until the prompts of a Rank-GRPO training are tokenized: those it uses, and all of them.

    python benchmarks/prompt_tokenization.py [--samples 95753] [--used 16000] [--rounds 2]

Posts have the lengths of real ones (median 121 words), and each is answered by up to three users.
The first way is `training_data`: it draws the order and tokenizes the prompts that are used, each
once. The second tokenizes the prompt of every sample, as each process did before. Rounds alternate;
prints the medians and the ratio of the rounds' medians, on processor time. The last line is JSON.
`--model FOLDER` takes another tokenizer than that of the installed SmolLM2.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from convrec.config import Config
from convrec.models.load import load_tokenizer, student_folder
from convrec.models.prompts import encode_student_prompt, student_prompt
from convrec.stages.rank_grpo.inputs import training_data

TALK = "I loved the slow mood of that film and want something darker with a twist like Heat"
MEDIAN_WORDS, SPREAD = 121.5, 0.41
"""Median words of the authors' 76 conversations, and the deviation of their logarithm."""


def samples(count: int, rng: random.Random) -> list[dict[str, Any]]:
    truth = [{"title": "Heat", "year": 1995}]
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        size = round(rng.lognormvariate(log(MEDIAN_WORDS), SPREAD))
        row = {
            "conversation": f"{len(rows)}: {' '.join(rng.choices(TALK.split(), k=size))}",
            "prompt": None,
            "seen": [],
            "ground_truth": truth,
        }
        rows += [row] * rng.choice([1, 1, 2, 3])
    return rows[:count]


def measured(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=95_753)
    parser.add_argument("--used", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.model or student_folder("smollm2"))
    config = Config.model_validate(
        {
            "model": {"max_prompt_tokens": 1024},
            "rank_grpo": {"prompts_per_step": 8, "steps": options.used // 8},
        }
    )
    rows = samples(options.samples, random.Random(7))

    def all_prompts() -> None:
        for row in rows:
            text = student_prompt(row["conversation"], None, config)
            encode_student_prompt(tokenizer, text, config)

    ways = {
        "used": lambda: training_data(rows, tokenizer, config, 7),
        "all": all_prompts,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            seconds[name].append(measured(way))
    medians = {name: median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:5} {value:7.1f} s")
    ratio = medians["used"] / medians["all"]
    print(f"ratio {ratio:7.3f}")
    print(json.dumps({**{f"{n}_seconds": round(v, 2) for n, v in medians.items()}, "ratio": ratio}))


if __name__ == "__main__":
    main()
