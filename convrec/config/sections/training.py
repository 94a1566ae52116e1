"""The sections of the student model: its training and its evaluation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from convrec.config.base import Section
from convrec.config.choices import ALGORITHMS

SamplerName = Literal["free", "lines", "distinct", "constrained"]

DEFAULT_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The default of `lora.target_modules`."""


class Lora(Section):
    """Low-rank adaptation (PEFT)."""

    rank: int = Field(0, ge=0, description="Rank of the adapters; 0 trains all weights.")
    alpha: int = Field(32, gt=0, description="Scaling factor of the adapters.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout probability.")
    target_modules: tuple[str, ...] = Field(
        DEFAULT_TARGETS,
        description="Modules that get an adapter; `all-linear` names every linear module, and so "
        "does the default in a model that does not have all four.",
    )


class Model(Section):
    """The student model."""

    base: str = Field(
        "tiny", min_length=1, description="`tiny`, `smollm2` (extra), a folder, or a Hub name."
    )
    prompt: Literal["instruct", "plain", "given"] = Field(
        "instruct",
        description="The student's prompt: an instruction with the conversation, the conversation "
        "alone, or the prompt in the data (part of the authors' schema).",
    )
    max_prompt_tokens: int = Field(512, gt=0, description="Maximum tokens of a prompt.")
    max_completion_tokens: int = Field(512, gt=0, description="Maximum tokens of a list.")
    vocabulary: int = Field(4096, ge=300, description="BPE vocabulary size of the `tiny` model.")
    hidden: int = Field(128, gt=0, description="Hidden size of the `tiny` model.")
    layers: int = Field(4, gt=0, description="Layers of the `tiny` model.")
    bf16: bool = Field(True, description="Use bf16 autocast if the hardware supports it.")


class Sft(Section):
    """Supervised fine-tuning (TRL SFTTrainer)."""

    epochs: float = Field(3, gt=0, description="Passes over the demonstrations.")
    learning_rate: float = Field(2e-5, gt=0, description="Peak learning rate.")
    batch_size: int = Field(8, gt=0, description="Demonstrations per optimizer step.")
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="Share of steps with warm-up.")
    lora: Lora = Lora()


class RankGrpo(Section):
    """Rank-GRPO (TRL GRPOTrainer subclass)."""

    algorithm: Annotated[str, AfterValidator(ALGORITHMS.check)] = Field(
        "rank_grpo", description="Training algorithm."
    )
    reward: str = Field("exp_inf", description="`log`, `exp_inf`, or `exp:Γ` with Γ > 1.")
    reduction: Literal["rank", "token", "sequence"] = Field(
        "rank", description="Average the loss over ranks, tokens or sequences."
    )
    steps: int = Field(200, gt=0, description="Optimizer steps.")
    prompts_per_step: int = Field(8, gt=0, description="Prompts per optimizer step.")
    group_size: int = Field(8, gt=1, description="Lists sampled per prompt [G].")
    iterations: int = Field(1, gt=0, description="Optimizer steps per generation [μ].")
    learning_rate: float = Field(1e-6, gt=0, description="Learning rate.")
    sampler: SamplerName = Field(
        "distinct",
        description="How lists are sampled: `free` by the model alone, `lines` stops after N "
        "lines, `distinct` also repeats no line, `constrained` samples unseen catalog lines.",
    )
    vllm: Literal["", "colocate", "server"] = Field(
        "",
        description="Sample with vLLM on GPUs: in the training process, or on its server. "
        "Empty: the built-in sampler.",
    )
    vllm_url: str = Field(
        "", description="Address of the vLLM server, for example http://127.0.0.1:8000."
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature.")
    beta: float = Field(1e-3, ge=0, description="Weight of the KL term to the SFT model [β].")
    epsilon_low: float = Field(0.06, gt=0, description="Clip range below a ratio of 1 [ε_low].")
    epsilon_high: float = Field(0.08, gt=0, description="Clip range above a ratio of 1 [ε_high].")
    overflow: float = Field(-0.1, description="Advantage of tokens past rank N.")
    exact: float = Field(0.1, description="Advantage of EOS after exactly N ranks.")
    early: float = Field(-0.1, description="Advantage of EOS before rank N.")
    fault: float = Field(
        0.0,
        ge=0,
        description="Weight of the penalty for a line that is outside the catalog, seen or "
        "repeated: the group's mean fault minus the list's is added to the rank's advantage.",
    )
    eval_every: int = Field(20, ge=0, description="Validate every N steps; 0 disables validation.")
    eval_samples: int = Field(128, gt=0, description="Validation samples per evaluation.")
    patience: int = Field(
        0,
        ge=0,
        description="Stop after N evaluations without a better NDCG@20; 0 disables early stopping.",
    )
    save_every: int = Field(
        20, ge=0, description="Save a resumable checkpoint every N steps; 0 disables saving."
    )
    lora: Lora = Lora()

    @model_validator(mode="after")
    def _check_vllm(self) -> RankGrpo:
        if self.vllm and self.sampler != "free":
            raise ValueError(
                f"rank_grpo.vllm={self.vllm} samples without constraints; set "
                "rank_grpo.sampler=free as well"
            )
        if self.vllm == "server" and not self.vllm_url:
            raise ValueError(
                "rank_grpo.vllm=server needs rank_grpo.vllm_url, the address of the server"
            )
        return self

    @field_validator("reward")
    @classmethod
    def _check_reward(cls, value: str) -> str:
        if value in ("log", "exp_inf"):
            return value
        name, _, gamma = value.partition(":")
        try:
            if name == "exp" and float(gamma) > 1:
                return value
        except ValueError:
            pass
        raise ValueError("allowed: log, exp_inf, or exp:Γ with Γ > 1, for example exp:2.0")


class Train(Section):
    """How the trainings of sft and rank_grpo are launched. No part of any artifact id."""

    launcher: Literal["process", "accelerate"] = Field(
        "process", description="Train in the run's process, or with `accelerate launch`."
    )
    parallel: str = Field(
        "ddp",
        description="`ddp`, `fsdp`, `zero3` (DeepSpeed), or the path of an accelerate "
        "configuration file.",
    )
    processes: int = Field(
        0, ge=0, description="Training processes; 0: one per GPU, or as in that file."
    )


class Evaluate(Section):
    """Lists sampled on the test split, and their metrics."""

    later_keys: ClassVar = frozenset({"limit"})

    samples: int = Field(1, gt=0, description="Lists sampled per test context.")
    limit: int = Field(
        0, ge=0, description="Sample lists for the first N test contexts only; 0 uses all."
    )
    sampler: SamplerName = Field(
        "distinct", description="As `rank_grpo.sampler`; `free` measures the model alone."
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature.")
    batch_size: int = Field(64, gt=0, description="Prompts per batch.")
    bootstrap: int = Field(1000, gt=0, description="Resamples per confidence interval.")
