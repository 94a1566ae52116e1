"""A model without its weights: how many there are, and what a forward pass keeps for the backward.

The model is made of fake tensors, which have shapes and types but no memory, and run once with one
layer and once with two; layers are alike, so the rest follows. What autograd saves is counted by
storage: activations, and the bf16 copies that autocast makes of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convrec.errors import InputError
from convrec.utils.error_text import first_line

MODEL_CONFIGS = Path(__file__).parent / "models"


@dataclass(frozen=True)
class ModelShape:
    """A model's configuration, and what follows from it: counts of weights, by part."""

    name: str
    config: Any
    parameters: int
    layer: int
    modules: tuple[tuple[str, int], ...]
    """Each linear module by its last name, and what it takes in and gives out together."""

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return int(self.config.num_hidden_layers)

    def adapter(self, rank: int, targets: tuple[str, ...]) -> int:
        """Weights of LoRA adapters of this rank on these modules."""
        return rank * sum(size for name, size in self.modules if name in targets)

    def cache(self, bytes_each: int) -> int:
        """Bytes of the key-value cache for one token."""
        config = self.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        return int(2 * self.layers * heads * width * bytes_each)


def model_shape(name: str) -> ModelShape:
    """The layout of a model that ships as configuration, or of a folder with a config.json.

    Raises InputError for a name that is neither, or a configuration that no causal model has.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoConfig

    folder = Path(name).expanduser()
    file = folder / "config.json" if folder.is_dir() else MODEL_CONFIGS / f"{name.rpartition('/')[2]}.json"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in MODEL_CONFIGS.glob("*.json")))
        raise InputError(
            f"--model {name} is no folder with a config.json, and none of those that ship: {known}"
        )
    try:
        config = AutoConfig.from_pretrained(file)
        with FakeTensorMode():
            model = _model(config, int(config.num_hidden_layers))
            linear = tuple(
                (path.rpartition(".")[2], module.in_features + module.out_features)
                for path, module in model.named_modules()
                if hasattr(module, "in_features")
            )
            inner = model.base_model.layers[0]
            layer = sum(weight.numel() for weight in inner.parameters())
            return ModelShape(name, config, model.num_parameters(), layer, linear)
    except (OSError, ValueError, AttributeError, KeyError) as error:
        said = first_line(error)
        raise InputError(f"{file} describes no causal language model ({said})") from None


@dataclass(frozen=True)
class SavedActivations:
    """Bytes kept by each layer, and by what is around them."""

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
    """What autograd keeps of a forward pass over a batch (rows, tokens), the head left out.

    `adapters` are their rank and modules; with a rank of 0 all weights are trained.
    """
    one, two = (_saved(shape.config, n, rows, tokens, bf16, attention, adapters) for n in (1, 2))
    return SavedActivations(layer=two - one, rest=2 * one - two)


def _saved(
    config: Any,
    layers: int,
    rows: int,
    tokens: int,
    bf16: bool,
    attention: str,
    adapters: tuple[int, tuple[str, ...]],
) -> int:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model = _model(config, layers, attention)
        trained = _adapt(model, *adapters) if adapters[0] else []
        weights = {x.untyped_storage()._cdata for x in [*model.parameters(), *trained]}
        found: dict[int, Any] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                found[storage._cdata] = storage
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            ids = torch.zeros(rows, tokens, dtype=torch.long)
            out = model.base_model(input_ids=ids, use_cache=False)
        del out
        return sum(int(storage.nbytes()) for storage in found.values())


def _adapt(model: Any, rank: int, targets: tuple[str, ...]) -> list[Any]:
    """Freeze the model and put adapters of this rank on its modules; returns their weights.

    By hooks, as PEFT cannot build its own from fake tensors.
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
                lambda _, given, made, down=down, up=up: made + up(down(given[0].float()))
            )
    return weights


def _model(config: Any, layers: int, attention: str = "sdpa") -> Any:
    """The model with so many layers, in float32, as fake tensors."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM

    fewer = copy.deepcopy(config)
    fewer.num_hidden_layers = layers
    if getattr(fewer, "layer_types", None):
        fewer.layer_types = fewer.layer_types[:layers]
    return AutoModelForCausalLM.from_config(
        fewer, dtype=torch.float32, attn_implementation=attention
    ).train()
