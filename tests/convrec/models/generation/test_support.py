from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.generation.recommend import ServedCatalog, recommend_texts
from convrec.models.generation.sample import sample_texts
from convrec.models.generation.support import few_layers, sampler_support
from convrec.models.load import load_checkpoint
from tests.support.model_folders import COMMON, FAMILIES, save_model

FULL = ("llama", "qwen2", "qwen3", "gpt2", "phi3", "gpt_neox", "bloom", "opt", "mistral")


def config_of(family: str, **settings: object) -> object:
    names = CONFIG_MAPPING[family].attribute_map
    values = {"vocab_size": 300, **COMMON, **FAMILIES[family], **settings}
    return CONFIG_MAPPING[family](**{names.get(key, key): value for key, value in values.items()})


@pytest.mark.parametrize("family", FULL)
def test_full_attention_can_have_gaps(family: str) -> None:
    assert sampler_support(config_of(family), 4096) == (True, True, "")


@pytest.mark.parametrize("family", ["lfm2", "falcon_h1", "mpt", "gpt_neo"])
def test_summaries_and_places_allow_no_gaps(family: str) -> None:
    support = sampler_support(config_of(family), 160)
    assert (support.works, support.takes_gaps) == (True, False)


@pytest.mark.parametrize("family", ["mamba", "rwkv", "bert"])
def test_other_caches_are_told_apart(family: str) -> None:
    assert not sampler_support(config_of(family), 160).works


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text", "mistral"])
def test_a_window_must_hold_the_whole_text(family: str) -> None:
    config = config_of(family, sliding_window=64)
    assert sampler_support(config, 64).takes_gaps
    assert not sampler_support(config, 65).takes_gaps


def test_qwen_with_a_window_is_not_taken_for_full_attention() -> None:
    config = config_of(
        "qwen2", sliding_window=16, use_sliding_window=True, max_window_layers=0, layer_types=None
    )
    assert not sampler_support(config, 160).takes_gaps


def test_few_layers_cut_what_has_one_value_for_each() -> None:
    config = few_layers(config_of("gemma2"), 1)
    assert (config.num_hidden_layers, config.layer_types) == (1, ["sliding_attention"])


def test_lists_are_refused_where_they_would_be_wrong(tmp_path: Path) -> None:
    student = load_checkpoint(save_model(tmp_path / "student", "lfm2"))
    config = Config.model_validate({"model": {"max_prompt_tokens": 32}})
    with pytest.raises(InputError, match=r"evaluate\.sampler=distinct, .* set evaluate\.sampler=f"):
        sample_texts(student, ["like Heat"], config=config)
    catalog = ServedCatalog([("1", "Up", 2009), ("2", "Big", 1988)], config.line_format)
    with pytest.raises(InputError, match="lists of catalog lines cannot be sampled"):
        recommend_texts(student, catalog, ["like Heat"], config, n=2)
