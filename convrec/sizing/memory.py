"""Memory of a training on each GPU, by part: the formula that `docs/scale.md` writes out.

Weights are float32, as this project trains them, and the arithmetic bf16 by autocast. With DDP each
GPU holds everything; FSDP and ZeRO-3 (`shares` > 1) cut weights, gradients and optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from convrec.sizing.layout import Layout, kept

FLOAT = 4
TILE = 4096 * 8192 * FLOAT
"""Bytes of the logits that TRL's tiled head has at once."""

AT_ONCE = 2**26
"""Logits up to which sft in one process takes them in one piece (`convrec.sft.train`)."""

CHECKPOINTED = 200_000_000
"""Parameters from which sft recomputes activations."""


@dataclass(frozen=True)
class Asked:
    """One training as far as memory goes: what one process holds of it."""

    stage: str
    rows: int
    """Rows (sft) or lists (rank_grpo) of a step, in one process."""

    prompt: int
    completion: int
    processes: int = 1
    sharded: bool = False
    bf16: bool = True
    lora: int = 0
    targets: tuple[str, ...] = ()
    reference: bool = False
    attention: str = "sdpa"


@dataclass(frozen=True)
class Memory:
    """Bytes by part, on each GPU."""

    weights: float
    gradients: float
    optimizer: float
    reference: float
    activations: float
    logits: float
    cache: float

    @property
    def peak(self) -> float:
        """What is held at the worst moment: while sampling, or in the backward pass."""
        always = self.weights + self.optimizer + self.reference
        return always + max(self.cache, self.gradients + self.activations + self.logits)

    def parts(self) -> dict[str, float]:
        """The parts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def memory(shape: Layout, asked: Asked) -> Memory:
    """The parts of a training of this model."""
    trained = shape.adapter(asked.lora, asked.targets) if asked.lora else shape.parameters
    weights = shape.parameters + (trained if asked.lora else 0)
    shares = asked.processes if asked.sharded else 1
    around = shape.parameters - shape.layers * shape.layer  # embeddings and head stay gathered
    gathered = (2 * shape.layer + around) * FLOAT if asked.sharded else 0  # two layers at a time
    copies = 2 if asked.processes > 1 and not asked.sharded else 1  # DDP has buckets beside them
    sampled = asked.rows * (asked.prompt + asked.completion) * shape.cache(2 if asked.bf16 else 4)
    return Memory(
        weights=weights * FLOAT / shares + gathered,
        gradients=copies * trained * FLOAT / shares,
        optimizer=2 * trained * FLOAT / shares,
        reference=shape.parameters * FLOAT if asked.reference else 0,
        activations=_activations(shape, asked),
        logits=_logits(shape, asked),
        cache=sampled if asked.stage == "rank_grpo" else 0,
    )


def checkpointed(shape: Layout, asked: Asked) -> bool:
    """Whether layers are computed again rather than kept."""
    return asked.stage == "sft" and shape.parameters >= CHECKPOINTED


def _activations(shape: Layout, asked: Asked) -> float:
    tokens = asked.prompt + asked.completion
    saved = kept(shape, asked.rows, tokens, bf16=asked.bf16, attention=asked.attention)
    if not checkpointed(shape, asked):
        return float(saved.layer * shape.layers + saved.rest)
    inputs = asked.rows * tokens * shape.config.hidden_size * FLOAT
    return float(shape.layers * inputs + saved.layer + saved.rest)


def _logits(shape: Layout, asked: Asked) -> float:
    """Logits, their log-probabilities and the gradient: in one piece, or tile by tile."""
    size = float(asked.rows * asked.completion * shape.config.vocab_size)
    one_piece = asked.stage == "sft" and asked.processes == 1 and size <= AT_ONCE
    pieces = 3 + 0.5 * asked.bf16  # float32 three times, and what comes out of the head in bf16
    return pieces * size * FLOAT if one_piece else 2.0 * min(size * FLOAT, TILE)
