"""`convrec export`: a checkpoint as a plain folder that transformers and vLLM load.

Checkpoints of the warehouse are such folders already, with LoRA merged; export leaves out our own
records and writes a fresh model card. A folder from elsewhere that holds a LoRA adapter is copied
as it is, or merged into its base with `--merge`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.config import resolve_path
from convrec.errors import InputError
from convrec.utils.files import atomic_folder

if TYPE_CHECKING:
    from convrec.artifacts import Store

PLAIN = ("*.safetensors", "*.safetensors.index.json", "*.jinja", "*.model", "*.txt", "*.md")
CONFIGS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
READABLE = 0o644

PROBE = "Loved Heat (1995) & “Amélie”; it's 12 Angry Men I'd like\n2. Up (2009)"
OWN_TOKENIZER = (
    "note: transformers' AutoTokenizer goes by the model type and splits words otherwise than this "
    "tokenizer does, as with the demo's `tiny` model; load it with "
    "PreTrainedTokenizerFast.from_pretrained(folder)"
)


def export_checkpoint(store: Store, checkpoint: str, out: Path, *, merge: bool = False) -> Path:
    """Write `out`, at once or not at all; returns it.

    Raises InputError where the checkpoint is not there, holds no model, or `out` holds something.
    """
    out = resolve_path(str(out), "DIR").resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty; give a folder that is to be made")
    source, card = _source(store, checkpoint)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{out} cannot be made, {out.parent} is no folder; give another") from None
    with atomic_folder(out) as part:
        if merge and (source / "adapter_config.json").is_file():
            _merge(source, part)
        else:
            _copy(source, part)
        if card:
            (part / "README.md").write_text(card, encoding="utf-8")
        for file in part.iterdir():
            file.chmod(READABLE)
        part.chmod(0o755)
    return out


def auto_reads_alike(folder: Path) -> bool:
    """Whether AutoTokenizer, which vLLM uses too, gives the ids that the model was trained with."""
    from transformers import AutoTokenizer

    from convrec.models.load import load_tokenizer

    if not (folder / "tokenizer_config.json").is_file():
        return True
    auto = AutoTokenizer.from_pretrained(folder)
    own = load_tokenizer(folder)
    return bool(auto(PROBE).input_ids == own(PROBE).input_ids)


def _source(store: Store, checkpoint: str) -> tuple[Path, str]:
    """The folder with the model, and its card where the warehouse knows it."""
    from convrec.stages.evaluate.report.model_card import model_card

    folder = resolve_path(checkpoint, "CHECKPOINT")
    if folder.is_dir():
        return folder, ""
    ref = store.find(checkpoint) if checkpoint.startswith("checkpoint-") else None
    if ref is None:
        raise InputError(
            f"{checkpoint} is neither a folder nor a checkpoint of this warehouse; "
            "`convrec artifacts list --kind checkpoint` shows those"
        )
    return store.fetched(checkpoint), model_card(store, checkpoint)


def _copy(source: Path, out: Path) -> None:
    if not any(source.glob("*.safetensors")):
        raise InputError(f"{source} holds no *.safetensors, so there is no model to export")
    names = {file.name for pattern in PLAIN for file in source.glob(pattern)}
    for name in sorted(names | {name for name in CONFIGS if (source / name).is_file()}):
        shutil.copyfile(source / name, out / name)


def _merge(source: Path, out: Path) -> None:
    from convrec.models.hub import quiet
    from convrec.models.load import load_checkpoint

    student = load_checkpoint(source)
    with quiet():
        student.model.save_pretrained(out)
    student.tokenizer.save_pretrained(out)
