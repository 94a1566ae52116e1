"""How long a step takes on a GPU, from its datasheet and assumed shares of what it says."""

from __future__ import annotations

from dataclasses import dataclass

from convrec.operations.sizing.gpus import Machine
from convrec.training.memory.estimate import BF16_BYTES, FLOAT32_BYTES, TrainingSetup
from convrec.training.memory.model_shape import ModelShape

COMPUTE_UTILIZATION, BANDWIDTH_UTILIZATION = 0.35, 0.6
"""Shares of a GPU's FLOP/s and bandwidth that training and decoding reach: assumptions."""

LAYER_OVERHEAD = 0.4e-3
"""Seconds of Python and kernel launches per layer and token: an assumption."""

VLLM_OVERHEAD = 0.04e-3
"""The same in vLLM, which replays recorded kernels: an assumption."""


@dataclass(frozen=True)
class VllmEngine:
    """One vLLM engine: its GPUs, and the bytes that it has on each for weights and cache."""

    gpus: int
    memory: float

    def capacity(self, shape: ModelShape, tokens: int) -> int:
        """Lists of so many tokens, with their prompts, that the engine holds at once."""
        weights = BF16_BYTES * shape.parameters
        return int((self.gpus * self.memory - weights) / (tokens * shape.cache(BF16_BYTES)))


def step_seconds(
    shape: ModelShape, setup: TrainingSetup, machine: Machine, engine: VllmEngine | None = None
) -> dict[str, float]:
    """Seconds of one step by part: `sampling`, `learning`, and `exchange` between GPUs."""
    sampling = 0.0
    if setup.stage == "rank_grpo":
        sampling = (
            vllm_seconds(shape, setup, machine, engine)
            if engine
            else sampling_seconds(shape, setup, machine)
        )
    tokens = setup.rows * (setup.prompt + setup.completion)
    flops = _passes(setup, with_vllm=engine is not None) * _forward_flops(shape, setup) * tokens
    return {
        "sampling": sampling,
        "learning": flops / (COMPUTE_UTILIZATION * machine.flops),
        "exchange": _exchanged_bytes(shape, setup) / (BANDWIDTH_UTILIZATION * machine.link),
    }


def _passes(setup: TrainingSetup, *, with_vllm: bool) -> float:
    """Forward passes that a step is worth; a backward pass counts as two, or one with adapters."""
    passes = (2 if setup.lora else 3) + setup.recompute
    if setup.stage == "rank_grpo":
        passes += setup.reference or setup.lora > 0  # log-probabilities of the reference
        passes += with_vllm  # and of the model itself, to correct vLLM's
    return passes


def _forward_flops(shape: ModelShape, setup: TrainingSetup) -> float:
    """Operations of a forward pass per token."""
    attention = 2 * shape.layers * shape.config.hidden_size * (setup.prompt + setup.completion)
    return float(2 * shape.parameters + attention)


def _exchanged_bytes(shape: ModelShape, setup: TrainingSetup) -> float:
    """Bytes that each GPU receives: gradients once, or weights and gradients in every pass."""
    if setup.processes == 1:
        return 0.0
    if setup.sharded:
        passes = -(-setup.rows // setup.at_once)
        return passes * shape.parameters * (2 * BF16_BYTES + FLOAT32_BYTES)
    trained = shape.adapter(setup.lora, setup.targets) if setup.lora else shape.parameters
    return 2.0 * trained * FLOAT32_BYTES


def sampling_seconds(shape: ModelShape, setup: TrainingSetup, machine: Machine) -> float:
    """Seconds in which one process generates its lists, all at once, token by token."""
    weights = 2 * FLOAT32_BYTES * shape.parameters  # read in float32, written and read as bf16
    cache = setup.rows * (setup.prompt + setup.completion / 2) * shape.cache(BF16_BYTES)
    transfer = (weights + cache) / (BANDWIDTH_UTILIZATION * machine.bandwidth)
    token = max(transfer, LAYER_OVERHEAD * shape.layers)
    return setup.completion * token + _prefill(shape, setup, machine)


def vllm_seconds(
    shape: ModelShape, setup: TrainingSetup, machine: Machine, engine: VllmEngine
) -> float:
    """Seconds in which one engine generates the lists of its processes, as many as fit at once."""
    lists = setup.rows * engine.gpus
    at_once = min(lists, engine.capacity(shape, setup.prompt + setup.completion))
    weights = BF16_BYTES * shape.parameters
    cache = at_once * (setup.prompt + setup.completion / 2) * shape.cache(BF16_BYTES)
    bandwidth = BANDWIDTH_UTILIZATION * machine.bandwidth * engine.gpus
    token = max((weights + cache) / bandwidth, VLLM_OVERHEAD * shape.layers)
    return -(-lists // at_once) * setup.completion * token + _prefill(shape, setup, machine)


def _prefill(shape: ModelShape, setup: TrainingSetup, machine: Machine) -> float:
    flops = 2 * shape.parameters * setup.rows * setup.prompt
    return flops / (COMPUTE_UTILIZATION * machine.flops)
