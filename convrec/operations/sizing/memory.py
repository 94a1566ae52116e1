"""Memory of a training on each GPU, by part: the formula that `docs/scale.md` writes out.

Weights are float32, as this project trains them, and the arithmetic bf16 by autocast. With DDP each
GPU holds everything; FSDP and ZeRO-3 (`shares` > 1) cut weights, gradients and optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from convrec.models.memory_limits import CHECKPOINTED, LOGITS_AT_ONCE, LOGITS_AT_ONCE_CPU
from convrec.operations.sizing.model_shape import ModelShape, kept

FLOAT = 4

TILE_TOKENS, TILE_WORDS = 4096, 32768
"""Rows and columns of the logits that TRL's tiled head has at once (`trl.kernels`, 1.16)."""

UNFUSED = 7.25
"""Further float32 copies of a tile where its gradient is no kernel of Triton: on a CPU."""


@dataclass(frozen=True)
class TrainingSetup:
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
    fused: bool = True
    """Whether the tiled head runs in Triton's kernels, as on a GPU."""


@dataclass(frozen=True)
class Memory:
    """Bytes by part, on each GPU."""

    weights: float
    optimizer: float
    reference: float
    buckets: float
    """DDP's own copy of the gradients."""

    sampling: float
    """Cache, logits and bf16 weights while lists are written."""

    activations: float
    """What is kept of the forward pass until its backward pass."""

    logits: float
    """What the head and the loss take, the gradient of the head's weights among it."""

    again: float
    """One layer, computed again in the backward pass."""

    gradients: float

    @property
    def peak(self) -> float:
        """What is held at the worst moment of a step.

        Activations go as gradients come. So the moments are: lists are written; the loss, with
        nothing of the gradients yet but the head's; the last layer computed again; and the end of
        the backward pass.
        """
        always = self.weights + self.optimizer + self.reference + self.buckets
        loss, last = self.activations + self.logits, self.activations + self.again
        return always + max(self.sampling, loss, last, self.gradients + self.again)

    def parts(self) -> dict[str, float]:
        """The parts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def memory(shape: ModelShape, asked: TrainingSetup) -> Memory:
    """The parts of a training of this model."""
    trained = shape.adapter(asked.lora, asked.targets) if asked.lora else shape.parameters
    weights = shape.parameters + (trained if asked.lora else 0)
    shares = asked.processes if asked.sharded else 1
    gathered = gathered_gradients = 0
    if asked.sharded:  # two layers at a time, and embeddings and head as long as a step takes
        around = shape.parameters - shape.layers * shape.layer
        gathered = (2 * shape.layer + around) * FLOAT
        gathered_gradients = (shape.layer + around) * FLOAT
    bucketed = asked.processes > 1 and not asked.sharded
    activations, again = _activations(shape, asked)
    return Memory(
        weights=weights * FLOAT / shares + gathered,
        optimizer=2 * trained * FLOAT / shares,
        reference=shape.parameters * FLOAT if asked.reference else 0,
        buckets=trained * FLOAT if bucketed else 0,
        sampling=_sampling(shape, asked) if asked.stage == "rank_grpo" else 0,
        activations=activations,
        logits=_logits(shape, asked),
        again=again,
        gradients=trained * FLOAT / shares + gathered_gradients,
    )


def checkpointed(shape: ModelShape, asked: TrainingSetup) -> bool:
    """Whether layers are computed again rather than kept."""
    return asked.stage == "sft" and shape.parameters >= CHECKPOINTED


def _activations(shape: ModelShape, asked: TrainingSetup) -> tuple[float, float]:
    """Bytes that are kept from the forward pass on, and those of a layer that is computed again."""
    tokens = asked.prompt + asked.completion
    saved = kept(
        shape,
        asked.rows,
        tokens,
        bf16=asked.bf16,
        attention=asked.attention,
        adapters=(asked.lora, asked.targets),
    )
    if not checkpointed(shape, asked):
        return float(saved.layer * shape.layers + saved.rest), 0.0
    inputs = asked.rows * tokens * shape.config.hidden_size * FLOAT
    return float(shape.layers * inputs + saved.rest), float(saved.layer)


def _logits(shape: ModelShape, asked: TrainingSetup) -> float:
    """Logits, their log-probabilities and the gradient: in one piece, or tile by tile."""
    words, width = int(shape.config.vocab_size), int(shape.config.hidden_size)
    size = asked.rows * asked.completion * words
    most = LOGITS_AT_ONCE if asked.fused else LOGITS_AT_ONCE_CPU
    if asked.stage == "sft" and asked.processes == 1 and size <= most:
        return 3.0 * size * FLOAT  # in float32: logits, laid out for the loss, log-probabilities
    tokens = asked.rows * (asked.completion if asked.fused else asked.prompt + asked.completion)
    rows, each = min(tokens, TILE_TOKENS), 2 if asked.bf16 else FLOAT
    tile = float(rows * TILE_WORDS * each)
    if asked.bf16:
        tile += min(words, TILE_WORDS) * width * each  # the weights of the tile
    if not asked.fused:
        tile += UNFUSED * rows * min(words, TILE_WORDS) * FLOAT
    gradients = tokens * width * FLOAT + (0 if asked.lora else words * width * FLOAT)
    return tile + gradients


def _sampling(shape: ModelShape, asked: TrainingSetup) -> float:
    """Keys and values of all lists, their logits and shares, and the weights that autocast keeps.

    Autocast keeps its bf16 copy of each weight that is trained to the end of a forward pass.
    """
    cache = asked.rows * (asked.prompt + asked.completion) * shape.cache(2 if asked.bf16 else 4)
    logits = 3 * asked.rows * shape.config.vocab_size * FLOAT  # logits, shares, padded shares
    copies = 2 * shape.parameters if asked.bf16 and not asked.lora else 0
    return float(cache + logits + copies)
