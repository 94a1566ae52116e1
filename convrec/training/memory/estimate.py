"""Memory of a training on each device, by part; `docs/internals/scale.md` explains the formula.

Trained weights are float32, frozen ones float32 or bf16; arithmetic is bf16 by autocast. With DDP
each GPU holds everything. FSDP and ZeRO-3 shard weights, gradients, optimizer state and reference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from convrec.models.memory_limits import CPU_TILE_TOKENS, MAX_LOGITS_CPU, MAX_LOGITS_GPU
from convrec.training.memory.model_shape import ModelShape, saved_activations

FLOAT32_BYTES, BF16_BYTES = 4, 2

TILE_ROWS, TILE_COLUMNS = 4096, 32768
"""Size of the logits that TRL's tiled head holds at once (`trl.kernels`, 1.16)."""

UNFUSED_COPIES = 7.25
"""Further float32 copies of a tile if its gradient has no Triton kernel, as on a CPU."""

EIGHT_BIT_STATE = 2 * (1 + FLOAT32_BYTES / 256)
"""Bytes of both moments of one weight in 8-bit Adam: a scale for each block of 256."""


@dataclass(frozen=True)
class TrainingSetup:
    """One training as far as memory is concerned: what one process holds.

    Attributes:
        rows: Rows (sft) or lists (rank_grpo) per step in one process.
        prompt: Tokens of a prompt.
        completion: Tokens of a completion.
        micro_batch: Rows in one forward and backward pass; 0: all.
        recompute: Whether the backward pass recomputes layers instead of keeping activations.
        lora: Rank of the adapters; 0 trains all weights.
        targets: Names of the modules with adapters.
        reference: Whether a reference model is held.
        frozen_bytes: Bytes of one weight that is not trained.
        optimizer: Name in transformers, as `optimizer.name` has it.
        samples: Whether the model generates lists here, and not vLLM.
        vllm: Bytes that vLLM reserves on this device.
        fused: Whether the tiled head runs in Triton kernels, as on a GPU.
    """

    stage: str
    rows: int
    prompt: int
    completion: int
    micro_batch: int = 0
    recompute: bool = False
    processes: int = 1
    sharded: bool = False
    bf16: bool = True
    lora: int = 0
    targets: tuple[str, ...] = ()
    reference: bool = False
    frozen_bytes: int = FLOAT32_BYTES
    optimizer: str = "adamw_torch_fused"
    samples: bool = False
    vllm: float = 0
    attention: str = "sdpa"
    fused: bool = True

    @property
    def at_once(self) -> int:
        """Rows in one forward and backward pass."""
        return min(self.micro_batch or self.rows, self.rows)

    @property
    def shards(self) -> int:
        """Processes that share one copy of the weights."""
        return self.processes if self.sharded else 1


@dataclass(frozen=True)
class Memory:
    """Bytes on each device, by part.

    Attributes:
        weights: The weights, and those gathered from other shards.
        buckets: DDP's copy of the gradients.
        vllm: What vLLM reserves.
        sampling: Cache, logits and bf16 weights while lists are generated.
        activations: What the forward pass keeps for the backward pass.
        logits: The head and the loss, including the gradient of the head's weights.
        recomputation: One layer, if the backward pass recomputes activations.
        accumulated: Gradients of earlier micro-batches.
        gradients: Gradients at the end of a backward pass.
    """

    weights: float
    optimizer: float
    reference: float
    buckets: float
    vllm: float
    sampling: float
    activations: float
    logits: float
    recomputation: float
    accumulated: float
    gradients: float

    @property
    def peak(self) -> float:
        """The maximum over a step: sampling, the loss, the last layer, or the last gradient.

        Activations are freed as gradients are created, unless earlier micro-batches left some.
        """
        always = self.weights + self.optimizer + self.reference + self.buckets + self.vllm
        loss, last_layer = self.activations + self.logits, self.activations + self.recomputation
        passes = self.accumulated + max(loss, last_layer)
        return always + max(self.sampling, passes, self.gradients + self.recomputation)

    def parts(self) -> dict[str, float]:
        """The parts by name, as in the JSON output."""
        renamed = {"recomputation": "again"}
        return {renamed.get(name, name): value for name, value in asdict(self).items()}


def estimate_memory(shape: ModelShape, setup: TrainingSetup) -> Memory:
    """The memory of a training of this model, by part."""
    trained = shape.adapter(setup.lora, setup.targets) if setup.lora else shape.parameters
    held = shape.parameters * (setup.frozen_bytes if setup.lora else FLOAT32_BYTES)
    held += trained * FLOAT32_BYTES if setup.lora else 0
    gathered = gathered_gradients = 0
    if setup.sharded:  # two layers at a time; embeddings and head for the whole step
        outside_layers = shape.parameters - shape.layers * shape.layer
        gathered = (2 * shape.layer + outside_layers) * FLOAT32_BYTES
        gathered_gradients = (shape.layer + outside_layers) * FLOAT32_BYTES
    gradients = trained * FLOAT32_BYTES / setup.shards
    activations, recomputation = _activations(shape, setup)
    return Memory(
        weights=held / setup.shards + gathered,
        optimizer=_optimizer(shape, setup, trained) / setup.shards,
        reference=_reference(shape, setup) if setup.reference else 0,
        buckets=trained * FLOAT32_BYTES if setup.processes > 1 and not setup.sharded else 0,
        vllm=setup.vllm,
        sampling=_sampling(shape, setup) if setup.samples else 0,
        activations=activations,
        logits=_logits(shape, setup),
        recomputation=recomputation,
        accumulated=gradients if setup.at_once < setup.rows else 0,
        gradients=gradients + gathered_gradients + _embedding_gradients(shape, setup),
    )


def _reference(shape: ModelShape, setup: TrainingSetup) -> float:
    """The reference model. Unsharded, its linear weights are kept as bf16 autocast rounds them."""
    if not setup.bf16 or setup.sharded:
        return shape.parameters * setup.frozen_bytes / setup.shards
    embeddings = _embeddings(shape) * (1 if _is_tied(shape) else 2)
    return float(embeddings * setup.frozen_bytes + (shape.parameters - embeddings) * BF16_BYTES)


def _embedding_gradients(shape: ModelShape, setup: TrainingSetup) -> float:
    """Gradients of the embeddings before they are added to those of earlier micro-batches.

    Of embeddings that are also the head's weights: both gradients and their sum, unless the head's
    is added before (`convrec.training.chunked_head`).
    """
    if setup.lora or setup.sharded or setup.at_once == setup.rows:
        return 0.0
    has_three = _is_tied(shape) and not (_has_cpu_head(shape, setup) and setup.processes == 1)
    return float(_embeddings(shape) * FLOAT32_BYTES * (3 if has_three else 1))


def _has_cpu_head(shape: ModelShape, setup: TrainingSetup) -> bool:
    """Whether the training adapts TRL's head for a CPU."""
    from convrec.models.hardware import SMALL_MODEL  # imports torch

    is_on_cpu = not setup.fused and setup.stage == "rank_grpo"
    return is_on_cpu and shape.parameters >= SMALL_MODEL


def _embeddings(shape: ModelShape) -> int:
    """Parameters of the input embeddings."""
    return int(shape.config.vocab_size) * int(shape.config.hidden_size)


def _is_tied(shape: ModelShape) -> bool:
    """Whether the embeddings are also the output layer's weights."""
    return bool(getattr(shape.config, "tie_word_embeddings", False))


def _optimizer(shape: ModelShape, setup: TrainingSetup, trained: int) -> float:
    """Both moments of AdamW; transformers keeps those of embeddings in float32."""
    if "8bit" not in setup.optimizer:
        return 2.0 * trained * FLOAT32_BYTES
    embeddings = 0 if setup.lora else _embeddings(shape)
    return 2.0 * embeddings * FLOAT32_BYTES + (trained - embeddings) * EIGHT_BIT_STATE


def _activations(shape: ModelShape, setup: TrainingSetup) -> tuple[float, float]:
    """Bytes kept from the forward pass, and bytes of one recomputed layer."""
    tokens = setup.prompt + setup.completion
    saved = saved_activations(
        shape,
        setup.at_once,
        tokens,
        bf16=setup.bf16,
        attention=setup.attention,
        adapters=(setup.lora, setup.targets),
    )
    if not setup.recompute:
        return float(saved.layer * shape.layers + saved.rest), 0.0
    layer_input = setup.at_once * tokens * shape.config.hidden_size * FLOAT32_BYTES
    return float(shape.layers * layer_input + saved.rest), float(saved.layer)


def _logits(shape: ModelShape, setup: TrainingSetup) -> float:
    """Logits, their log-probabilities and the gradient: in one piece, or tile by tile."""
    vocabulary, width = int(shape.config.vocab_size), int(shape.config.hidden_size)
    size = setup.at_once * setup.completion * vocabulary
    max_size = MAX_LOGITS_GPU if setup.fused else MAX_LOGITS_CPU
    if setup.stage == "sft" and setup.processes == 1 and size <= max_size:
        # Three float32 tensors: logits, their contiguous copy for the loss, log-probabilities.
        return 3.0 * size * FLOAT32_BYTES
    # Where shapes must not vary, TRL scores the prompt, too.
    skips_prompt, tile_rows = setup.fused, TILE_ROWS
    if _has_cpu_head(shape, setup):
        skips_prompt, tile_rows = True, CPU_TILE_TOKENS
    tokens = setup.at_once * (setup.completion + (0 if skips_prompt else setup.prompt))
    rows, bytes_each = min(tokens, tile_rows), BF16_BYTES if setup.bf16 else FLOAT32_BYTES
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
    cache = tokens * shape.cache(BF16_BYTES if setup.bf16 else FLOAT32_BYTES)
    # Three tensors: logits, probabilities, padded probabilities.
    logits = 3 * setup.rows * shape.config.vocab_size * FLOAT32_BYTES
    # Autocast keeps a bf16 copy of each trained weight until the end of a forward pass.
    copies = BF16_BYTES * shape.parameters if setup.bf16 and not setup.lora else 0
    return float(cache + logits + copies)
