"""Sample the lists of an evaluation: in this process, in several, or with vLLM.

With `train.launcher=accelerate`, batches are dealt to the processes, one GPU each, and the lists
are gathered. A list has its own random numbers and its own batch, so the number of processes does
not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch

from convrec.config import Config
from convrec.models.generation.recommend import ServedCatalog, recommend_texts
from convrec.models.generation.sample import SampledList, decode_completion, sample_lists
from convrec.models.hardware import computes_in_bf16
from convrec.models.load import (
    Student,
    convert_weights,
    is_adapter,
    load_checkpoint,
    load_tokenizer,
    save_student,
)
from convrec.models.prompts import encode_student_prompt
from convrec.stages.base import StepContext
from convrec.stages.evaluate.vllm_engine import list_seeds, sample_with_vllm
from convrec.training.job import Figures, FitFunction, TrainingJob, TrainingResult
from convrec.training.launch import run_training
from convrec.utils.distributed import process_count
from convrec.utils.progress import Progress
from convrec.utils.workspace import workspace

_TIMEOUT = timedelta(days=7)
"""Time that a process waits for the lists of the slowest one."""

_COLUMNS = {"prompt": pl.Int64, "draw": pl.Int32, "text": pl.String, "cut": pl.Boolean}


class Sampled(NamedTuple):
    """The lists of each prompt, and figures about how they were made."""

    lists: list[list[SampledList]]
    figures: dict[str, float | int | str]


def run_sampling(
    fit: FitFunction, ctx: StepContext, config: Config, frames: dict[str, pl.DataFrame], model: Path
) -> Sampled:
    """Run `fit` on the frame `prompts` and others, in as many processes as there is work for."""
    count = frames["prompts"].height
    config = _with_launch(config, count)
    job = TrainingJob("evaluate", config, frames, Path(), ctx.workspace, model)
    figures, rows = run_training(fit, job, ctx.progress)
    lists: list[list[SampledList]] = [[] for _ in range(count)]
    for prompt, _, text, cut in rows.sort("prompt", "draw").iter_rows():
        lists[prompt].append(SampledList(text, cut))
    cut_share = rows["cut"].mean() if rows.height else 0.0
    return Sampled(
        lists,
        {
            "engine": "vllm" if config.evaluate.vllm else "convrec",
            **figures,
            "processes": figures.get("processes", 1),
            "cut lists": round(float(cut_share), 4),  # type: ignore[arg-type]
        },
    )


def fit_lists(job: TrainingJob, progress: Progress) -> TrainingResult:
    """Sample `evaluate.samples` lists for the frame `prompts`: prompt, and seen if constrained.

    The frame `lines` has the catalog's. Weights are bf16 where a training computes in bf16.
    """
    assert job.checkpoint is not None
    share, config = _join_processes(), job.config
    figures: Figures = {}
    prompts = job.frames["prompts"]
    texts = prompts["prompt"].to_list()
    if config.evaluate.vllm:
        lists = _sample_with_vllm(job, job.checkpoint, texts, share, progress)
    else:
        student = _load_on_device(job.checkpoint)
        if computes_in_bf16(student.model, config.model.bf16):
            convert_weights(student.model, torch.bfloat16)
            figures["weights"] = "bfloat16"
        lists = sample_lists(
            student,
            texts,
            config=config,
            samples=config.evaluate.lists_per_post,
            temperature=config.evaluate.temperature,
            seed=config.seed,
            share=share,
            progress=progress,
            lines=job.frames["lines"]["line"].to_list(),
            seen=prompts["seen"].to_list() if "seen" in prompts.columns else (),
        )
    return figures, _gather_lists(lists)


def fit_served(job: TrainingJob, progress: Progress) -> TrainingResult:
    """Write the list of `convrec recommend` for the frame `prompts`, of the frame `items`."""
    assert job.checkpoint is not None
    share = _join_processes()
    lists = recommend_texts(
        _load_on_device(job.checkpoint),
        ServedCatalog(job.frames["items"].iter_rows(), job.config.line_format),
        job.frames["prompts"]["prompt"].to_list(),
        job.config,
        batch_size=job.config.evaluate.batch_size,
        share=share,
        progress=progress,
    )
    sampled = [[SampledList("\n".join(lines), cut=False)] if lines else [] for lines in lists]
    return {}, _gather_lists(sampled)


def _join_processes() -> tuple[int, int]:
    """Connect to the processes of the launch: the number of this one, and how many there are."""
    if process_count() == 1:
        return 0, 1
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=_TIMEOUT)
    return state.process_index, state.num_processes


def _load_on_device(folder: Path) -> Student:
    """The model in a folder, on this process's GPU if there is one."""
    student = load_checkpoint(folder)
    if torch.cuda.is_available():
        student.model.cuda()
    return student


def _gather_lists(lists: Sequence[Sequence[SampledList]]) -> pl.DataFrame:
    """The lists of all processes as rows: prompt, draw, text, cut."""
    rows = [
        (prompt, draw, *one) for prompt, drawn in enumerate(lists) for draw, one in enumerate(drawn)
    ]
    if process_count() > 1:
        from accelerate.utils import gather_object

        rows = gather_object(rows)
    return pl.DataFrame(rows, _COLUMNS, orient="row")


def _with_launch(config: Config, prompts: int) -> Config:
    """The configuration with `train` for sampling: whole weights in each of the processes."""
    import torch

    train, evaluate = config.train, config.evaluate
    count = 1
    if train.launcher == "accelerate":
        gpus = torch.cuda.device_count()
        batches = -(-prompts * evaluate.lists_per_post // evaluate.batch_size)
        wanted = train.processes or max(gpus, 1)
        count = max(1, min(wanted, gpus or wanted, batches))
    launcher = "accelerate" if count > 1 else "process"
    settings = {"launcher": launcher, "parallel": "ddp", "processes": count}
    return config.model_copy(update={"train": train.model_copy(update=settings)})


def _sample_with_vllm(
    job: TrainingJob, folder: Path, texts: list[str], share: tuple[int, int], progress: Progress
) -> list[list[SampledList]]:
    """This process's share of the lists, of every `share[1]`-th prompt."""
    config, samples = job.config, job.config.evaluate.lists_per_post
    with workspace(job.working_folder) as home:
        if is_adapter(folder):  # vLLM gets whole weights
            student = load_checkpoint(folder)
            folder = home / f"merged-{share[0]}"
            save_student(student, folder)
        tokenizer = load_tokenizer(folder)
        mine = range(share[0], len(texts), share[1])
        encoded = [encode_student_prompt(tokenizer, texts[i], config) for i in mine]
        seeds = list_seeds(config.seed, len(texts) * samples)
        ids = sample_with_vllm(
            folder,
            [prompt for prompt in encoded for _ in range(samples)],
            [seeds[i * samples + draw] for i in mine for draw in range(samples)],
            config,
            eos=tokenizer.eos_token_id,
            working_folder=home,
            progress=progress,
        )
    lists: list[list[SampledList]] = [[] for _ in texts]
    for number, one in enumerate(ids):
        is_cut = not one or one[-1] != tokenizer.eos_token_id
        lists[mine[number // samples]].append(
            SampledList(decode_completion(tokenizer, one), is_cut)
        )
    return lists
