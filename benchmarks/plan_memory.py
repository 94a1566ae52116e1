"""Planned beside measured memory: Qwen2-shaped models of several sizes trained here on the CPU.

    python benchmarks/plan_memory.py [--sizes 128x4 256x6 512x8]

Each model (hidden x layers, new weights) trains two steps of sft and of rank_grpo in a process of
its own, in float32 and with bf16 autocast where the processor has it. Measured is the peak of
resident memory above what was there before; a training of a few tokens goes first, so that what
the libraries take for themselves is not counted. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from convrec.config import Config
from convrec.sft.student import has_bf16
from convrec.sft.tiny import make_tiny
from convrec.sizing.layout import layout
from convrec.sizing.memory import Asked, memory
from convrec.training.given import Given

PROMPT, COMPLETION, BATCH, GROUP = 96, 128, 32, 8
TALK = "something slow and strange, with rain in every scene, please " * 40
FILMS = [(str(i), f"Film {i}", 1950 + i % 70) for i in range(200)]


def config(
    base: str, bf16: bool, batch: int = BATCH, prompt: int = PROMPT, completion: int = COMPLETION
) -> Config:
    """Two steps of a full batch, every row as long as it may be."""
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


def given(stage: Any, settings: Config, folder: Path) -> Given:
    """Rows of one full batch, or posts for the lists of one."""
    lessons = pl.DataFrame({"prompt": [TALK] * BATCH, "completion": [TALK] * BATCH})
    posts = pl.DataFrame(
        [
            {
                "conversation": TALK,
                "prompt": None,
                "seen": [{"title": "Film 1", "year": 1951}],
                "ground_truth": [{"title": "Film 2", "year": 1952}],
            }
        ]
        * BATCH
    )
    catalog = pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row")
    frames = {"train": lessons, "validation": lessons.clear()}
    if stage == "rank_grpo":
        frames = {"train": posts, "validation": posts.clear(), "catalog": catalog}
    return Given(stage, settings, frames, folder / "out", None, folder / "base")


def resident(name: str) -> float:
    """Bytes of this process: VmRSS now, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def one(stage: str, bf16: bool, folder: Path) -> None:
    """Train in this process, and print what its memory rose by."""
    from convrec.sft.build import fit_sft
    from convrec.training.build import fit_rank_grpo

    fit, base = fit_sft if stage == "sft" else fit_rank_grpo, str(folder / "base")
    fit(given(stage, config(base, bf16, GROUP, 16, 8), folder), lambda *said: None)
    gc.collect()
    asked, before = given(stage, config(base, bf16), folder), resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    fit(asked, lambda *said: None)
    print(json.dumps(resident("VmHWM") - before))


def measure(hidden: int, layers: int, stage: str, bf16: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = config("tiny", bf16)
        made = settings.model.model_copy(update={"hidden": hidden, "layers": layers})
        texts = [f"{title} ({year})" for _, title, year in FILMS] + [TALK]
        model, tokenizer = make_tiny(texts, made, 1)
        wide = model.config.to_dict() | {"vocab_size": made.vocabulary}
        model = type(model)(type(model.config).from_dict(wide))
        model.save_pretrained(folder / "base")
        tokenizer.save_pretrained(folder / "base")
        shape = layout(str(folder / "base"))
        command = [sys.executable, __file__, "--one", stage, str(int(bf16)), name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    planned = memory(
        shape,
        Asked(
            stage,
            BATCH,
            PROMPT,
            COMPLETION,
            bf16=bf16 and (stage == "sft" or shape.parameters >= 20_000_000),
            reference=stage == "rank_grpo",
            attention="eager" if bf16 else "sdpa",
        ),
    ).peak
    measured = float(json.loads(said.splitlines()[-1]))
    return {
        "parameters": shape.parameters,
        "stage": stage,
        "bf16": bf16,
        "planned_mb": round(planned / 1e6),
        "measured_mb": round(measured / 1e6),
        "planned_over_measured": round(planned / measured, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["128x4", "256x6", "512x8"])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        stage, bf16, folder = options.one
        one(stage, bool(int(bf16)), Path(folder))
        return
    rows = []
    for size in options.sizes:
        hidden, layers = map(int, size.split("x"))
        for stage in ("sft", "rank_grpo"):
            for bf16 in (False, True) if has_bf16() else (False,):
                rows.append(measure(hidden, layers, stage, bf16))
                print(rows[-1], flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
