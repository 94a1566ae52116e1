"""Export a checkpoint as a plain folder that transformers and vLLM load.

Checkpoints in the warehouse are such folders already, with LoRA merged. An export leaves out our
own records and adds a current model card.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from convrec.artifacts import Store
from convrec.config import resolve_path
from convrec.errors import InputError
from convrec.stages.evaluate.report.model_card import model_card
from convrec.utils.files import atomic_folder

COPIED_PATTERNS = (
    *("*.safetensors", "*.safetensors.index.json", "*.jinja", "*.model", "*.txt", "*.md"),
    *("config.json", "generation_config.json", "adapter_config.json", "vocab.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)

PROBE = "Loved Heat (1995) & “Amélie”; it's 12 Angry Men I'd like\n2. Up (2009)"
"""Text that AutoTokenizer splits differently from a tokenizer with its own word splitting."""

TOKENIZER_WARNING = (
    "note: transformers' AutoTokenizer goes by the model type and splits words differently from "
    "this tokenizer, as with the demo's `tiny` model; load it with "
    "PreTrainedTokenizerFast.from_pretrained(folder)"
)


def export_checkpoint(store: Store, checkpoint: str, out: Path, *, merge: bool = False) -> Path:
    """Write the folder `out` atomically and return it.

    `checkpoint` is the id of a checkpoint or a model folder. With `merge`, an adapter is merged
    into its base. Raises InputError if there is no such model, or if `out` is not empty.
    """
    out = resolve_path(str(out), "DIR").resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty; give a new folder")
    source, card = _find_source(store, checkpoint)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{out} cannot be created, because {out.parent} is not a folder; give another path"
        ) from None
    with atomic_folder(out) as part:
        if merge and (source / "adapter_config.json").is_file():
            from convrec.models.load import load_checkpoint, save_student

            save_student(load_checkpoint(source), part)
        else:
            _copy_model(source, part)
        if card:
            (part / "README.md").write_text(card, encoding="utf-8")
        for file in part.iterdir():
            file.chmod(0o644)
        part.chmod(0o755)
    return out


def auto_tokenizer_agrees(folder: Path) -> bool:
    """Whether AutoTokenizer, which vLLM uses too, returns the ids that the model was trained on."""
    from transformers import AutoTokenizer

    from convrec.models.load import load_tokenizer

    if not (folder / "tokenizer_config.json").is_file():
        return True
    auto = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    trained = load_tokenizer(folder)
    return bool(auto(PROBE).input_ids == trained(PROBE).input_ids)


def _find_source(store: Store, checkpoint: str) -> tuple[Path, str]:
    """The folder with the model, and its model card if it is in the warehouse."""
    folder = resolve_path(checkpoint, "CHECKPOINT")
    if folder.is_dir():
        return folder, ""
    found = store.matching_ids(checkpoint) if checkpoint.startswith("checkpoint-") else []
    if not found:
        raise InputError(
            f"{checkpoint} is neither a folder nor a checkpoint of this warehouse; "
            "`convrec artifacts list --kind checkpoint` shows the checkpoints"
        )
    checkpoint = store.full_id(checkpoint)
    return store.fetch_folder(checkpoint), model_card(store, checkpoint)


def _copy_model(source: Path, out: Path) -> None:
    if not any(source.glob("*.safetensors")):
        raise InputError(f"{source} holds no *.safetensors, so there is no model to export")
    for file in {file for pattern in COPIED_PATTERNS for file in source.glob(pattern)}:
        shutil.copyfile(file, out / file.name)
