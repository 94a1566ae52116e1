"""Supervised fine-tuning and a bare PyTorch loop: same model, rows, batch size and dtype.

    python benchmarks/sft_speed.py [--rows 800] [--rounds 3] [--base tiny smollm2]

The rows are posts of the demo with 20 films each. One way is `train_sft` for one epoch. The other
loads the same folder, iterates over the same batches (by length, padded on the right), calls the
model with its labels, clips, steps AdamW and saves. Each is a fresh process on one thread; imports
are not counted. SmolLM2 gets a twentieth of the rows, and is skipped if the extra `smollm2` is not
installed. The last line is JSON. Goal: at least 0.9 times the tokens per CPU second.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Any

from harness import Cost, child, figure, report, rounds, spent

BASES = {"tiny": 1, "smollm2": 20}


def examples(count: int) -> list[tuple[str, str]]:
    """(conversation, twenty lines) of the demo's world."""
    from convrec.demo.posts import generate_rows
    from convrec.demo.world import load_world

    rng, works = random.Random(7), load_world("films").works
    posts = generate_rows(7, {"train": count}, "films")
    return [
        (
            post["prompt"][0]["content"],
            "\n".join(f"{work.title} ({work.year})" for work in rng.sample(works, 20)),
        )
        for post in posts
        if isinstance(post, dict) and post.get("sample_id", "").startswith("demo_train")
    ][:count]


def settings(base: str) -> Any:
    from convrec.config import load

    return load("demo", {"model.base": base, "sft.epochs": 1, "model.max_completion_tokens": 400})


def make_folder(base: str, rows: list[tuple[str, str]], out: Path) -> None:
    from convrec.models.load import load_student, save_student

    texts = [text for row in rows for text in row]
    save_student(load_student(base, config=settings(base).model, texts=texts, seed=7), out)


def ours(folder: Path, rows: list[tuple[str, str]]) -> None:
    from convrec.stages.sft.train import train_sft

    config = settings(str(folder / "start"))
    spent(lambda: train_sft(rows, [], config, folder / "out", seed=7))


def bare(folder: Path, rows: list[tuple[str, str]]) -> None:
    import torch

    from convrec.models.hardware import has_bf16
    from convrec.models.load import load_checkpoint
    from convrec.stages.sft.data import encode_rows

    config = settings(str(folder / "start"))

    def work() -> None:
        model, tokenizer = load_checkpoint(folder / "start")
        data = encode_rows(rows, tokenizer, config)
        pairs = sorted(zip(*data.values(), strict=True), key=lambda pair: len(pair[0]))
        size = config.sft.batch_size
        batches = [pairs[start : start + size] for start in range(0, len(pairs), size)]
        random.Random(7).shuffle(batches)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
        model.train()
        for batch in batches:
            ids, labels = (
                torch.nn.utils.rnn.pad_sequence(
                    [torch.from_numpy(row).long() for row in column],
                    batch_first=True,
                    padding_value=padding,
                )
                for column, padding in zip(
                    zip(*batch, strict=True), (tokenizer.pad_token_id, -100), strict=True
                )
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=config.model.bf16 and has_bf16()):
                loss = model(input_ids=ids, labels=labels, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        model.save_pretrained(folder / "out")

    spent(work)


def compare(base: str, count: int, number: int) -> tuple[dict[str, Any], dict[str, list[Cost]]]:
    with tempfile.TemporaryDirectory() as temporary:
        make_folder(base, examples(count), Path(temporary) / "start")

        def way(name: str) -> Cost:
            return child(__file__, name, temporary, "--rows", str(count), OMP_NUM_THREADS="1")

        ways = {"train_sft": lambda: way("ours"), "bare": lambda: way("bare")}
        costs = rounds(ways, number, warm=False)
    pairs = list(zip(costs["bare"], costs["train_sft"], strict=True))
    speed = [bare.cpu / ours.cpu for bare, ours in pairs]
    clock = [bare.wall / ours.wall for bare, ours in pairs]
    what = f"SFT tokens per second of {base} vs. a bare loop"
    return figure(what, speed, 0.9, least=True, clock=clock), costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--base", nargs="+", choices=list(BASES), default=list(BASES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way = {"ours": ours, "bare": bare}[options.child[0]]
        way(Path(options.child[1]), examples(options.rows))
        return
    from convrec.errors import ConfigError

    figures, costs, left_out = [], {}, {}
    for base in options.base:
        try:
            made, costs[base] = compare(base, options.rows // BASES[base], options.rounds)
            figures.append(made)
        except ConfigError as error:
            left_out[base] = str(error)
            print(f"{base} is skipped: {error}", flush=True)
    report(figures, costs=costs, left_out=left_out)


if __name__ == "__main__":
    main()
