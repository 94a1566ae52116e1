"""A model without weights: parameter counts, and what a forward pass keeps for the backward pass.

The model consists of fake tensors, which have shapes and types but no memory. It runs once with one
layer and once with two; layers are equal, so the rest follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from convrec.config import Lora
from convrec.errors import InputError
from convrec.models.adapters import target_modules
from convrec.utils.error_text import first_line

OUTPUT_LAYERS = ("lm_head", "embed_out")
"""Names of the linear module that gets no adapter unless it is named."""

MODEL_CONFIGS = Path(__file__).parent / "models"


@dataclass(frozen=True, eq=False)
class ModelShape:
    """A model's configuration and parameter counts. Each instance is its own cache key.

    Attributes:
        name: The name or folder that it was read from.
        config: transformers' configuration.
        layer: Parameters of one layer.
        modules: Last part of the name of each linear module, and its input plus output width.
    """

    name: str
    config: Any
    parameters: int
    layer: int
    modules: tuple[tuple[str, int], ...]

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config.num_hidden_layers)

    def targets(self, lora: Lora, section: str) -> tuple[str, ...]:
        """The last parts of the names of the modules that get an adapter."""
        names = {name for name, _ in self.modules if name not in OUTPUT_LAYERS}
        targets = target_modules(lora, names, {name for name, _ in self.modules}, section)
        return tuple(sorted(names)) if isinstance(targets, str) else targets

    def adapter(self, rank: int, targets: tuple[str, ...]) -> int:
        """Parameters of LoRA adapters of this rank on these modules."""
        return rank * sum(size for name, size in self.modules if name in targets)

    def cache(self, bytes_each: int) -> int:
        """Bytes of one token in the key-value cache."""
        config = self.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        return int(2 * self.layers * heads * width * bytes_each)


def model_shape(name: str, source: str = "--model ") -> ModelShape:
    """The shape of a model that ships as configuration, or of a folder with a config.json.

    Raises InputError for any other name, which `source` introduces in the message, or for a
    configuration without a causal language model.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoConfig

    folder = Path(name).expanduser()
    shipped = MODEL_CONFIGS / f"{name.rpartition('/')[2]}.json"
    file = folder / "config.json" if folder.is_dir() else shipped
    if not file.is_file():
        names = ", ".join(sorted(path.stem for path in MODEL_CONFIGS.glob("*.json")))
        raise InputError(
            f"{source}{name} is neither a folder with a config.json nor one of the shipped "
            f"configurations ({names}); give one of them with --model"
        )
    try:
        config = AutoConfig.from_pretrained(file, trust_remote_code=False)
        with FakeTensorMode():
            model = _build_model(config, int(config.num_hidden_layers), "eager")
            return _shape(name, model)
    except (OSError, ValueError, AttributeError, KeyError, StopIteration) as error:
        raise InputError(
            f"{file} describes no causal language model ({first_line(error)})"
        ) from None


def loaded_shape(model: Any) -> ModelShape:
    """The shape of a loaded transformers model without adapters."""
    return _shape(str(model.name_or_path), model)


def _shape(name: str, model: Any) -> ModelShape:
    from torch.nn import ModuleList

    modules = tuple(
        (path.rpartition(".")[2], module.in_features + module.out_features)
        for path, module in model.named_modules()
        if hasattr(module, "in_features")
    )
    config, total = model.config, int(model.config.num_hidden_layers)
    stacks = [part for part in model.modules() if isinstance(part, ModuleList)]
    first_layer = next(stack[0] for stack in stacks if len(stack) == total)
    layer = sum(weight.numel() for weight in first_layer.parameters())
    return ModelShape(name, config, int(model.num_parameters()), layer, modules)


class SavedActivations(NamedTuple):
    """Bytes saved by each layer, and by the rest of the model without the head."""

    layer: int
    rest: int


def saved_activations(
    shape: ModelShape,
    rows: int,
    tokens: int,
    *,
    bf16: bool,
    attention: str = "sdpa",
    adapters: tuple[int, tuple[str, ...]] = (0, ()),
) -> SavedActivations:
    """What autograd saves in a forward pass over a batch (rows, tokens), without the head.

    `adapters` are their rank and modules; with rank 0, all weights are trained. Counted for one row
    and for two; each further row saves as much as the second.
    """
    one, two = (
        _counted_activations(shape, few, tokens, bf16, attention, *adapters) for few in (1, 2)
    )
    return SavedActivations(
        *(first + (rows - 1) * (second - first) for first, second in zip(one, two, strict=True))
    )


@lru_cache(maxsize=32)
def _counted_activations(
    shape: ModelShape,
    rows: int,
    tokens: int,
    bf16: bool,
    attention: str,
    rank: int,
    targets: tuple[str, ...],
) -> SavedActivations:
    """The same, counted in models of one and of two layers."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    saved = []
    for layers in (1, 2):
        with FakeTensorMode():
            model = _build_model(shape.config, layers, attention)
            trained = _add_adapters(model, rank, targets) if rank else []
            ids = torch.zeros(rows, tokens, dtype=torch.long)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                saved.append(_saved_bytes(model, [*model.parameters(), *trained], ids))
    one, two = saved
    return SavedActivations(layer=two - one, rest=2 * one - two)


def _saved_bytes(model: Any, weights: list[Any], ids: Any) -> int:
    """Bytes of all storages that autograd saves, except those of the weights."""
    from torch.autograd.graph import saved_tensors_hooks

    weight_storages = {weight.untyped_storage()._cdata for weight in weights}
    storages: dict[int, Any] = {}

    def record(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in weight_storages:
            storages[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(record, lambda tensor: tensor):
        out = model.base_model(input_ids=ids, use_cache=False)
    del out
    return sum(int(storage.nbytes()) for storage in storages.values())


def _add_adapters(model: Any, rank: int, targets: tuple[str, ...]) -> list[Any]:
    """Freeze the model and add adapters of this rank to its modules; returns their weights.

    Uses hooks, because PEFT cannot create its modules from fake tensors.
    """
    from torch.nn import Linear

    model.requires_grad_(False)
    weights = []
    for path, module in list(model.named_modules()):
        if path.rpartition(".")[2] in targets:
            down = Linear(module.in_features, rank, bias=False)
            up = Linear(rank, module.out_features, bias=False)
            weights += [down.weight, up.weight]
            module.register_forward_hook(
                lambda _, inputs, output, down=down, up=up: output + up(down(inputs[0].float()))
            )
    return weights


def _build_model(config: Any, layers: int, attention: str) -> Any:
    """The model with so many layers, in float32; call it in FakeTensorMode.

    A model that does not have this attention gets `eager`, which all have.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from convrec.models.generation.support import few_layers

    def build(attention: str) -> Any:
        return AutoModelForCausalLM.from_config(
            few_layers(config, layers),
            attn_implementation=attention,
            dtype=torch.float32,
            trust_remote_code=False,
        )

    try:
        model = build(attention)
    except (ImportError, ValueError):
        model = build("eager")
    return model.train()
