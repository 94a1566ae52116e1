"""`train.launcher=accelerate`: two CPU processes sample the lists of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from convrec.artifacts import Store
from convrec.config import Config
from convrec.errors import TrainingError
from convrec.stages.base import StepContext
from convrec.stages.evaluate.sampling import Sampled, fit_lists, fit_served, run_sampling
from convrec.training.job import FitFunction, TrainingJob, TrainingResult
from convrec.utils.progress import Progress
from tests.support.film_student import checkpoint

__all__ = ["checkpoint"]
pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore::FutureWarning")]

FILMS = [("1", "Heat", 1995), ("2", "Alien", 1979), ("3", "Big", 1988)]
WORDS = ("Heat", "Alien or Heat", "Big", "something funny and not too long", "a film for tonight")
PROMPTS = [f"something like {word}, number {k}" for k in range(3) for word in WORDS]


def sampled_by(
    processes: int,
    fit: FitFunction,
    checkpoint: Path,
    folder: Path,
    **evaluate: Any,
) -> Sampled:
    config = Config.model_validate(
        {
            "list_length": 2,
            "remap": {"keep": 2},
            "reflect": {"enabled": False, "top": 1},
            "model": {"prompt": "plain", "max_prompt_tokens": 64, "max_completion_tokens": 40},
            "evaluate": {"batch_size": 4, "samples": 2, **evaluate},
            "train": {
                "launcher": "accelerate" if processes > 1 else "process",
                "parallel": "fsdp",  # of the trainings; lists are sampled with whole weights
                "processes": processes,
            },
        }
    )
    seen = [[{"title": "Big", "year": 1988}]] * len(PROMPTS)
    frames = {
        "prompts": pl.DataFrame({"prompt": PROMPTS, "seen": seen}),
        "lines": pl.DataFrame({"line": ["Heat (1995)", "Alien (1979)", "Big (1988)"]}),
        "items": pl.DataFrame(FILMS, ["item_id", "title", "year"], orient="row"),
    }
    torch.set_num_threads(1)
    reports: list[int] = []

    def progress(done: int, total: int, text: str) -> None:
        reports.append(done)

    ctx = StepContext(config, Store(folder / "home"), progress=progress, workspace=folder / "work")
    sampled = run_sampling(fit, ctx, config, frames, checkpoint)
    assert reports
    return sampled


@pytest.mark.parametrize(
    ("fit", "evaluate"),
    [
        (fit_lists, {"sampler": "distinct"}),
        (fit_lists, {"sampler": "free", "temperature": 0.7}),
        (fit_lists, {"sampler": "constrained"}),
        (fit_served, {"samples": 1}),
    ],
)
def test_two_processes_sample_the_lists_of_one(
    checkpoint: Path, tmp_path: Path, fit: FitFunction, evaluate: dict[str, Any]
) -> None:
    one = sampled_by(1, fit, checkpoint, tmp_path / "one", **evaluate)
    two = sampled_by(2, fit, checkpoint, tmp_path / "two", **evaluate)
    assert two.lists == one.lists
    assert sum(map(len, one.lists)) >= len(PROMPTS) - 3  # a text may name too many films
    assert len({drawn[0].text for drawn in one.lists if drawn}) > 1
    assert (one.figures.pop("processes"), two.figures.pop("processes")) == (1, 2)
    assert one.figures == two.figures


def fail_in_the_second(job: TrainingJob, progress: Progress) -> TrainingResult:
    """The second process runs out of memory."""
    import os

    if os.environ["RANK"] == "1":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    return fit_lists(job, progress)


def test_a_failed_process_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"sampling ran out of memory .*batch_size=4"):
        sampled_by(2, fail_in_the_second, checkpoint, tmp_path)
