"""Models that cannot write lists, or only with some samplers, are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from convrec.models.checks import check_base_model
from tests.support.broken_models import (
    Change,
    change_config,
    error_of,
    of_family,
    settings,
)
from tests.support.model_folders import (
    change_json,
)

OWN_CODE = {
    "model_type": "mycustom",
    "auto_map": {
        "AutoConfig": "configuration_my.MyConfig",
        "AutoModelForCausalLM": "modeling_my.MyModel",
    },
}


def _own_code(folder: Path) -> None:
    change_json(folder / "config.json", **OWN_CODE)
    mark = f"open({str(folder / 'CODE-WAS-RUN')!r}, 'w').close()\n"
    for name in ("configuration_my.py", "modeling_my.py"):
        (folder / name).write_text(mark)


def _own_tokenizer(folder: Path) -> None:
    _own_code(folder)
    change_json(folder / "config.json", model_type="llama", auto_map=None)
    change_json(
        folder / "tokenizer_config.json",
        tokenizer_class="MyTokenizer",
        auto_map={"AutoTokenizer": ["configuration_my.MyTokenizer", None]},
    )


def _architecture(name: str) -> Change:
    return change_config(architectures=[name])


ARCHITECTURE_DEFECTS: dict[str, tuple[Change, str]] = {
    "own model": (_own_code, "is of type mycustom, and it needs code of its own"),
    "own tokenizer": (_own_tokenizer, "the tokenizer in .* needs code of its own"),
    "classifier": (_architecture("LlamaForSequenceClassification"), "is a LlamaForSequenceC"),
    "reward model": (_architecture("LlamaForRewardModel"), "not a causal language model"),
    "encoder": (_architecture("BertForMaskedLM"), "is a BertForMaskedLM"),
    "translator": (
        change_config(model_type="t5", architectures=None),
        "is a t5, not a causal language model",
    ),
    "pictures": (
        change_config(model_type="clip", architectures=["CLIPModel"]),
        "is a CLIPModel, not a causal",
    ),
    "both ways": (of_family("bert"), "lists cannot be sampled .* differently with its cache"),
    "mamba": (of_family("mamba"), "cannot be sampled .* use a model with full attention"),
    "rwkv": (of_family("rwkv"), "lists cannot be sampled"),
    "hybrid": (
        of_family("lfm2"),
        "cannot be sampled with rank_grpo.sampler=distinct and .* summary .* set "
        "rank_grpo.sampler=free and evaluate.sampler=free",
    ),
    "parallel hybrid": (of_family("falcon_h1"), "keep a summary"),
    "window": (of_family("mistral", sliding_window=64), "window of 64 tokens"),
    "window in some layers": (of_family("gemma3_text", sliding_window=128), "window of 128 tokens"),
    "local attention": (of_family("gpt_neo"), "window of 8 tokens"),
    "slopes by place": (of_family("mpt"), "counts what was taken back"),
    "few positions": (
        of_family("gpt2", n_positions=100),
        r"need 160 positions, but the model in .* has 100; set model\.max_prompt_tokens=36",
    ),
    "fewer positions than a list": (of_family("gpt2", n_positions=32), "has 32; lower both"),
    "few rotary positions": (change_config(max_position_embeddings=128), "need 160 .* has 128"),
}


@pytest.mark.parametrize("defect", ARCHITECTURE_DEFECTS)
def test_models_that_cannot_write_lists_are_refused(
    folder: Path, defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    change, pattern = ARCHITECTURE_DEFECTS[defect]
    change(folder)
    message = error_of(folder)
    assert re.search(pattern, message), message
    assert not (folder / "CODE-WAS-RUN").exists()


def test_a_known_type_with_own_code_is_loaded_without_it(folder: Path) -> None:
    _own_code(folder)
    change_json(folder / "config.json", model_type="llama")
    assert check_base_model(settings(folder))
    assert not (folder / "CODE-WAS-RUN").exists()


@pytest.mark.parametrize("family", ["lfm2", "falcon_h1", "mpt", "gpt_neo"])
def test_free_samplers_work_without_gaps(folder: Path, family: str) -> None:
    of_family(family)(folder)
    free = {"rank_grpo": {"sampler": "free"}, "evaluate": {"sampler": "lines"}}
    assert "samplers free and lines work" in check_base_model(settings(folder, **free))


def test_only_the_stages_of_the_run_count(folder: Path) -> None:
    of_family("mamba")(folder)
    assert check_base_model(settings(folder), ["sft"])


SCALED = [
    {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
    {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
    {
        "rope_type": "yarn",
        "factor": 2.0,
        "original_max_position_embeddings": 128,
        "rope_theta": 10000.0,
    },
]


@pytest.mark.parametrize("rope", SCALED, ids=lambda rope: rope["rope_type"])
def test_scaled_rotary_positions_count(folder: Path, rope: dict[str, Any]) -> None:
    change_json(folder / "config.json", max_position_embeddings=128, rope_parameters=rope)
    assert "its 256 positions hold 96 + 64 tokens" in check_base_model(settings(folder))
