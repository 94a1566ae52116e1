"""Planned and measured memory of trainings on this CPU, in one piece, in parts, and recomputed.

    python -m benchmarks.plan_memory [--models 128x4 1024x8 smollm2] [--cases NAME ...]
    python -m benchmarks.plan_memory --models /path/to/a/model --tokens 240 240

A model is `hidden x layers` (Qwen2-shaped, new weights, a vocabulary of 4,096), `smollm2`, or a
folder. It trains two steps of 8 rows of maximum length of sft and of rank_grpo in each case:
micro-batches, recomputed activations, adapters, weights in bf16. Each measurement has its own
process. Measured are

tensors   the maximum that torch's allocator had handed out, by its profiler: what a plan predicts
peak      with --resident, resident memory of the whole process at its highest (VmHWM) during a
          normal training; the libraries are a third of a gigabyte of it

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.rank_grpo_memory import never_end
from convrec.config import Config, Model
from convrec.models.hardware import has_bf16
from convrec.models.load import load_tokenizer
from convrec.models.prompts import encode_completion, encode_student_prompt
from convrec.models.tiny import make_tiny
from convrec.training.job import TrainingJob
from convrec.training.memory.estimate import estimate_memory
from convrec.training.memory.micro_batch import fixed_recompute, training_setup
from convrec.training.memory.model_shape import model_shape

ROWS, GROUP = 8, 8
PROMPT, COMPLETION = 64, 64

CASES: dict[str, dict[str, Any]] = {
    "one piece": {},
    "4 rows": {"micro_batch": 4},
    "1 row": {"micro_batch": 1},
    "recomputed": {"recompute": True},
    "2 rows, recomputed": {"micro_batch": 2, "recompute": True},
    "2 rows, adapters": {"micro_batch": 2, "lora": 16},
    "2 rows, adapters, recomputed": {"micro_batch": 2, "lora": 16, "recompute": True},
    "2 rows, adapters, bf16 base": {"micro_batch": 2, "lora": 16, "weights": "bfloat16"},
    "2 rows, bf16 reference": {"micro_batch": 2, "weights": "bfloat16"},
}
SFT_ONLY_SAME = "2 rows, bf16 reference"
"""A case that only differs for rank_grpo, which has a reference model."""

TEXT = "something slow and strange, with rain in every scene, please " * 40
FILMS = [(str(i), f"Film {i}", 1950 + i % 70) for i in range(200)]


def config(
    base: str,
    bf16: bool,
    batch: int = ROWS,
    prompt: int = PROMPT,
    completion: int = COMPLETION,
    *,
    micro_batch: int = 0,
    recompute: bool = False,
    lora: int = 0,
    weights: str = "float32",
) -> Config:
    """Two steps of a full batch with rows of maximum length."""
    shared = {"micro_batch": micro_batch or batch, "lora": {"rank": lora}}
    return Config.model_validate(
        {
            "model": {
                "base": base,
                "prompt": "plain",
                "max_prompt_tokens": prompt,
                "max_completion_tokens": completion,
                "bf16": bf16,
                "weights": weights,
            },
            "train": {"gradient_checkpointing": "on" if recompute else "off"},
            "sft": {"epochs": 2, "batch_size": batch, "keep": "last", **shared},
            "rank_grpo": {
                "steps": 2,
                "prompts_per_step": batch // GROUP,
                "group_size": GROUP,
                "sampler": "free",
                "eval_every": 0,
                "save_every": 0,
                **shared,
            },
        }
    )


def training_job(stage: Any, settings: Config, folder: Path) -> TrainingJob:
    """Rows of one full batch, or the posts for its lists."""
    rows, (completion, _) = settings.sft.batch_size, longest_completion(settings)
    demonstrations = pl.DataFrame({"prompt": [TEXT] * rows, "completion": [completion] * rows})
    posts = pl.DataFrame(
        [
            {
                "sample_id": str(number),
                "context_id": str(number),
                "conversation": TEXT,
                "prompt": None,
                "seen": [{"title": "Film 1", "year": 1951}],
                "ground_truth": [{"title": "Film 2", "year": 1952}],
            }
            for number in range(rows)
        ]
    )
    catalog = pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row")
    frames = {"train": demonstrations, "validation": demonstrations.clear()}
    if stage == "rank_grpo":
        frames = {"train": posts, "validation": posts.clear(), "catalog": catalog}
    base = Path(settings.model.base)
    return TrainingJob(stage, settings, frames, folder / "out", None, base)


def longest_completion(settings: Config) -> tuple[str, int]:
    """The start of TEXT that fits into a completion, and its tokens with EOS."""
    tokenizer, words = load_tokenizer(Path(settings.model.base)), TEXT.split()
    limit, number = settings.model.max_completion_tokens, len(words)
    while True:
        text = " ".join(words[:number])
        length = len(encode_completion(tokenizer, text, len(words) * 8))
        if length <= limit:
            return text, length
        number -= max(1, (length - limit) // 4)


def one(stage: str, base: str, values: dict[str, Any], measured: str, folder: Path) -> None:
    """Train in this process and print the measured bytes."""
    import convrec.stages.rank_grpo.train
    import convrec.stages.sft.train
    from convrec.stages.rank_grpo import make_trainer
    from convrec.stages.rank_grpo.build import fit_rank_grpo
    from convrec.stages.sft.build import fit_sft

    vars(make_trainer)["make_rollout"] = never_end(make_trainer.make_rollout)
    fit = fit_sft if stage == "sft" else fit_rank_grpo
    job = training_job(stage, config(base, **values), folder)
    if measured == "resident":
        fit(job, lambda *said: None)
        print(json.dumps(resident("VmHWM")))
        return
    for module in (convrec.stages.sft.train, convrec.stages.rank_grpo.train):
        vars(module)["keep_freed_memory"] = lambda: None
    print(json.dumps(allocated(lambda: fit(job, lambda *said: None), folder)))


def resident(name: str) -> float:
    """Bytes of this process: VmRSS (now) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


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


def base_folder(model: str, folder: Path) -> str:
    """The folder of a model that is named as on the command line; a new one is made in `folder`."""
    from convrec.models.load import student_folder

    size = model.split("x")
    if not all(part.isdigit() for part in size):
        return str(student_folder(model))
    model_folder(folder / "base", *map(int, size))
    return str(folder / "base")


def measured_bytes(stage: str, base: str, values: dict[str, Any], what: str, folder: Path) -> float:
    arguments = [stage, base, json.dumps(values), what, str(folder)]
    command = [sys.executable, "-m", "benchmarks.plan_memory", "--one", *arguments]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(json.loads(said.splitlines()[-1]))


def measure(
    model: str, stage: Any, case: str, values: dict[str, Any], *, with_peak: bool
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        base = base_folder(model, Path(name))
        shape, settings = model_shape(base), config(base, **values)
        tokenizer, plain = load_tokenizer(Path(base)), settings.model.max_completion_tokens
        setup = training_setup(
            shape,
            settings,
            stage,
            ROWS,
            prompt=len(encode_student_prompt(tokenizer, TEXT, settings)),
            completion=longest_completion(settings)[1] if stage == "sft" else plain,
            bf16=values["bf16"],
            attention="eager" if values["bf16"] else "sdpa",
            micro_batch=getattr(settings, stage).micro_batch,
            recompute=bool(fixed_recompute(settings)),
        )
        planned = estimate_memory(shape, setup).peak
        tensors = measured_bytes(stage, base, values, "tensors", Path(name))
        row: dict[str, Any] = {
            "model": model,
            "parameters": shape.parameters,
            "stage": stage,
            "case": case,
            "bf16": values["bf16"],
            "planned_mb": round(planned / 1e6),
            "tensors_mb": round(tensors / 1e6),
            "planned_over_tensors": round(planned / tensors, 3),
        }
        if with_peak:
            peak = measured_bytes(stage, base, values, "resident", Path(name))
            row["peak_mb"] = round(peak / 1e6)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=["128x4", "1024x8", "smollm2"])
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--stages", nargs="*", default=["sft", "rank_grpo"])
    parser.add_argument("--tokens", nargs=2, type=int, default=[PROMPT, COMPLETION])
    parser.add_argument("--bf16", nargs="*", type=int, default=[0, 1] if has_bf16() else [0])
    parser.add_argument("--resident", action="store_true")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        stage, base, values, measured, folder = options.one
        one(stage, base, json.loads(values), measured, Path(folder))
        return
    rows = []
    prompt, completion = options.tokens
    for model in options.models:
        for stage in options.stages:
            for bf16 in map(bool, options.bf16):
                if bf16 and stage == "rank_grpo" and model[0].isdigit() and int(model[:3]) < 512:
                    continue  # a model this small is sampled and trained in float32
                for case in options.cases:
                    if stage == "sft" and case == SFT_ONLY_SAME:
                        continue
                    values = {"bf16": bf16, "prompt": prompt, "completion": completion}
                    values |= CASES[case]
                    rows.append(measure(model, stage, case, values, with_peak=options.resident))
                    print(rows[-1], flush=True)
    ratios = [row["planned_over_tensors"] for row in rows]
    print(f"planned / tensors: {min(ratios)} to {max(ratios)}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
