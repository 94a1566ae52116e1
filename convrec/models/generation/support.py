"""Which samplers a model can be sampled with, found out on a small random copy of it.

A list that repeats a line is rolled back, and lines of the catalog are read several tokens at once.
Both leave gaps in the key-value cache. A cache that summarizes what it has read (Mamba, RWKV and
hybrids) cannot have gaps, and neither can a window over the last so many entries.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache, DynamicLayer

from convrec.errors import InputError
from convrec.models.generation.kv_model import CachedModel
from convrec.models.generation.shared_prefix import MODEL_TYPES
from convrec.models.progress_bars import hide_warnings
from convrec.utils.error_text import first_line

GAP_SAMPLERS = frozenset({"distinct", "constrained"})
"""Samplers that leave gaps in the cache."""

_VOCABULARY = 64
_MAX_PARAMETERS = 500_000_000
"""Parameters of the copy above which it is not made: seconds, and gigabytes."""

_TOLERANCE = 1e-3
"""Largest difference of logits, relative to the largest logit, that is rounding."""


class SamplerSupport(NamedTuple):
    """Whether any sampler works with a model, and those that leave gaps; if not, the reason."""

    works: bool = True
    takes_gaps: bool = True
    reason: str = ""


def refuse_sampler(config: Any, samplers: Mapping[str, str], tokens: int, model: str) -> str:
    """Raise InputError if a model cannot be sampled so; otherwise say which samplers work.

    `samplers` maps a setting to its sampler, `model` is the model's name for the message, and
    `tokens` is the length of prompt and list.
    """
    support = sampler_support(config, tokens)
    if not support.works and samplers:
        raise InputError(
            f"lists cannot be sampled from {model}, because {support.reason}; use a model with "
            "full attention"
        )
    gaps = {key: name for key, name in samplers.items() if name in GAP_SAMPLERS}
    if gaps and not support.takes_gaps:
        settings = " and ".join(f"{key}={name}" for key, name in gaps.items())
        instead = " and ".join(f"{key}=free" for key in gaps)
        raise InputError(
            f"{model} cannot be sampled with {settings}, because tokens are taken back there and "
            f"{support.reason}; set {instead}, or use a model with full attention"
        )
    if not support.works:
        return "no sampler works with its cache, and none is needed"
    return "all samplers work" if support.takes_gaps else "samplers free and lines work"


def sampler_support(config: Any, tokens: int) -> SamplerSupport:
    """The support of a model with this configuration for sequences of up to `tokens` tokens."""
    config = config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if config.model_type in MODEL_TYPES and all(type(layer) is DynamicLayer for layer in layers):
        return SamplerSupport()
    with hide_warnings():
        probed = _probe(config)
    if not probed.works:
        return probed
    if any("Linear" in type(layer).__name__ for layer in layers):
        return SamplerSupport(True, False, "some of its layers keep a summary of what they read")
    window = min(_windows(config, layers), default=tokens)
    if window < tokens:
        return SamplerSupport(True, False, f"its attention has a window of {window} tokens")
    return probed


def few_layers(config: Any, layers: int) -> Any:
    """A copy of a configuration for only the first `layers` layers."""
    total, config = int(config.num_hidden_layers), copy.deepcopy(config)
    for name, value in list(vars(config).items()):
        if isinstance(value, (list, tuple)) and len(value) == total:
            setattr(config, name, value[:layers])
    config.num_hidden_layers = layers
    return config


def _windows(config: Any, layers: Sequence[Any]) -> Iterator[int]:
    """The sizes of all windows shorter than the whole text."""
    for layer in layers:
        size = getattr(layer, "sliding_window", None)
        if isinstance(size, int):
            yield size
    if isinstance(size := getattr(config, "window_size", None), int):
        yield size


def _probe(config: Any) -> SamplerSupport:
    """What a random copy of the model can be sampled with; all if there can be no such copy."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = _small_copy(config)
        if model is None:
            return SamplerSupport()
        try:
            probe = _Probe(model)
            if probe.error_without_gaps() > _TOLERANCE:
                return SamplerSupport(
                    False, False, "it continues a text differently with its cache than without"
                )
        except Exception as error:
            return SamplerSupport(
                False, False, f"its cache cannot be used ({first_line(error):.80})"
            )
        with suppress(Exception):
            if probe.error_with_gaps() <= _TOLERANCE:
                return SamplerSupport()
        return SamplerSupport(True, False, "its attention counts what was taken back")


def _small_copy(config: Any) -> Any:
    """A model of few layers and a small vocabulary, with weights of a usual size."""
    try:
        kinds = list(getattr(config, "layer_types", None) or ())
        cover = max((kinds.index(kind) + 1 for kind in set(kinds)), default=1)
        small = few_layers(config, min(int(config.num_hidden_layers), max(2, cover)))
        small.vocab_size = _VOCABULARY
        small.pad_token_id = small.bos_token_id = small.eos_token_id = 0
        with torch.device("meta"):
            size = _from_config(small).num_parameters()
        if size > _MAX_PARAMETERS:
            return None
        model = _from_config(small).eval()
    except Exception:  # whatever a configuration of any kind raises
        return None
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    return model


def _from_config(config: Any) -> Any:
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)


class _Probe:
    """Lists of random tokens, read through the cache and as a whole."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._random = torch.Generator().manual_seed(0)
        prompts = [self._tokens(length) for length in (3, 6, 4)]
        self._lists = [list(prompt) for prompt in prompts for _ in range(2)]
        self._cached = CachedModel(model, prompts, 2, 24, 0)

    def error_without_gaps(self) -> float:
        """The error after a few tokens, of which some lists have ended."""
        self._append_one()
        self._append_one()
        self._cached.select(torch.tensor([0, 2, 3, 5]))
        self._lists = [self._lists[i] for i in (0, 2, 3, 5)]
        self._append_one()
        return self._error()

    def error_with_gaps(self) -> float:
        """The error after tokens that were removed, and several that were read at once."""
        for _ in range(3):
            self._append_one()
        removed = [2, 0, 3, 1]
        self._cached.rollback(torch.tensor(removed))
        for ids, count in zip(self._lists, removed, strict=True):
            del ids[len(ids) - count :]
        self._append_one()
        self._append([self._tokens(width) for width in (1, 3, 2, 1)])
        return self._error()

    def _append_one(self) -> None:
        self._append([self._tokens(1) for _ in self._lists])

    def _append(self, tokens: list[list[int]]) -> None:
        width = max(map(len, tokens))
        self._cached.read(torch.tensor([[-1] * (width - len(row)) + row for row in tokens]))
        for ids, row in zip(self._lists, tokens, strict=True):
            ids += row

    def _tokens(self, count: int) -> list[int]:
        ids: list[int] = torch.randint(1, _VOCABULARY, (count,), generator=self._random).tolist()
        return ids

    def _error(self) -> float:
        """The largest difference to logits without a cache, relative to the largest logit."""
        whole = torch.stack([self._whole(ids) for ids in self._lists])
        difference = (whole - self._cached.logits).abs().max() / whole.abs().max()
        return float(difference.nan_to_num(torch.inf))

    def _whole(self, ids: list[int]) -> Tensor:
        logits: Tensor = self._model(input_ids=torch.tensor([ids])).logits[0, -1]
        return logits
