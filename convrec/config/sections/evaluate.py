"""The section of the evaluation."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from convrec.config.base import Section
from convrec.config.sections.model import SamplerName


class Evaluate(Section):
    """Lists sampled on the test split, and their metrics."""

    later_keys: ClassVar = frozenset({"limit", "vllm", "knn_posts"})
    runtime_keys: ClassVar = frozenset({"batch_size"})

    samples: int = Field(
        1, gt=0, description="Lists sampled per test context; always one with temperature 0."
    )
    limit: int = Field(
        0, ge=0, description="Sample lists for the first N test contexts only; 0 uses all."
    )
    sampler: SamplerName = Field(
        "distinct", description="As `rank_grpo.sampler`; `free` measures the model alone."
    )
    temperature: float = Field(1.0, ge=0, description="Sampling temperature; 0 is greedy.")
    batch_size: int = Field(64, gt=0, description="Prompts per batch.")
    bootstrap: int = Field(1000, gt=0, description="Resamples per confidence interval.")
    knn_posts: int = Field(
        100_000, ge=0, description="Training posts among which kNN looks; 0 takes all."
    )
    vllm: bool = Field(False, description="Sample with vLLM on GPUs; needs `sampler=free`.")

    @property
    def lists_per_post(self) -> int:
        """`samples`, or 1 with temperature 0: greedy lists of a post would all be the same."""
        return self.samples if self.temperature else 1

    @model_validator(mode="after")
    def _check_vllm(self) -> Evaluate:
        if self.vllm and self.sampler != "free":
            raise ValueError(
                "evaluate.vllm=true samples without constraints; set evaluate.sampler=free as well"
            )
        return self
