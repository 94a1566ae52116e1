"""Trains a small model in every way that this machine's GPUs allow, and compares with its CPU.

    python -m benchmarks.gpu_check [--seconds 480] [--cpu]

Needs no network and no data: the model, its posts and its lists are made here. Parts:

samplers    rank_grpo with each sampler (free, lines, distinct, constrained, and vLLM where it is
            installed) in one process
launchers   sft and rank_grpo in one process, and with accelerate under ddp, fsdp and zero3 on all
            GPUs; rank_grpo is sharded only where vLLM samples
memory      sft and rank_grpo of a larger model in bf16, in one piece and recomputed

Losses in float32 must agree with those of the CPU (a rank_grpo step by its reward, too). For each
part the table has tokens a second (sft: all tokens; rank_grpo: those generated, while sampling) and
the peak that torch's allocator had handed out, next to the plan's for rows of maximum length; on
the CPU it is the resident memory of the process. vLLM's lists depend on the GPU, so only their
losses are checked for being finite.

Each part is a process with a time limit; one that fails does not hide the others. The exit code is
1 if a part failed. With --cpu the same runs on the CPU, to try the script. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.plan_memory import resident
from convrec.config import Config, Model
from convrec.training.job import Progress, TrainingJob, TrainingResult

PART_SECONDS = 120
LENGTHS = {"prompt": 64, "completion": 192}
FIRST = ("Quiet", "Silver", "Hidden", "Broken", "Golden", "Distant", "Burning", "Frozen", "Velvet")
SECOND = ("River", "Window", "Garden", "Letter", "Harbor", "Mirror", "Signal", "Orchard", "Comet")
TITLES = [f"{first} {second}" for first in FIRST for second in SECOND]
FILMS = [(str(i), title, 1950 + i % 70) for i, title in enumerate(TITLES)]
TASTES = ("rain", "space", "the sea", "old friends", "a heist", "snow", "music", "winter trains")
LIST, ROWS, GROUP = 5, 16, 8
LOSS_TOLERANCE, REWARD_TOLERANCE = 2e-3, 0.02
"""Largest relative difference of a loss of sft, and difference of the first reward, to the CPU."""


@dataclass(frozen=True)
class Part:
    """One training. `like` names the part on the CPU whose losses it must have."""

    name: str
    stage: str
    device: str = "gpu"
    launcher: str = "process"
    parallel: str = "ddp"
    processes: int = 1
    sampler: str = "lines"
    vllm: bool = False
    large: bool = False
    recompute: bool = False
    like: str = ""
    skip: str = ""


def parts(gpus: int, device: str) -> list[Part]:
    """All parts for a machine with so many GPUs, those that it cannot run with a reason."""
    no_vllm = "" if find_spec("vllm") and device == "gpu" else "vLLM is not installed"
    no_deepspeed = "" if find_spec("deepspeed") else "deepspeed is not installed"
    no_gpu = "" if device == "gpu" else "needs a GPU"
    several = gpus if device == "gpu" else 2
    found = [Part("cpu: sft", "sft", "cpu"), Part("cpu: rank_grpo, lines", "rank_grpo", "cpu")]
    found.append(Part("sft", "sft", device, like="cpu: sft"))
    for sampler in ("free", "lines", "distinct", "constrained"):
        like = "cpu: rank_grpo, lines" if sampler == "lines" else ""
        found.append(Part(f"rank_grpo, {sampler}", "rank_grpo", device, sampler=sampler, like=like))
    vllm = Part("rank_grpo, vLLM", "rank_grpo", device, sampler="free", vllm=True, skip=no_vllm)
    found.append(vllm)
    for parallel in ("ddp", "fsdp", "zero3"):
        launch: dict[str, Any] = {"launcher": "accelerate", "parallel": parallel}
        skip = "" if parallel == "ddp" else no_gpu or (no_deepspeed if parallel == "zero3" else "")
        launch |= {"device": device, "processes": several}
        found.append(Part(f"sft, {parallel}", "sft", like="cpu: sft", skip=skip, **launch))
        if parallel == "ddp":
            like = "cpu: rank_grpo, lines"
            found.append(Part(f"rank_grpo, {parallel}", "rank_grpo", like=like, **launch))
        else:
            name = f"rank_grpo, {parallel}, vLLM"
            found.append(replace(vllm, name=name, skip=skip or no_vllm, **launch))
    for stage in ("sft", "rank_grpo"):
        for recompute in (False, True):
            name = f"{stage}, large, bf16{', recomputed' if recompute else ''}"
            found.append(Part(name, stage, device, sampler="free", large=True, recompute=recompute))
    return found


def config(part: Part, base: Path) -> Config:
    """The settings of a part: float32 for comparisons, bf16 for the larger model."""
    return Config.model_validate(
        {
            "list_length": LIST,
            "model": {
                "base": str(base),
                "prompt": "plain",
                "max_prompt_tokens": LENGTHS["prompt"],
                "max_completion_tokens": LENGTHS["completion"] if part.large else 64,
                "bf16": part.large,
            },
            "train": {
                "launcher": part.launcher,
                "parallel": part.parallel,
                "processes": part.processes if part.launcher == "accelerate" else 0,
                "gradient_checkpointing": "on" if part.recompute else "off",
            },
            "sft": {
                "steps": 6 if part.large else 24,
                "batch_size": ROWS,
                "learning_rate": 1e-4 if part.large else 2e-3,
                "keep": "last",
            },
            "rank_grpo": {
                "steps": 3,
                "prompts_per_step": ROWS // GROUP,
                "group_size": GROUP,
                "learning_rate": 1e-4,
                "sampler": part.sampler,
                "vllm": "colocate" if part.vllm else "",
                "eval_every": 0,
                "save_every": 0,
            },
        }
    )


def demonstrations(*, long: bool) -> list[tuple[str, str]]:
    """Prompts, and lists of films; `long` ones have the maximum length."""
    draw, rows = random.Random(1), []
    for number in range(8 * ROWS):
        films = draw.sample(FILMS, LIST * (8 if long else 1))
        wish = f"{number}: something with {TASTES[number % len(TASTES)]}, please "
        lines = [f"{title} ({year})" for _, title, year in films]
        rows.append((wish * (9 if long else 1), "\n".join(lines)))
    return rows


def training_job(part: Part, base: Path, folder: Path) -> TrainingJob:
    """The rows of a part and where it works."""
    rows = demonstrations(long=part.large)
    frame = pl.DataFrame(rows, schema=["prompt", "completion"], orient="row")
    frames = {"train": frame, "validation": frame.clear()}
    if part.stage == "rank_grpo":
        liked = [{"title": title, "year": year} for _, title, year in FILMS[::3]]
        posts = pl.DataFrame(
            [
                {
                    "sample_id": str(number),
                    "context_id": str(number),
                    "conversation": prompt,
                    "prompt": None,
                    "seen": [{"title": FILMS[1][1], "year": FILMS[1][2]}],
                    "ground_truth": liked,
                }
                for number, (prompt, _) in enumerate(rows)
            ]
        )
        catalog = pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row")
        frames = {"train": posts, "validation": posts.clear(), "catalog": catalog}
    stage: Any = part.stage
    return TrainingJob(stage, config(part, base), frames, folder / "out", folder / "work", base)


def fit(job: TrainingJob, progress: Progress) -> TrainingResult:
    """What each process runs: the training, and its peak of memory."""
    import torch

    from convrec.stages.rank_grpo.build import fit_rank_grpo
    from convrec.stages.sft.build import fit_sft

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    figures, curves = (fit_sft if job.stage == "sft" else fit_rank_grpo)(job, progress)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resident("VmHWM")
    return {**figures, "peak_bytes": peak}, curves


def run_part(part: Part, folder: Path) -> None:
    """Train in this process, or in those that it launches, and print the result as JSON."""
    from convrec.training.launch import run_training

    base = folder / ("large" if part.large else "small" if part.stage == "sft" else "trained")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (Path(work) / "work").mkdir()
        job = training_job(part, base, Path(work))
        started = time.perf_counter()
        figures, curves = run_training(
            import_module("benchmarks.gpu_check").fit, job, lambda *said: None
        )
        seconds = time.perf_counter() - started
        if part.name == "cpu: sft":
            (Path(work) / "out").rename(folder / "trained")
    losses = curves.filter(pl.col("name") == "loss").sort("step")["value"].to_list()
    result: dict[str, Any] = {
        "losses": losses,
        "seconds": round(seconds, 1),
        "peak_gb": round(float(figures["peak_bytes"]) / 1e9, 3),
    }
    if part.device == "gpu":  # a CPU's peak has the libraries in it
        planned = planned_bytes(part, job.config, base, figures)
        result["planned_gb"] = round(planned / 1e9, 3)
    if part.stage == "sft":
        result["tokens_per_second"] = figures["tokens_per_second"]
    else:
        of = {name: curves.filter(pl.col("name") == name)["value"] for name in ("tokens", "reward")}
        result["reward"] = of["reward"].to_list()[0]
        generated = float(of["tokens"].sum()) * ROWS
        result["tokens_per_second"] = round(
            generated / max(float(figures["seconds_sampling"]), 1e-3)
        )
    print(json.dumps(result))


def planned_bytes(part: Part, settings: Config, base: Path, figures: dict[str, Any]) -> float:
    """The peak that the plan expects on each GPU, without vLLM, for rows of maximum length."""

    from convrec.models.hardware import has_bf16
    from convrec.operations.sizing.gpus import Machine
    from convrec.operations.sizing.overrides import Strategy
    from convrec.operations.sizing.plan import stage_setup
    from convrec.training.memory.estimate import estimate_memory
    from convrec.training.memory.model_shape import model_shape

    stage: Any = part.stage
    machine = Machine("GPU", part.processes, 1, 1, 1, 1)
    batch = ROWS if stage == "sft" else ROWS // GROUP
    parallel = part.parallel if part.launcher == "accelerate" else "ddp"
    shape = model_shape(str(base))
    setup = stage_setup(stage, shape, settings, batch, machine, Strategy(parallel, 0))
    bf16 = settings.model.bf16 and has_bf16()
    at_once = int(figures.get("micro_batch", 0))
    setup = replace(setup, vllm=0, bf16=bf16, recompute=part.recompute, micro_batch=at_once)
    return estimate_memory(shape, setup).peak


def make_models(folder: Path, *, is_large: bool) -> None:
    """The two models and their tokenizer, without a network."""
    from convrec.models.tiny import make_tiny

    texts = [text for row in demonstrations(long=True) for text in row]
    sizes = {"small": (128, 4), "large": (1024, 16) if is_large else (256, 4)}
    for name, (hidden, layers) in sizes.items():
        made = Model(base="tiny", hidden=hidden, layers=layers, vocabulary=2048)
        model, tokenizer = make_tiny(texts, made, 1)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def start(part: Part, folder: Path, limit: float) -> dict[str, Any]:
    """Run a part in its own process; the result, or the last line of its error."""
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--part", json.dumps(asdict(part))]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if part.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif part.processes == 1:
        environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(
            ","
        )[0]
    process = subprocess.Popen(
        [*command, "--folder", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, error = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"error": f"took longer than {limit:.0f} s"}
    if process.returncode:
        lines = [line for line in error.splitlines() if line.strip()]
        return {"error": lines[-1] if lines else f"exit code {process.returncode}"}
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def difference(part: Part, result: dict[str, Any], reference: dict[str, Any]) -> str:
    """What is wrong with a result; empty if nothing is."""
    if not result["losses"] or not all(map(math.isfinite, result["losses"])):
        return f"losses {result['losses']}"
    if not part.like:
        return ""
    if "losses" not in reference:
        return f"nothing to compare with: {part.like} failed"
    if part.stage == "sft":
        pairs = zip(result["losses"], reference["losses"], strict=True)
        result["loss_difference"] = max(abs(a - b) / abs(b) for a, b in pairs)
        wrong = result["loss_difference"] > LOSS_TOLERANCE
        return f"losses differ by {result['loss_difference']:.1e} from the CPU's" if wrong else ""
    result["loss_difference"] = abs(result["losses"][0] - reference["losses"][0])
    rewards = abs(result["reward"] - reference["reward"])
    wrong = max(rewards, result["loss_difference"]) > REWARD_TOLERANCE
    return f"the first reward differs by {rewards:.3f} from the CPU's" if wrong else ""


def print_row(part: Part, result: dict[str, Any]) -> None:
    def shown(name: str, form: str) -> str:
        return format(result[name], form) if result.get(name) is not None else ""

    state = "skipped" if part.skip else "FAILED" if "error" in result else "ok"
    cells = (
        f"{part.name:34}{state:8}{shown('seconds', '.0f'):>5}{shown('loss_difference', '.0e'):>8}"
        f"{shown('tokens_per_second', ',.0f'):>10}{shown('peak_gb', '.2f'):>8}"
        f"{shown('planned_gb', '.2f'):>8}"
    )
    print(cells + f"  {part.skip or result.get('error', '')}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="run all parts on the CPU")
    parser.add_argument("--seconds", type=float, default=470, help="time limit of all")
    parser.add_argument("--part-seconds", type=float, default=PART_SECONDS, help="of each part")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(Part(**json.loads(options.part)), Path(options.folder))
        return
    import torch

    gpus = torch.cuda.device_count()
    if not gpus and not options.cpu:
        sys.exit("torch sees no GPU on this machine; run this on one that has some, or add --cpu")
    deadline = time.monotonic() + options.seconds
    names = "the CPU" if options.cpu else f"{gpus} × {torch.cuda.get_device_name(0)}"
    print(f"{names}, torch {torch.__version__}\n")
    print(f"{'part':34}{'state':8}{'s':>5}{'loss±':>8}{'tokens/s':>10}{'peak GB':>8}{'plan GB':>8}")
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_models(Path(folder), is_large=not options.cpu)
        for part in parts(gpus, "cpu" if options.cpu else "gpu"):
            left = deadline - time.monotonic()
            result: dict[str, Any] = {}
            if not part.skip:
                too_late = {"error": "no time left"}
                limit = min(options.part_seconds, left)
                result = start(part, Path(folder), limit) if left > 1 else too_late
                if "error" not in result and (
                    wrong := difference(part, result, results.get(part.like, {}))
                ):
                    result["error"] = wrong
            results[part.name] = {**result, "skipped": part.skip}
            print_row(part, result)
    failed = [name for name, result in results.items() if "error" in result]
    print(
        f"\n{len(failed)} of {len(results)} parts failed" if failed else "\nall parts are in order"
    )
    print(json.dumps(results))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
