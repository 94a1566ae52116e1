"""Tokens per second of the project's decode loop and of transformers' `generate`, in one run.

    python benchmarks/sampling.py [--prompts 8] [--group 8] [--tokens 100] [--rounds 9]

A random model of the demo's size (4 layers, hidden 128, a vocabulary of 4,096) answers short texts
at temperature 1, in three ways: `generate` with G samples per prompt, the free loop, and 20 lines
of the demo catalog without repeats. Random weights rarely end a list, so the first two generate the
same number of tokens. Rounds alternate; prints medians, and the median of the rounds' ratios. The
last line is JSON. Goal: the free loop at 1.6 times `generate` or more.

All ways run on `--threads 1` by default: with two spinning threads, `generate` loses most of its
time as soon as another process runs, which would flatter the comparison (our loop always samples a
small model on one thread). `--checkpoint FOLDER` measures a trained model, whose lists end by
themselves.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from convrec.catalog.load import load_catalog
from convrec.config import ROOT, Model
from convrec.models.generation.catalog_constraint import CatalogConstraint
from convrec.models.generation.catalog_lines import CatalogLines
from convrec.models.generation.loop import DecodingConstraint, generate_lists
from convrec.models.generation.without_catalog import Unconstrained
from convrec.models.hardware import keep_freed_memory
from convrec.models.load import Student, load_checkpoint
from convrec.models.prompts import encode_prompt
from convrec.models.tiny import make_tiny
from convrec.titles.line_format import format_line

Way = Callable[[], int]
LINES = 20


def catalog_lines() -> list[str]:
    frame = load_catalog(ROOT / "catalog" / "demo.csv")[0]
    return [format_line(title, year) for title, year in frame.select("title", "year").iter_rows()]


def tiny(lines: list[str], rng: random.Random) -> Student:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(6000)]
    texts = [" ".join(rng.sample(words, 30)) for _ in range(4000)]
    lists = ["\n".join(rng.sample(lines, LINES)) for _ in range(2000)]
    return Student(*make_tiny([*texts, *lists], Model(), 0))


def stock(student: Student, prompts: list[list[int]], group: int, tokens: int) -> int:
    """Tokens that `generate` generated, each list up to its end-of-sequence token."""
    model, tokenizer = student
    batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt", padding_side="left")
    with torch.no_grad():
        ids = model.generate(
            **batch,
            do_sample=True,
            top_k=0,
            num_return_sequences=group,
            max_new_tokens=tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
    ends = (ids[:, batch["input_ids"].shape[1] :] == tokenizer.eos_token_id).int()
    return int(((ends.cumsum(1) - ends) == 0).sum())


def own(
    student: Student,
    prompts: list[list[int]],
    group: int,
    width: int,
    constraint: DecodingConstraint,
) -> int:
    draws = torch.rand(len(prompts) * group, width)
    return sum(
        len(x.ids)
        for x in generate_lists(*student, prompts, constraint, draws=draws, samples=group)
    )


def ways(
    student: Student, prompts: list[list[int]], lines: list[str], group: int, tokens: int
) -> dict[str, Way]:
    catalog = CatalogLines(student.tokenizer, lines)
    constrained = CatalogConstraint(
        catalog, LINES, catalog.excluded([()] * len(prompts) * group, LINES)
    )
    free = Unconstrained(student.tokenizer.eos_token_id)
    max_tokens = catalog.max_tokens(LINES)
    return {
        "generate": lambda: stock(student, prompts, group, tokens),
        "free": lambda: own(student, prompts, group, tokens, free),
        "constrained": lambda: own(student, prompts, group, max_tokens, constrained),
    }


def measure(each: dict[str, Way], rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Tokens per second by way and round; the first round warms up and is dropped."""
    rates: dict[str, list[float]] = {name: [] for name in each}
    written: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, way in each.items():
            started = time.perf_counter()
            written[name] = way()
            if number:
                rates[name].append(written[name] / (time.perf_counter() - started))
    return rates, written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="torch threads, for every way")
    parser.add_argument("--checkpoint", type=Path, help="a trained model instead of a random one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    rng, lines = random.Random(0), catalog_lines()
    student = load_checkpoint(options.checkpoint) if options.checkpoint else tiny(lines, rng)
    student.model.eval()
    texts = [f"more like {', '.join(rng.sample(lines, 4))} please" for _ in range(options.prompts)]
    prompts = [encode_prompt(student.tokenizer, text, 96) for text in texts]
    each = ways(student, prompts, lines, options.group, options.tokens)
    rates, written = measure(each, options.rounds)
    figures = {name: round(median(values)) for name, values in rates.items()}
    pairs = zip(rates["free"], rates["generate"], strict=True)
    ratio = round(median(a / b for a, b in pairs), 2)
    for name, rate in figures.items():
        print(f"{name:12} {rate:7,} tokens/s  {written[name]:6,} tokens")
    print(f"free / generate: {ratio}")
    print(
        json.dumps(
            {
                "prompts": options.prompts,
                "group": options.group,
                "threads": options.threads,
                "rounds": options.rounds,
                "tokens_per_second": figures,
                "tokens": written,
                "ratio": ratio,
            }
        )
    )


if __name__ == "__main__":
    main()
