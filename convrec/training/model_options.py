"""How a loaded model computes in a training: its attention, and the type of frozen weights."""

from __future__ import annotations

from typing import Any

import torch

from convrec.config import Lora, Model
from convrec.errors import ConfigError
from convrec.models.load import convert_weights
from convrec.utils.error_text import first_line


def set_attention(model: Any, requested: str, *, fastest: str = "") -> None:
    """Use the attention that `train.attn_implementation` names; if it is empty, `fastest`.

    With both empty, the model keeps the one that it was loaded with. Raises ConfigError for one
    that is unknown, not installed or not supported by the model.
    """
    name = requested or fastest
    if not name:
        return
    try:
        model.set_attn_implementation(name)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"train.attn_implementation={name} cannot be used ({first_line(error)}); set it to "
            "sdpa or eager, or leave it empty"
        ) from None
    if model.config._attn_implementation != name:
        raise ConfigError(
            f"train.attn_implementation={name} cannot be used with {type(model).__name__}, which "
            "has its own attention; leave it empty"
        )


def convert_frozen_weights(model: Any, settings: Model, lora: Lora) -> None:
    """Convert the weights to `model.weights` if only adapters are trained; call it before PEFT.

    PEFT keeps adapters in float32.
    """
    if lora.rank and settings.weights == "bfloat16":
        convert_weights(model, torch.bfloat16)


def round_linear_weights(model: Any) -> None:
    """Keep the weights of linear modules as bf16 autocast rounds them in each forward pass.

    The outputs of the model under autocast stay the same, bit for bit; half the memory of these
    weights and their repeated conversion are saved. The output layer keeps its type: TRL reads its
    weights itself, and they may be those of the embeddings. What keeps its type is copied, so that
    the file that weights are mapped from is released.
    """
    output = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not output:
            module.to(torch.bfloat16)
    for weight in model.parameters():
        if weight.dtype == torch.float32:
            weight.data = weight.data.clone()


def restore_float32(model: Any) -> None:
    """Convert all weights to float32, so that merging does not round adapters to bf16."""
    convert_weights(model, torch.float32)
