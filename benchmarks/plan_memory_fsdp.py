"""Planned and measured memory under FSDP: two processes that hold half of each weight.

    python -m benchmarks.plan_memory_fsdp [--sizes 256x6x32 512x8x16 1024x8x8]

Each model (hidden x layers x rows per batch, new weights) is trained by sft on the CPU with
activation recomputation, in float32 and, if the processor supports it, in bf16. Measured is what
one process held in the second step: its shards of weights and optimizer, plus the maximum that
torch's allocator had handed out. What happens before and after (loading, gathering to save) uses
main memory on a machine with GPUs. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback

from benchmarks.plan_memory import (
    TEXT,
    config,
    longest_completion,
    model_folder,
    peak_allocated,
    training_job,
)
from convrec.models.hardware import has_bf16
from convrec.models.load import load_tokenizer
from convrec.models.prompts import encode_student_prompt
from convrec.training.job import Progress, TrainingJob, TrainingResult
from convrec.training.memory import estimate as memory
from convrec.training.memory.model_shape import model_shape
from tests.support.sharded_training import FSDP, fit_sharded, local_size, run_sharded


class Measured(TrainerCallback):
    """Bytes of one process in the second step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        if state.global_step == 1:
            states = at["optimizer"].optimizer.state.values()
            tensors = [*at["model"].parameters(), *(v for kept in states for v in kept.values())]
            self.bytes = sum(4 * local_size(tensor) for tensor in tensors)
            self.watched = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self.watched.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        if state.global_step == 2:
            self.watched.stop()
            self.bytes += peak_allocated(self.watched, self.folder)


def fit(job: TrainingJob, progress: Progress) -> TrainingResult:
    """What each process runs."""
    assert job.working_folder is not None
    with tempfile.TemporaryDirectory(dir=job.working_folder) as folder:
        measured = Measured(Path(folder))
        figures, curves = fit_sharded(job, progress, measured)
    return {**figures, "bytes": measured.bytes}, curves


def measure(size: str, bf16: bool) -> dict[str, Any]:
    hidden, layers, batch = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_folder(folder / "base", hidden, layers)
        settings = config(str(folder / "base"), bf16, batch)
        shared = settings.train.model_copy(update=FSDP)
        job = training_job("sft", settings.model_copy(update={"train": shared}), folder)
        fitted = import_module("benchmarks.plan_memory_fsdp").fit
        figures, _ = run_sharded(
            fitted, replace(job, working_folder=folder / "working"), lambda *said: None
        )
        shape = model_shape(str(folder / "base"))
        prompt = encode_student_prompt(load_tokenizer(folder / "base"), TEXT, settings)
        _, completion = longest_completion(settings)
    wanted = memory.TrainingSetup(
        "sft",
        batch // 2,
        len(prompt),
        completion,
        recompute=True,
        processes=2,
        sharded=True,
        bf16=bf16,
        attention="eager" if bf16 else "sdpa",
        fused=False,
    )
    planned, tensors = memory.estimate_memory(shape, wanted).peak, float(figures["bytes"])
    return {
        "parameters": shape.parameters,
        "rows": batch,
        "bf16": bf16,
        "planned_mb": round(planned / 1e6),
        "tensors_mb": round(tensors / 1e6),
        "planned_over_tensors": round(planned / tensors, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["256x6x32", "512x8x16", "1024x8x8"])
    rows = []
    for size in parser.parse_args().sizes:
        for bf16 in (False, True) if has_bf16() else (False,):
            rows.append(measure(size, bf16))
            print(rows[-1], flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
