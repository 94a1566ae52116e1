"""Memory of a training on each GPU, by part; `docs/internals/scale.md` explains the formula.

Weights are float32, as this project trains them; arithmetic is bf16 by autocast. With DDP each GPU
holds everything. FSDP and ZeRO-3 shard weights, gradients and optimizer state.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from convrec.models.memory_limits import MAX_LOGITS_CPU, MAX_LOGITS_GPU, RECOMPUTE_FROM
from convrec.training.memory.model_shape import ModelShape, saved_activations

FLOAT32_BYTES = 4

TILE_ROWS, TILE_COLUMNS = 4096, 32768
"""Size of the logits that TRL's tiled head holds at once (`trl.kernels`, 1.16)."""

UNFUSED_COPIES = 7.25
"""Further float32 copies of a tile if its gradient has no Triton kernel, as on a CPU."""


@dataclass(frozen=True)
class TrainingSetup:
    """One training as far as memory is concerned: what one process holds.

    Attributes:
        rows: Rows (sft) or lists (rank_grpo) per step in one process.
        prompt: Tokens of a prompt.
        completion: Tokens of a completion.
        lora: Rank of the adapters; 0 trains all weights.
        targets: Names of the modules with adapters.
        reference: Whether a reference model is held.
        fused: Whether the tiled head runs in Triton kernels, as on a GPU.
    """

    stage: str
    rows: int
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


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU, by part.

    Attributes:
        weights: The weights, and those gathered from other shards.
        buckets: DDP's copy of the gradients.
        sampling: Cache, logits and bf16 weights while lists are generated.
        activations: What the forward pass keeps for the backward pass.
        logits: The head and the loss, including the gradient of the head's weights.
        recomputation: One layer, if the backward pass recomputes activations.
    """

    weights: float
    optimizer: float
    reference: float
    buckets: float
    sampling: float
    activations: float
    logits: float
    recomputation: float
    gradients: float

    @property
    def peak(self) -> float:
        """The maximum over a step: sampling, the loss, the last layer, or the last gradient.

        Activations are freed as gradients are created.
        """
        always = self.weights + self.optimizer + self.reference + self.buckets
        loss, last_layer = self.activations + self.logits, self.activations + self.recomputation
        return always + max(self.sampling, loss, last_layer, self.gradients + self.recomputation)

    def parts(self) -> dict[str, float]:
        """The parts by name, as in the JSON output."""
        renamed = {"recomputation": "again"}
        return {renamed.get(name, name): value for name, value in asdict(self).items()}


def estimate_memory(shape: ModelShape, setup: TrainingSetup) -> Memory:
    """The memory of a training of this model, by part."""
    trained = shape.adapter(setup.lora, setup.targets) if setup.lora else shape.parameters
    weights = shape.parameters + (trained if setup.lora else 0)
    shards = setup.processes if setup.sharded else 1
    gathered = gathered_gradients = 0
    if setup.sharded:  # two layers at a time; embeddings and head for the whole step
        outside_layers = shape.parameters - shape.layers * shape.layer
        gathered = (2 * shape.layer + outside_layers) * FLOAT32_BYTES
        gathered_gradients = (shape.layer + outside_layers) * FLOAT32_BYTES
    has_buckets = setup.processes > 1 and not setup.sharded
    activations, recomputation = _activations(shape, setup)
    return Memory(
        weights=weights * FLOAT32_BYTES / shards + gathered,
        optimizer=2 * trained * FLOAT32_BYTES / shards,
        reference=shape.parameters * FLOAT32_BYTES if setup.reference else 0,
        buckets=trained * FLOAT32_BYTES if has_buckets else 0,
        sampling=_sampling(shape, setup) if setup.stage == "rank_grpo" else 0,
        activations=activations,
        logits=_logits(shape, setup),
        recomputation=recomputation,
        gradients=trained * FLOAT32_BYTES / shards + gathered_gradients,
    )


def recomputes_activations(shape: ModelShape, setup: TrainingSetup) -> bool:
    """Whether the backward pass recomputes layers instead of keeping their activations."""
    return setup.stage == "sft" and shape.parameters >= RECOMPUTE_FROM


def _activations(shape: ModelShape, setup: TrainingSetup) -> tuple[float, float]:
    """Bytes kept from the forward pass, and bytes of one recomputed layer."""
    tokens = setup.prompt + setup.completion
    saved = saved_activations(
        shape,
        setup.rows,
        tokens,
        bf16=setup.bf16,
        attention=setup.attention,
        adapters=(setup.lora, setup.targets),
    )
    if not recomputes_activations(shape, setup):
        return float(saved.layer * shape.layers + saved.rest), 0.0
    layer_input = setup.rows * tokens * shape.config.hidden_size * FLOAT32_BYTES
    return float(shape.layers * layer_input + saved.rest), float(saved.layer)


def _logits(shape: ModelShape, setup: TrainingSetup) -> float:
    """Logits, their log-probabilities and the gradient: in one piece, or tile by tile."""
    vocabulary, width = int(shape.config.vocab_size), int(shape.config.hidden_size)
    size = setup.rows * setup.completion * vocabulary
    max_size = MAX_LOGITS_GPU if setup.fused else MAX_LOGITS_CPU
    if setup.stage == "sft" and setup.processes == 1 and size <= max_size:
        # Three float32 tensors: logits, their contiguous copy for the loss, log-probabilities.
        return 3.0 * size * FLOAT32_BYTES
    tokens = setup.rows * (setup.completion if setup.fused else setup.prompt + setup.completion)
    rows, bytes_each = min(tokens, TILE_ROWS), 2 if setup.bf16 else FLOAT32_BYTES
    columns = min(vocabulary, TILE_COLUMNS)
    tile = float(rows * TILE_COLUMNS * bytes_each)
    if setup.bf16:
        tile += columns * width * bytes_each  # the weights of the tile
    if not setup.fused:
        tile += UNFUSED_COPIES * rows * columns * FLOAT32_BYTES
    head_gradient = 0 if setup.lora else vocabulary * width * FLOAT32_BYTES
    return tile + (tokens * width * FLOAT32_BYTES + head_gradient)


def _sampling(shape: ModelShape, setup: TrainingSetup) -> float:
    """Keys and values of all lists, their logits and probabilities, and autocast's weights."""
    tokens = setup.rows * (setup.prompt + setup.completion)
    cache = tokens * shape.cache(2 if setup.bf16 else 4)
    # Three tensors: logits, probabilities, padded probabilities.
    logits = 3 * setup.rows * shape.config.vocab_size * FLOAT32_BYTES
    # Autocast keeps a bf16 copy of each trained weight until the end of a forward pass.
    copies = 2 * shape.parameters if setup.bf16 and not setup.lora else 0
    return float(cache + logits + copies)
