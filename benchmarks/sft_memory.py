"""Peak memory and speed of supervised fine-tuning, and of a bare loop with the same micro-batches.

    python -m benchmarks.sft_memory [--model FOLDER] [--rows 8] [--tokens 240] [--steps 3]
                                    [--micro-batch 0] [--rounds 2] [--adapters RANK]

Both train a 135M model (SmolLM2, from a folder or the extra `smollm2`) for some steps of `rows`
sequences of `tokens` tokens each, half of them completion. One way is `train_sft`; the other is a
loop of PyTorch over the same micro-batches: the model called with labels, AdamW, clipping. They
alternate, each in a process of its own, which prints its peak resident memory. Loading the model
and saving the checkpoint are part of the memory, not of the time. The last line is JSON. Goals: at
most 4 GB (10^9 bytes), and at least .95 times the tokens per CPU second of the loop.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from harness import ROOT, command, figure, peak_mb, report

GOAL_GB, GOAL_SPEED = 4.0, 0.95


def settings(options: argparse.Namespace) -> Any:
    from convrec.config import load

    return load(
        "demo",
        {
            "model.base": options.model,
            "model.prompt": "plain",
            "model.max_prompt_tokens": options.tokens // 2,
            "model.max_completion_tokens": options.tokens // 2,
            "sft.batch_size": options.rows,
            "sft.micro_batch": options.micro_batch,
            "sft.steps": options.steps,
            "sft.lora.rank": options.adapters,
        },
    )


def encoded(options: argparse.Namespace, tokenizer: Any) -> dict[str, list[Any]]:
    """Rows of exactly `tokens` tokens, half of them with labels, with EOS at the end."""
    draw, half = random.Random(7), options.tokens // 2
    usable = [token for token in range(len(tokenizer)) if token not in tokenizer.all_special_ids]
    count, eos = options.rows * options.steps, tokenizer.eos_token_id
    ids = [[*draw.choices(usable, k=2 * half - 1), eos] for _ in range(count)]
    labels = [[-100] * half + row[half:] for row in ids]
    return {"input_ids": list(map(np.int32, ids)), "labels": list(map(np.int32, labels))}


def ours(options: argparse.Namespace, folder: Path) -> tuple[float, int]:
    """CPU seconds of all steps by `train_sft`, and its micro-batch."""
    from transformers import TrainerCallback

    from convrec.stages.sft import make_trainer, train

    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            times.append(time.process_time())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.process_time())

    def clocked(inputs: Any, callbacks: list[Any]) -> Any:
        return make_trainer.make_trainer(inputs, [*callbacks, Clock()])

    vars(train)["encode_rows"] = lambda rows, tokenizer, config: (
        encoded(options, tokenizer) if rows else {"input_ids": [], "labels": []}
    )
    vars(train)["make_trainer"] = clocked
    rows = [("", "")] * (options.rows * options.steps)
    figures, _ = train.train_sft(rows, [], settings(options), folder / "out", seed=7)
    return times[-1] - times[0], int(figures["micro_batch"])


def bare(options: argparse.Namespace, folder: Path) -> tuple[float, int]:
    """The same by a loop of PyTorch."""
    import torch

    from convrec.models.adapters import lora_config
    from convrec.models.hardware import has_bf16, keep_freed_memory
    from convrec.models.load import load_student

    keep_freed_memory()
    config = settings(options)
    model, tokenizer = load_student(options.model, config=config.model)
    if adapters := lora_config(config.sft.lora, model, "sft"):
        from peft import get_peft_model

        model = get_peft_model(model, adapters)
    data = encoded(options, tokenizer)
    rows = list(zip(*data.values(), strict=True))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    model.train()
    started = time.process_time()
    for first in range(0, len(rows), options.rows):
        step = rows[first : first + options.rows]
        for start in range(0, len(step), options.micro_batch):
            part = step[start : start + options.micro_batch]
            ids, labels = (torch.tensor([row[i] for row in part]) for i in (0, 1))
            with torch.autocast("cpu", torch.bfloat16, enabled=config.model.bf16 and has_bf16()):
                loss = model(input_ids=ids, labels=labels, use_cache=False).loss
            (loss * len(part) / len(step)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.process_time() - started
    model.save_pretrained(folder / "out")
    return seconds, options.micro_batch


def child(way: str, options: argparse.Namespace, micro_batch: int) -> dict[str, float]:
    values = {**vars(options), "micro_batch": micro_batch}
    values.pop("child")
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    script = [sys.executable, "-m", "benchmarks.sft_memory", "--child", way, *arguments]
    done = command(script, PYTHONPATH=str(ROOT))
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{way}: {result['seconds']:.1f} s CPU, {result['peak_gb']:.2f} GB", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2", help="a folder, or smollm2")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=240)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--micro-batch", type=int, default=0, help="0: as convrec chooses")
    parser.add_argument("--adapters", type=int, default=0, help="rank; 0 trains all weights")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", choices=["ours", "bare"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        with tempfile.TemporaryDirectory() as folder:
            way = {"ours": ours, "bare": bare}[options.child]
            seconds, micro_batch = way(options, Path(folder))
        peak_gb = peak_mb() * 2**20 / 1e9
        print(json.dumps({"seconds": seconds, "micro_batch": micro_batch, "peak_gb": peak_gb}))
        return
    found: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    micro_batch = options.micro_batch
    for _ in range(options.rounds):
        found["ours"].append(child("ours", options, micro_batch))
        micro_batch = int(found["ours"][-1]["micro_batch"])
        found["bare"].append(child("bare", options, micro_batch))
    pairs = list(zip(found["bare"], found["ours"], strict=True))
    what = f"SFT, {options.rows} × {options.tokens} tokens in micro-batches of {micro_batch}"
    peaks = [each["peak_gb"] for each in found["ours"]]
    speeds = [bare["seconds"] / ours["seconds"] for bare, ours in pairs]
    report(
        [
            figure(f"{what}: peak memory", peaks, GOAL_GB, "GB"),
            figure(
                f"{what}: tokens per CPU second vs. a bare loop", speeds, GOAL_SPEED, least=True
            ),
            figure(
                f"{what}: peak memory of the loop", [b["peak_gb"] for b, _ in pairs], None, "GB"
            ),
        ],
        costs=found,
    )


if __name__ == "__main__":
    main()
