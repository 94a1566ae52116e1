from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from convrec.config import Config
from convrec.errors import ConfigError, InputError
from convrec.models.checks import check_base_model
from tests.support.model_folders import (
    change_json,
    change_weights,
    rename_weights,
    save_model,
    set_template,
)

Change = Callable[[Path], object]

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n"


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A healthy folder of our own, to be broken."""
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(llama, tmp_path / "student"))


def settings(folder: Path, **sections: Any) -> Config:
    model = {"prompt": "plain", "max_prompt_tokens": 96, "max_completion_tokens": 64}
    return Config.model_validate({**sections, "model": {**model, "base": str(folder)}})


def error_of(folder: Path, **sections: Any) -> str:
    with pytest.raises(InputError) as caught:
        check_base_model(settings(folder, **sections))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_healthy_folder_passes_every_check(folder: Path) -> None:
    assert check_base_model(settings(folder)) == [
        "LlamaForCausalLM with all of its 21 weights",
        "all weights are finite",
        "its 256 positions hold 96 + 64 tokens",
        "prompts have its chat template and start with '<|user|>'",
        "all samplers work",
    ]


def test_tiny_needs_no_check() -> None:
    assert check_base_model(Config()) == []


# -- weights -------------------------------------------------------------------------------------


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


def _config(**values: Any) -> Change:
    return lambda folder: change_json(folder / "config.json", **values)


def _write(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


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
    "empty file": (_write("model.safetensors", b""), "because it is empty"),
    "cut off": (_truncate, r"cut off or damaged at \d"),
    "pointer": (_write("model.safetensors", LFS), "git lfs pull"),
    "pointer config": (_write("config.json", LFS), "git lfs pull"),
    "pickle": (
        _rename_file("model.safetensors", "pytorch_model.bin"),
        r"holds no \*\.safetensors",
    ),
    "odd name": (
        _rename_file("model.safetensors", "consolidated.safetensors"),
        r"holds consolidated\.safetensors, but neither model\.safetensors",
    ),
    "4 bits": (
        _config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "quantized .*bitsandbytes",
    ),
    "gptq": (_config(quantization_config={"quant_method": "gptq", "bits": 4}), "quantized .*gptq"),
    "awq": (
        lambda folder: rename_weights(folder, lambda name: name.replace(".weight", ".qweight")),
        "quantized .*qweight",
    ),
    "fp8": (_of_type(torch.float8_e4m3fn), "quantized .*F8_E4M3"),
    "int8": (_of_type(torch.int8), "quantized .*I8"),
    "bool": (_of_type(torch.bool), "quantized .*BOOL"),
    "complex": (_of_type(torch.complex64), "quantized .*C64"),
    "beyond float32": (_beyond_float32, "lm_head.* NaN or infinite"),
    "mlx": (_config(quantization={"group_size": 64, "bits": 4}), "is quantized"),
    "folder above": (_move_down, r"holds no model: .*; .*/checkpoint-20 holds one"),
    "no config": (_rename_file("config.json", "config.txt"), "holds no model"),
    "broken config": (_write("config.json", b'{"model_type":'), r"config\.json is not valid JSON"),
    "several types": (_config(model_type=["llama"]), "is of type .*llama.*does not know"),
    "unknown type": (
        _config(model_type="mycustom"),
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


# -- architecture ------------------------------------------------------------------------------

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
    return _config(architectures=[name])


def _family(family: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        shutil.rmtree(folder)
        save_model(folder, family, **values)

    return change


ARCHITECTURE_DEFECTS: dict[str, tuple[Change, str]] = {
    "own model": (_own_code, "is of type mycustom, and it needs code of its own"),
    "own tokenizer": (_own_tokenizer, "the tokenizer in .* needs code of its own"),
    "classifier": (_architecture("LlamaForSequenceClassification"), "is a LlamaForSequenceC"),
    "reward model": (_architecture("LlamaForRewardModel"), "not a causal language model"),
    "encoder": (_architecture("BertForMaskedLM"), "is a BertForMaskedLM"),
    "translator": (
        _config(model_type="t5", architectures=None),
        "is a t5, not a causal language model",
    ),
    "pictures": (
        _config(model_type="clip", architectures=["CLIPModel"]),
        "is a CLIPModel, not a causal",
    ),
    "both ways": (_family("bert"), "lists cannot be sampled .* differently with its cache"),
    "mamba": (_family("mamba"), "cannot be sampled .* use a model with full attention"),
    "rwkv": (_family("rwkv"), "lists cannot be sampled"),
    "hybrid": (
        _family("lfm2"),
        "cannot be sampled with rank_grpo.sampler=distinct and .* summary .* set "
        "rank_grpo.sampler=free and evaluate.sampler=free",
    ),
    "parallel hybrid": (_family("falcon_h1"), "keep a summary"),
    "window": (_family("mistral", sliding_window=64), "window of 64 tokens"),
    "window in some layers": (_family("gemma3_text", sliding_window=128), "window of 128 tokens"),
    "local attention": (_family("gpt_neo"), "window of 8 tokens"),
    "slopes by place": (_family("mpt"), "counts what was taken back"),
    "few positions": (
        _family("gpt2", n_positions=100),
        r"need 160 positions, but the model in .* has 100; set model\.max_prompt_tokens=36",
    ),
    "fewer positions than a list": (_family("gpt2", n_positions=32), "has 32; lower both"),
    "few rotary positions": (_config(max_position_embeddings=128), "need 160 .* has 128"),
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
    _family(family)(folder)
    free = {"rank_grpo": {"sampler": "free"}, "evaluate": {"sampler": "lines"}}
    assert "samplers free and lines work" in check_base_model(settings(folder, **free))


def test_only_the_stages_of_the_run_count(folder: Path) -> None:
    _family("mamba")(folder)
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


# -- tokenizer ---------------------------------------------------------------------------------


def _template(template: str | None) -> Change:
    return lambda folder: set_template(folder, template)


def _no_eos(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", eos_token=None)
    change_json(folder / "config.json", eos_token_id=None)
    change_json(folder / "generation_config.json", eos_token_id=None)


def _small_vocabulary(folder: Path) -> None:
    shutil.rmtree(folder)
    save_model(folder, vocab_size=240)


def _new_pad(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", pad_token="[PAD]")


def _without_line_breaks(folder: Path) -> None:
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    data["normalizer"] = {"type": "Replace", "pattern": {"String": "\n"}, "content": " "}
    path.write_text(json.dumps(data))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def _no_words(folder: Path) -> None:
    """A tokenizer that raises what only the tokenizers library knows."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    data["model"] = model | {"max_input_chars_per_word": 9, "vocab": data["model"]["vocab"]}
    path.write_text(json.dumps(data))


def _two_starts(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", bos_token="<|system|>")
    set_template(folder, "{{ bos_token + bos_token + messages[0]['content'] }}<|assistant|>")


PARTS = (
    "{% for m in messages %}<|user|>{% for part in m['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}<|assistant|>"
)

TOKENIZER_DEFECTS: dict[str, tuple[Change, str]] = {
    "no end": (_no_eos, "no end-of-sequence token, .* set eos_token"),
    "small vocabulary": (_small_vocabulary, "embeddings for ids below 240, but .* tokens has id"),
    "pad outside": (_new_pad, r"embeddings .* but the tokenizer's pad_token has id"),
    "no line breaks": (_without_line_breaks, "one title a line"),
    "no tokenizer": (_no_tokenizer, "holds no tokenizer; copy tokenizer.json"),
    "broken tokenizer": (_write("tokenizer.json", b"{}"), "the tokenizer in .* cannot be read"),
    "no word for the unknown": (_no_words, r"tokenizer in .* cannot be read \(WordPiece error"),
    "pointer to a template": (_write("chat_template.jinja", LFS), "jinja is a Git LFS pointer"),
    "short messages": (_template("{{ messages[0]['content'][:200] }}"), "loses the text"),
    "escaped": (_template("{{ messages[0]['content'] | e }}"), "loses the text"),
    "clock by another name": (
        _template("{% set now = strftime_now %}{{ now('%d') }}{{ messages[0]['content'] }}"),
        "reads the clock",
    ),
    "broken settings": (_write("tokenizer_config.json", b"["), "not valid JSON"),
    "pointer": (_write("tokenizer.json", LFS), "tokenizer.json is a Git LFS pointer"),
    "no generation prompt": (
        _template("<|user|>{{ messages[0]['content'] }}"),
        "ends with the user's text: it has no generation prompt",
    ),
    "parts": (_template(PARTS), "chat template of .* loses the text"),
    "nothing": (_template("<|user|><|assistant|>"), "loses the text"),
    "lower case": (
        _template("{% for m in messages %}{{ m['content'] | lower }}{% endfor %}"),
        "loses the text",
    ),
    "system needed": (
        _template(
            "{% if messages[0]['role'] != 'system' %}{{ raise_exception('no system') }}{% endif %}"
        ),
        r"chat template cannot render one message of the user \(no system\)",
    ),
    "more turns needed": (_template("{{ messages[1]['content'] }}"), "cannot render one message"),
    "syntax": (_template("{% for %}"), "cannot render one message"),
    "clock": (
        _template(
            "{% set form = '%Y' %}{{ strftime_now(form) }}{% for m in messages %}"
            "{{ m['content'] }}{% endfor %}"
        ),
        "reads the clock",
    ),
    "two starts": (_two_starts, "writes <|system|> twice"),
    "long template": (
        _template("word " * 200 + "{{ messages[0]['content'] }}<|assistant|>"),
        "leaves no room for the conversation",
    ),
}


@pytest.mark.parametrize("defect", TOKENIZER_DEFECTS)
def test_tokenizers_that_lose_something_are_refused(folder: Path, defect: str) -> None:
    change, pattern = TOKENIZER_DEFECTS[defect]
    change(folder)
    message = error_of(folder)
    assert re.search(pattern, message), message


def test_an_end_that_only_the_model_names_is_used(folder: Path) -> None:
    _no_eos(folder)
    change_json(folder / "generation_config.json", eos_token_id=[1, 0])
    assert check_base_model(settings(folder))


def test_special_tokens_beyond_the_embedding_pass_if_no_text_has_them(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", extra_special_tokens=["<image>"])
    assert check_base_model(settings(folder))


def test_an_instruction_that_fills_the_prompt_is_refused(folder: Path) -> None:
    filled = Config.model_validate(
        {"model": {"base": str(folder), "max_prompt_tokens": 96, "max_completion_tokens": 64}}
    )
    pattern = r"max_prompt_tokens=96 leaves no room .* template and the instruction take \d{3}"
    with pytest.raises(ConfigError, match=pattern):
        check_base_model(filled)


# -- adapters ----------------------------------------------------------------------------------

LORA_FAMILIES = {
    "llama": "k_proj, o_proj, q_proj, v_proj",
    "gpt2": "all-linear",
    "phi3": "all-linear",
    "bloom": "all-linear",
    "gpt_neox": "all-linear",
}


@pytest.mark.parametrize("family", LORA_FAMILIES)
def test_adapters_fit_the_family(folder: Path, family: str) -> None:
    _family(family)(folder)
    checked = check_base_model(settings(folder, sft={"lora": {"rank": 2}}))
    assert checked[-1] == f"sft adapts {LORA_FAMILIES[family]}"


@pytest.mark.parametrize("stage", ["sft", "rank_grpo"])
@pytest.mark.parametrize(
    ("names", "unknown"), [(["c_attn"], "c_attn"), (["q_proj", "up"], "up"), ([], "no module")]
)
def test_adapters_of_other_names_are_refused(
    folder: Path, stage: str, names: list[str], unknown: str
) -> None:
    message = error_of(folder, **{stage: {"lora": {"rank": 2, "target_modules": names}}})
    assert message.startswith(f"{stage}.lora.target_modules names {unknown}, which the model does")
    assert "it has down_proj, gate_proj, k_proj," in message


def test_names_of_embeddings_and_paths_are_modules(folder: Path) -> None:
    names = ["embed_tokens", "lm_head", "mlp.up_proj", "layers.1.self_attn.q_proj"]
    lora = {"rank": 2, "target_modules": names}
    assert "adapts" in check_base_model(settings(folder, sft={"lora": lora}))[-1]
