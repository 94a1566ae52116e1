"""Planned and measured memory: Qwen2-shaped models of several sizes, trained on this CPU.

    python benchmarks/plan_memory.py [--sizes 128x4x32 256x6x32 512x8x32 1024x8x8]

Each model (hidden x layers x rows per batch, new weights) trains two steps of sft and of rank_grpo,
in float32 and, if the processor supports it, with bf16 autocast. Each measurement has its own
process and starts after a training of a few tokens, so that memory of the libraries is not counted.
Measured are

tensors   the maximum that torch's allocator had handed out, by its profiler: what a plan predicts
returned  the rise of resident memory, with every freed block returned to the system at once
resident  the same during a normal training, which keeps freed memory for the next tensor

The last line is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from convrec.config import Config, Model
from convrec.models.hardware import has_bf16
from convrec.models.tiny import make_tiny
from convrec.training.job import TrainingJob
from convrec.training.memory.estimate import TrainingSetup, estimate_memory
from convrec.training.memory.model_shape import model_shape

PROMPT, COMPLETION, GROUP = 96, 128, 8
MEASURES = ("tensors", "returned", "resident")
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
"""glibc returns each block of 256 KiB or more as soon as it is freed."""

TEXT = "something slow and strange, with rain in every scene, please " * 40
FILMS = [(str(i), f"Film {i}", 1950 + i % 70) for i in range(200)]


def config(
    base: str, bf16: bool, batch: int, prompt: int = PROMPT, completion: int = COMPLETION
) -> Config:
    """Two steps of a full batch with rows of maximum length."""
    return Config.model_validate(
        {
            "model": {
                "base": base,
                "prompt": "plain",
                "max_prompt_tokens": prompt,
                "max_completion_tokens": completion,
                "bf16": bf16,
            },
            "sft": {"epochs": 2, "batch_size": batch},
            "rank_grpo": {
                "steps": 2,
                "prompts_per_step": batch // GROUP,
                "group_size": GROUP,
                "sampler": "free",
                "eval_every": 0,
                "save_every": 0,
            },
        }
    )


def training_job(stage: Any, settings: Config, folder: Path) -> TrainingJob:
    """Rows of one full batch, or the posts for its lists."""
    rows = settings.sft.batch_size
    demonstrations = pl.DataFrame({"prompt": [TEXT] * rows, "completion": [TEXT] * rows})
    posts = pl.DataFrame(
        [
            {
                "conversation": TEXT,
                "prompt": None,
                "seen": [{"title": "Film 1", "year": 1951}],
                "ground_truth": [{"title": "Film 2", "year": 1952}],
            }
        ]
        * rows
    )
    catalog = pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row")
    frames = {"train": demonstrations, "validation": demonstrations.clear()}
    if stage == "rank_grpo":
        frames = {"train": posts, "validation": posts.clear(), "catalog": catalog}
    return TrainingJob(stage, settings, frames, folder / "out", None, folder / "base")


def resident(name: str) -> float:
    """Bytes of this process: VmRSS (now) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def one(stage: str, bf16: bool, batch: int, measured: str, folder: Path) -> None:
    """Train in this process and print the measured bytes."""
    import convrec.stages.rank_grpo.train
    import convrec.stages.sft.train
    from convrec.stages.rank_grpo.build import fit_rank_grpo
    from convrec.stages.sft.build import fit_sft

    modules, kept = (
        (convrec.stages.sft.train, convrec.stages.rank_grpo.train),
        convrec.stages.sft.train.keep_freed_memory,
    )
    for module in modules:
        module.keep_freed_memory = lambda: None
    fit, base = fit_sft if stage == "sft" else fit_rank_grpo, str(folder / "base")
    fit(training_job(stage, config(base, bf16, GROUP, 16, 8), folder), lambda *said: None)
    gc.collect()
    job = training_job(stage, config(base, bf16, batch), folder)
    if measured == "tensors":
        print(json.dumps(allocated(lambda: fit(job, lambda *said: None), folder)))
        return
    if measured == "resident":
        for module in modules:
            module.keep_freed_memory = kept
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    fit(job, lambda *said: None)
    print(json.dumps(resident("VmHWM") - before))


def allocated(work: Callable[[], object], folder: Path) -> int:
    """The maximum bytes that torch's allocator had handed out while `work` ran."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    return peak_allocated(watched, folder)


def peak_allocated(watched: Any, folder: Path) -> int:
    """The same for a finished profile; its trace is written to `folder`."""
    watched.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    blocks = [(x["ts"], x["args"]) for x in events if x.get("name") == "[memory]"]
    held: dict[int, int] = {}
    now = most = 0
    for _, block in sorted(blocks, key=lambda entry: entry[0]):
        if block["Bytes"] > 0:
            held[block["Addr"]] = block["Bytes"]
            now += block["Bytes"]
        else:
            now -= held.pop(block["Addr"], 0)  # 0: a block of the previous training
        most = max(most, now)
    return most


def model_folder(folder: Path, hidden: int, layers: int) -> None:
    """A Qwen2-shaped model with new weights and the full vocabulary, and its tokenizer."""
    made = Model(base="tiny", hidden=hidden, layers=layers)
    texts = [f"{title} ({year})" for _, title, year in FILMS] + [TEXT]
    model, tokenizer = make_tiny(texts, made, 1)
    wide = model.config.to_dict() | {"vocab_size": made.vocabulary}
    type(model)(type(model.config).from_dict(wide)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(size: str, stage: str, bf16: bool) -> dict[str, Any]:
    hidden, layers, batch = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_folder(folder / "base", hidden, layers)
        shape = model_shape(str(folder / "base"))
        found = {}
        for measured in MEASURES:
            command = [sys.executable, __file__, "--one", stage, str(int(bf16)), str(batch)]
            said = subprocess.run(
                [*command, measured, name],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **RETURNED},
            ).stdout
            found[measured] = float(json.loads(said.splitlines()[-1]))
    planned = estimate_memory(
        shape,
        TrainingSetup(
            stage,
            batch,
            PROMPT,
            COMPLETION,
            bf16=bf16,
            reference=stage == "rank_grpo",
            attention="eager" if bf16 else "sdpa",
            fused=False,
        ),
    ).peak
    return {
        "parameters": shape.parameters,
        "rows": batch,
        "stage": stage,
        "bf16": bf16,
        "planned_mb": round(planned / 1e6),
        **{f"{measured}_mb": round(value / 1e6) for measured, value in found.items()},
        **{f"planned_over_{measured}": round(planned / found[measured], 2) for measured in found},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", nargs="*", default=["128x4x32", "256x6x32", "512x8x32", "1024x8x8"]
    )
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        stage, bf16, batch, measured, folder = options.one
        one(stage, bool(int(bf16)), int(batch), measured, Path(folder))
        return
    rows = []
    for size in options.sizes:
        for stage in ("sft", "rank_grpo"):
            for bf16 in (False, True) if has_bf16() else (False,):
                if bf16 and stage == "rank_grpo" and int(size.split("x")[0]) <= 512:
                    continue  # a model this small is sampled and trained in float32
                rows.append(measure(size, stage, bf16))
                print(rows[-1], flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
