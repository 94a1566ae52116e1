"""Low-rank adapters: which modules of a model get one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from convrec.config import DEFAULT_TARGETS, Lora
from convrec.errors import ConfigError

ALL_LINEAR = "all-linear"
"""PEFT's name for every linear module except the output layer."""

_SHOWN = 12
"""Names of modules in a message."""


def lora_config(lora: Lora, model: Any, section: str) -> Any:
    """The PEFT configuration of adapters, or None if all weights are trained.

    `section` is the section of `lora` in the configuration, for messages. Raises ConfigError for
    modules that the model does not have, or that cannot get an adapter.
    """
    if lora.rank == 0:
        return None
    from peft import LoraConfig

    targets = target_modules(lora, *module_paths(model), section)
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if targets == ALL_LINEAR else list(targets),
        task_type="CAUSAL_LM",
    )


def target_modules(
    lora: Lora, linear: Collection[str], adaptable: Collection[str], section: str
) -> tuple[str, ...] | str:
    """The modules to adapt in a model, from the paths of its linear and its adaptable modules.

    The default names fit models shaped like Llama; in other models every linear module is adapted.
    Raises ConfigError for a name that the model does not have.
    """
    targets = lora.target_modules
    names = {path.rpartition(".")[2] for path in linear}
    if targets == (ALL_LINEAR,) or (targets == DEFAULT_TARGETS and not names.issuperset(targets)):
        return ALL_LINEAR
    unknown = [name for name in targets if not any(_is_at(name, path) for path in adaptable)]
    if targets and not unknown:
        return targets
    raise ConfigError(
        f"{section}.lora.target_modules names {', '.join(unknown) or 'no module'}, which the model "
        f"does not have; it has {', '.join(sorted(names)[:_SHOWN])}; name some of these, or "
        f'["{ALL_LINEAR}"] for all'
    )


def module_paths(model: Any) -> tuple[set[str], set[str]]:
    """The paths of a model's linear modules without the output layer, and of all adaptable ones."""
    from torch.nn import Embedding, Linear
    from transformers.pytorch_utils import Conv1D

    adaptable = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, (Linear, Conv1D, Embedding))
    }
    head = model.get_output_embeddings()
    linear = {
        path
        for path, module in adaptable.items()
        if module is not head and not isinstance(module, Embedding)
    }
    return linear, set(adaptable)


def _is_at(target: str, path: str) -> bool:
    """Whether PEFT takes a target for the module at a path."""
    return path == target or path.endswith(f".{target}")
