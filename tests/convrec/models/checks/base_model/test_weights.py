"""Weights that are not all there, not numbers, or not readable are refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from convrec.models.checks import check_base_model
from tests.support.broken_models import (
    LFS,
    Change,
    change_config,
    error_of,
    settings,
    write_file,
)
from tests.support.model_folders import (
    change_json,
    change_weights,
    rename_weights,
    save_model,
)


def _shard(folder: Path, *, drop: bool = True) -> None:
    """Split the weights into two files with an index; one file is lost."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    (folder / "model.safetensors").unlink()
    shards = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for shard, keys in shards.items():
        save_file({key: weights[key] for key in keys}, folder / shard, metadata={"format": "pt"})
    weight_map = {key: shard for shard, keys in shards.items() for key in keys}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    if drop:
        (folder / "model-2.safetensors").unlink()


def _drop(name: str) -> Change:
    return lambda folder: change_weights(
        folder, lambda weights: {key: w for key, w in weights.items() if key != name}
    )


def _fill(name: str, value: float) -> Change:
    def change(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights[name].view(-1)[-1] = value
        return weights

    return lambda folder: change_weights(folder, change)


def _cut_embedding(folder: Path) -> None:
    name = "model.embed_tokens.weight"
    change_weights(folder, lambda weights: weights | {name: weights[name][:20]})


def _prefix(prefix: str) -> Change:
    return lambda folder: rename_weights(folder, lambda name: prefix + name)


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _rename_file(old: str, new: str) -> Change:
    return lambda folder: (folder / old).rename(folder / new)


def _other_family(folder: Path) -> None:
    save_model(folder / "gpt2", "gpt2")
    shutil.copy(folder / "gpt2" / "model.safetensors", folder)


def _move_down(folder: Path) -> None:
    """As the output folder of a training, with the model in a folder inside."""
    inside = folder / "checkpoint-20"
    inside.mkdir()
    for path in list(folder.iterdir()):
        if path != inside:
            path.rename(inside / path.name)


def _of_type(dtype: torch.dtype) -> Change:
    return lambda folder: change_weights(
        folder, lambda weights: {name: weight.to(dtype) for name, weight in weights.items()}
    )


def _beyond_float32(folder: Path) -> None:
    _of_type(torch.float64)(folder)
    _fill("lm_head.weight", 1e300)(folder)


WEIGHT_DEFECTS: dict[str, tuple[Change, str]] = {
    "compiled": (_prefix("_orig_mod."), "LlamaForCausalLM lacks 21 .*`_orig_mod.`"),
    "ddp": (_prefix("module."), "contain `module.`"),
    "fsdp": (
        lambda folder: rename_weights(
            folder, lambda name: name.replace("mlp.", "mlp._fsdp_wrapped_module.")
        ),
        "contain `_fsdp_wrapped_module.`",
    ),
    "peft": (_prefix("base_model.model."), "contain `base_model.model.`"),
    "unmerged": (
        lambda folder: rename_weights(
            folder, lambda name: name.replace("q_proj", "q_proj.base_layer")
        ),
        "contain `base_layer.`",
    ),
    "own prefix": (_prefix("student."), "begin with `student.`"),
    "one missing": (_drop("model.norm.weight"), r"lacks 1 .* such as model\.norm\.weight"),
    "head missing": (_drop("lm_head.weight"), r"such as lm_head\.weight"),
    "lost shard": (_shard, r"lacks 1 of the 2 files.*model-2\.safetensors"),
    "other family": (_other_family, "while the files hold .* that it does not use"),
    "other shape": (_cut_embedding, r"embed_tokens\.weight is 20x32, but .* has \d+x32 there"),
    "nan": (_fill("model.norm.weight", float("nan")), r"model\.norm\.weight in .* are NaN"),
    "infinite": (_fill("lm_head.weight", float("-inf")), "lm_head.* NaN or infinite"),
    "empty file": (write_file("model.safetensors", b""), "because it is empty"),
    "cut off": (_truncate, r"cut off or damaged at \d"),
    "pointer": (write_file("model.safetensors", LFS), "git lfs pull"),
    "pointer config": (write_file("config.json", LFS), "git lfs pull"),
    "pickle": (
        _rename_file("model.safetensors", "pytorch_model.bin"),
        r"holds no \*\.safetensors",
    ),
    "odd name": (
        _rename_file("model.safetensors", "consolidated.safetensors"),
        r"holds consolidated\.safetensors, but neither model\.safetensors",
    ),
    "4 bits": (
        change_config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "quantized .*bitsandbytes",
    ),
    "gptq": (
        change_config(quantization_config={"quant_method": "gptq", "bits": 4}),
        "quantized .*gptq",
    ),
    "awq": (
        lambda folder: rename_weights(folder, lambda name: name.replace(".weight", ".qweight")),
        "quantized .*qweight",
    ),
    "fp8": (_of_type(torch.float8_e4m3fn), "quantized .*F8_E4M3"),
    "int8": (_of_type(torch.int8), "quantized .*I8"),
    "bool": (_of_type(torch.bool), "quantized .*BOOL"),
    "complex": (_of_type(torch.complex64), "quantized .*C64"),
    "beyond float32": (_beyond_float32, "lm_head.* NaN or infinite"),
    "mlx": (change_config(quantization={"group_size": 64, "bits": 4}), "is quantized"),
    "folder above": (_move_down, r"holds no model: .*; .*/checkpoint-20 holds one"),
    "no config": (_rename_file("config.json", "config.txt"), "holds no model"),
    "broken config": (
        write_file("config.json", b'{"model_type":'),
        r"config\.json is not valid JSON",
    ),
    "several types": (change_config(model_type=["llama"]), "is of type .*llama.*does not know"),
    "unknown type": (
        change_config(model_type="mycustom"),
        "is of type mycustom, and transformers .* does not know",
    ),
}


@pytest.mark.parametrize("defect", WEIGHT_DEFECTS)
def test_weights_that_are_not_all_there_are_refused(folder: Path, defect: str) -> None:
    change, pattern = WEIGHT_DEFECTS[defect]
    change(folder)
    message = error_of(folder)
    assert re.search(pattern, message), message
    assert str(folder) in message


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_other_precisions_pass(folder: Path, dtype: torch.dtype) -> None:
    _of_type(dtype)(folder)
    assert check_base_model(settings(folder))


def test_an_architecture_without_a_list_passes(folder: Path) -> None:
    change_json(folder / "config.json", architectures="LlamaForCausalLM")
    assert check_base_model(settings(folder))


def test_a_sharded_model_passes(folder: Path) -> None:
    _shard(folder, drop=False)
    assert check_base_model(settings(folder))


def test_unused_weights_pass(folder: Path) -> None:
    change_weights(folder, lambda weights: weights | {"extra.weight": torch.ones(3)})
    assert check_base_model(settings(folder))[1] == (
        "not used: 1 more in the files, such as extra.weight"
    )


def test_weights_are_read_again_once_they_change(folder: Path) -> None:
    check_base_model(settings(folder))
    _fill("model.norm.weight", float("nan"))(folder)
    assert "NaN" in error_of(folder)
