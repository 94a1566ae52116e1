"""What `model.base` must be able to do for a run: each defect is one sentence.

Only the configuration, the headers of the weights and the tokenizer are read, and the weights once
for values that are not numbers. A random model of few layers shows what can be sampled with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from convrec.config import Config, StageName
from convrec.models.adapters import lora_config
from convrec.models.checks.positions import check_positions
from convrec.models.checks.tokenizer import check_tokenizer
from convrec.models.checks.weights import check_finite
from convrec.models.generation.support import refuse_sampler
from convrec.models.gguf import gguf_file, gguf_folder, is_gguf_package
from convrec.models.load import load_tokenizer, load_with_report, student_folder, tokenizer_folder
from convrec.models.load_report import refuse_unreadable
from convrec.models.tiny import tiny_without_weights

TRAINING: tuple[StageName, ...] = ("sft", "rank_grpo", "evaluate")
"""The stages that need the base model."""


def check_base_model(config: Config, stages: Collection[StageName] = TRAINING) -> list[str]:
    """Check the base model for these stages; a phrase for each part that is in order.

    `tiny` is made from the data, and a model that is installed as a package is known to work, so
    of both only the adapters are checked. Raises InputError or ConfigError for the first defect.
    """
    base = config.model.base
    if base == "tiny":
        return _check_adapters(lambda: tiny_without_weights(config.model), config, stages)
    if is_gguf_package(base):
        gguf_file(base)
        checked = _check_adapters(lambda: _without_weights(gguf_folder(base)), config, stages)
        return [f"{base} is installed", *checked]
    return check_folder(student_folder(base), config, stages)


def check_folder(folder: Path, config: Config, stages: Collection[StageName]) -> list[str]:
    """Check the model in a folder for these stages, as `check_base_model`."""
    model, unused = load_with_report(folder, device_map="meta")
    checked = [
        f"{type(model).__name__} with all of its {len(model.state_dict())} weights",
        *[f"not used: {len(unused)} more in the files, such as {name}" for name in unused[:1]],
        check_finite(folder),
        check_positions(folder, model.config, config.model),
        _check_tokenizer(folder, model, config),
        _check_samplers(folder, model.config, config, stages),
    ]
    return [*checked, *_check_adapters(lambda: model, config, stages)]


def _without_weights(folder: Path) -> Any:
    return load_with_report(folder, device_map="meta")[0]


def _check_tokenizer(folder: Path, model: Any, config: Config) -> str:
    tokenizer = load_tokenizer(tokenizer_folder(folder))
    with refuse_unreadable(folder, "tokenizer"):
        return check_tokenizer(folder, tokenizer, model, config)


def _check_samplers(
    folder: Path, model_config: Any, config: Config, stages: Collection[StageName]
) -> str:
    tokens = config.model.max_prompt_tokens + config.model.max_completion_tokens
    sampled = {
        f"{stage}.sampler": getattr(config, stage).sampler
        for stage in ("rank_grpo", "evaluate")
        if stage in stages
    }
    return refuse_sampler(model_config, sampled, tokens, f"the model in {folder}")


def _check_adapters(
    make_model: Callable[[], Any], config: Config, stages: Collection[StageName]
) -> list[str]:
    """The modules that get adapters. Makes the model, without weights, only if there are any."""
    checked = []
    for stage in ("sft", "rank_grpo"):
        lora = getattr(config, stage).lora
        if stage in stages and lora.rank:
            targets = lora_config(lora, make_model(), stage).target_modules
            names = targets if isinstance(targets, str) else ", ".join(sorted(targets))
            checked.append(f"{stage} adapts {names}")
    return checked
