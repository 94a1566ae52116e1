"""What went wrong while transformers read a model folder, in one sentence.

transformers fills weights that a folder lacks with random numbers and only prints a table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import __version__ as transformers_version
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from convrec.errors import ConvrecError, InputError
from convrec.models.files import ADAPTER_CONFIG, read_json_object
from convrec.models.hardware import is_out_of_memory
from convrec.utils.error_text import first_line

_CAUSAL_NAME = re.compile(r".*(ForCausalLM|LMHeadModel)|((?!For[A-Z]).)*Model")
"""A base model without its head, such as LlamaModel, is one if its output weights are tied."""

_WRAPPERS = (
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
    "base_model.model.",
    "base_layer.",
    "module.",
    "model.",
)
"""Parts that compiled, distributed, recomputing and adapted models add to the names of weights."""


@contextmanager
def refuse_unreadable(folder: Path, what: str) -> Iterator[None]:
    """Raise InputError for whatever a library raises about `what` in a folder."""
    try:
        yield
    except ConvrecError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = str(error)
        if "trust_remote_code" in text or "custom code" in text:
            raise InputError(
                f"the {what} in {folder} needs code of its own (auto_map in its configuration), "
                "which is never run; use a model of a type that transformers has"
            ) from None
        raise InputError(
            f"the {what} in {folder} cannot be read ({first_line(error)}); download it again, or "
            "use a causal language model saved with save_pretrained"
        ) from None


def check_architecture(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise InputError for a config.json of anything but a causal language model."""
    kind, names = str(config.get("model_type") or ""), config.get("architectures") or []
    names = [str(name) for name in names] if isinstance(names, list) else [str(names)]
    if kind not in CONFIG_MAPPING_NAMES:
        reason = (
            "it needs code of its own (auto_map), which is never run"
            if config.get("auto_map")
            else f"transformers {transformers_version} does not know that type"
        )
        raise InputError(
            f"the model in {folder} is of type {kind or 'unknown'}, and {reason}; use "
            "a model of a type that transformers has"
        )
    causal = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    is_named = not names or any(name in causal or _CAUSAL_NAME.fullmatch(name) for name in names)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or not is_named:
        raise InputError(
            f"the model in {folder} is a {names[0] if names else kind}, not a causal language "
            "model; use a model whose config.json names a ...ForCausalLM"
        )


def load_report_problem(folder: Path, model: Any, report: Mapping[str, Collection[Any]]) -> str:
    """The defect in transformers' loading info of a model; empty if its weights are complete.

    `report` has missing_keys, unexpected_keys and mismatched_keys. Weights that the model does not
    use are no defect.
    """
    name = type(model).__name__
    if missing := sorted(report["missing_keys"]):
        unexpected = sorted(report["unexpected_keys"])
        return (
            f"the weights in {folder} do not fit its config.json: {name} lacks {len(missing)} "
            f"there, such as {missing[0]}{_explanation(missing, unexpected)}"
        )
    if mismatched := sorted(report["mismatched_keys"], key=str):
        key, stored, wanted = mismatched[0]
        return (
            f"the weights in {folder} do not fit its config.json: {key} is {_size(stored)}, but "
            f"{name} has {_size(wanted)} there; use "
            "a folder whose config.json belongs to its weights"
        )
    return ""


def drop_own_code(config: Any) -> None:
    """Forget that a model came with code of its own, so that no checkpoint names that code."""
    if hasattr(config, "auto_map"):
        del config.auto_map


def adapter_base(folder: Path) -> str:
    """The base model that an adapter names. Raises InputError if it names none but adapters."""
    base = _named_base(folder)
    known, inner = {folder.resolve()}, Path(base)
    while (inner / ADAPTER_CONFIG).is_file():
        if inner.resolve() in known:
            raise InputError(_no_base(folder))
        known.add(inner.resolve())
        inner = Path(_named_base(inner))
    return base


def _named_base(folder: Path) -> str:
    base = read_json_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InputError(_no_base(folder))
    return base


def _no_base(folder: Path) -> str:
    return (
        f"{folder} holds an adapter whose {ADAPTER_CONFIG} names no base model; set "
        "base_model_name_or_path there to the base's folder or Hub name"
    )


def _explanation(missing: list[str], unexpected: list[str]) -> str:
    """Why weights are missing, and what to do."""
    names = set(missing)
    for wrapper in _WRAPPERS:
        if any(key.replace(wrapper, "") in names for key in unexpected if wrapper in key):
            return (
                f", because the names in the files contain `{wrapper}`; save the unwrapped model "
                "again with save_pretrained"
            )
    prefixes = (
        key.removesuffix(name) for key in unexpected for name in missing if key.endswith(f".{name}")
    )
    if prefix := next(prefixes, ""):
        return (
            f", because the names in the files begin with `{prefix}`; save the model again "
            "without that prefix"
        )
    if unexpected:
        return (
            f", while the files hold {len(unexpected)} that it does not use, such as "
            f"{unexpected[0]}; use a folder whose config.json belongs to its weights"
        )
    return "; download the model again, or save it again with save_pretrained"


def _size(shape: Any) -> str:
    return "x".join(str(int(size)) for size in shape) or "a single number"
