"""The sections of the two trainings: supervised fine-tuning and Rank-GRPO."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from convrec.config.base import Section
from convrec.config.choices import ALGORITHMS
from convrec.config.sections.model import SamplerName

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


class Optimizer(Section):
    """AdamW (arXiv 1711.05101)."""

    name: Literal[
        "adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"
    ] = Field(
        "adamw_torch_fused",
        description="AdamW of torch, or of bitsandbytes (`adamw_8bit`, `paged_*`), which needs a "
        "GPU.",
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the gradients' mean [β₁].")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of their squares' mean [β₂].")
    epsilon: float = Field(1e-8, gt=0, description="Added to the denominator [ε].")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    max_grad_norm: float = Field(
        1.0, ge=0, description="Norm that gradients are clipped to; 0 disables clipping."
    )


class Training(Section):
    """What both trainings have: optimizer, learning rate, adapters, and the split of a batch."""

    later_keys: ClassVar = frozenset({"schedule", "drop_step", "drop_factor", "optimizer"})
    runtime_keys: ClassVar = frozenset({"micro_batch"})

    learning_rate: float = Field(2e-5, gt=0, description="Peak learning rate.")
    schedule: Literal["constant", "linear", "cosine", "drop"] = Field(
        "constant",
        description="Learning rate after the warm-up: `constant`; down to 0 (`linear`, `cosine`); "
        "or `drop`, which multiplies it by `drop_factor` from step `drop_step` on.",
    )
    warmup_ratio: float = Field(
        0.0, ge=0, lt=1, description="Share of steps with a rising learning rate."
    )
    drop_step: int = Field(0, ge=0, description="Step from which `drop` applies.")
    drop_factor: float = Field(0.1, gt=0, description="Factor of `drop`.")
    optimizer: Optimizer = Optimizer()
    micro_batch: int = Field(
        0,
        ge=0,
        description="Rows of one process in one forward and backward pass; the gradient is that "
        "of the whole step. 0: as many as memory allows.",
    )
    lora: Lora = Lora()

    @model_validator(mode="after")
    def _check_drop(self) -> Self:
        if (self.schedule == "drop") != (self.drop_step > 0):
            raise ValueError("schedule=drop and drop_step belong together; set both or neither")
        return self

    def check_drop_step(self, steps: int) -> None:
        """Raise ValueError if the rate would drop after the last of so many steps."""
        if self.drop_step > steps:
            raise ValueError(
                f"drop_step={self.drop_step} is beyond the last step, {steps}, so the learning "
                "rate would never drop; lower drop_step, or choose another schedule"
            )


class Sft(Training):
    """Supervised fine-tuning (TRL SFTTrainer)."""

    later_keys: ClassVar = Training.later_keys | {"steps", "eval_every", "eval_samples", "keep"}
    runtime_keys: ClassVar = Training.runtime_keys | {"save_every"}

    epochs: float = Field(3, gt=0, description="Passes over the demonstrations.")
    steps: int = Field(0, ge=0, description="Optimizer steps; 0: those of `epochs`.")
    batch_size: int = Field(8, gt=0, description="Demonstrations per optimizer step.")
    schedule: Literal["constant", "linear", "cosine", "drop"] = Field(
        "cosine", description=Training.model_fields["schedule"].description
    )
    warmup_ratio: float = Field(
        0.05, ge=0, lt=1, description="Share of steps with a rising learning rate."
    )
    eval_every: int = Field(0, ge=0, description="Validate every N steps; 0: after each epoch.")
    eval_samples: int = Field(64, gt=0, description="Validation posts, drawn by `seed`.")
    keep: Literal["best", "last"] = Field(
        "best", description="Weights to keep: of the lowest validation loss, or of the last step."
    )
    save_every: int = Field(
        0, ge=0, description="Save a resumable checkpoint every N steps; 0: after each epoch."
    )

    @model_validator(mode="after")
    def _check_micro_batch(self) -> Self:
        if self.micro_batch > self.batch_size:
            raise ValueError(
                f"micro_batch={self.micro_batch} is larger than a step, batch_size="
                f"{self.batch_size}; lower micro_batch, or set it to 0 to let memory decide"
            )
        return self

    @model_validator(mode="after")
    def _check_last_step(self) -> Self:
        if self.steps:
            self.check_drop_step(self.steps)
        return self


class RankGrpo(Training):
    """Rank-GRPO (TRL GRPOTrainer subclass)."""

    later_keys: ClassVar = Training.later_keys | {"warmup_ratio", "epochs", "reward_shaping"}
    runtime_keys: ClassVar = Training.runtime_keys | {
        "save_every",
        "gate_prompts",
        "min_mixed",
        "vllm_url",
        "vllm_tensor_parallel",
        "vllm_memory",
        "vllm_max_length",
    }

    algorithm: Annotated[str, AfterValidator(ALGORITHMS.check)] = Field(
        "rank_grpo", description="Training algorithm."
    )
    reward: str = Field("exp_inf", description="`log`, `exp_inf`, or `exp:Γ` with Γ > 1.")
    reduction: Literal["rank", "token", "sequence"] = Field(
        "rank", description="Average the loss over ranks, tokens or sequences."
    )
    steps: int = Field(200, gt=0, description="Optimizer steps, unless `epochs` is set.")
    epochs: float = Field(
        0, ge=0, description="Passes over the training samples; 0: `steps` decides."
    )
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
    vllm_tensor_parallel: int = Field(
        1, gt=0, description="GPUs that share the weights of one vLLM engine (`colocate`)."
    )
    vllm_memory: float = Field(
        0.3, gt=0, lt=1, description="Share of a GPU's memory for vLLM (`colocate`)."
    )
    vllm_max_length: int = Field(
        0, ge=0, description="Tokens of a prompt and its list in vLLM; 0: the sum of both limits."
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
    reward_shaping: bool = Field(
        False,
        description="Add `overflow`, `exact`, `early` and `fault` to the list reward of an "
        "algorithm other than `rank_grpo`.",
    )
    gate_prompts: int = Field(
        64, gt=0, description="Training prompts whose lists are sampled for `min_mixed`."
    )
    min_mixed: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Refuse to train unless this share of prompts has lists of different rewards; "
        "0: only warn if all rewards of the first steps are equal.",
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

    @model_validator(mode="after")
    def _check_last_step(self) -> Self:
        if not self.epochs:
            self.check_drop_step(self.steps)
        return self

    @model_validator(mode="after")
    def _check_reward_shaping(self) -> Self:
        if self.reward_shaping and self.algorithm == "rank_grpo":
            raise ValueError(
                "algorithm=rank_grpo always has overflow, exact, early and fault; leave "
                "reward_shaping to the other algorithms"
            )
        return self

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

    @field_validator("vllm_url")
    @classmethod
    def _check_vllm_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError(
                "an address starts with http:// or https://, for example http://127.0.0.1:8000"
            )
        return value

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
