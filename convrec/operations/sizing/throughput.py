"""Seconds of a training step: arithmetic at the GPU's FLOP/s, sampling at its bandwidth."""

from __future__ import annotations

from convrec.operations.sizing.gpus import Machine
from convrec.operations.sizing.memory import FLOAT32_BYTES, TrainingSetup, recomputes_activations
from convrec.operations.sizing.model_shape import ModelShape

COMPUTE_UTILIZATION = 0.35
"""Share of a GPU's FLOP/s that training reaches: an assumption, typical for models of this size."""

BANDWIDTH_UTILIZATION = 0.6
"""Share of a GPU's bandwidth that decoding reaches: an assumption."""

LAYER_OVERHEAD = 0.4e-3
"""Seconds of Python and kernel launches per layer and token: an assumption."""


def step_seconds(shape: ModelShape, setup: TrainingSetup, machine: Machine) -> dict[str, float]:
    """Seconds of one step by part: `sampling` and `learning`."""
    tokens = setup.rows * (setup.prompt + setup.completion)
    attention = 2 * shape.layers * shape.config.hidden_size * (setup.prompt + setup.completion)
    forward = 2 * shape.parameters + attention
    passes = (2 if setup.lora else 3) + recomputes_activations(shape, setup)
    passes += setup.reference or (setup.stage == "rank_grpo" and setup.lora > 0)
    learning = passes * forward * tokens / (COMPUTE_UTILIZATION * machine.flops)
    sampling = sampling_seconds(shape, setup, machine) if setup.stage == "rank_grpo" else 0.0
    return {"sampling": sampling, "learning": learning}


def sampling_seconds(shape: ModelShape, setup: TrainingSetup, machine: Machine) -> float:
    """Seconds in which one process generates its lists, all at once, token by token."""
    weights = 2 * FLOAT32_BYTES * shape.parameters  # read in float32, written and read as bf16
    cache = setup.rows * (setup.prompt + setup.completion / 2) * shape.cache(2)
    transfer = (weights + cache) / (BANDWIDTH_UTILIZATION * machine.bandwidth)
    token = max(transfer, LAYER_OVERHEAD * shape.layers)
    prefill_flops = 2 * shape.parameters * setup.rows * setup.prompt
    prefill = prefill_flops / (COMPUTE_UTILIZATION * machine.flops)
    return setup.completion * token + prefill
