"""Export a checkpoint as a plain folder that transformers and vLLM load.

Checkpoints in the warehouse are such folders already, with LoRA merged. An export leaves out our
own records, and adds a current model card and what makes lists of the catalog without convrec:
`catalog_lists.py`, a logits processor, and `catalog.jsonl`, the catalog of the training.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from convrec.artifacts import Store
from convrec.artifacts.lineage import checkpoint_catalog
from convrec.config import resolve_path
from convrec.errors import InputError
from convrec.models.manifest import serving_config
from convrec.stages.evaluate.report.model_card import current_card
from convrec.utils.files import atomic_folder

COPIED_PATTERNS = (
    *("*.safetensors", "*.safetensors.index.json", "*.jinja", "*.model", "*.txt", "*.md"),
    *("config.json", "generation_config.json", "adapter_config.json", "vocab.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("catalog.jsonl", "catalog_lists.py"),
)

_CATALOG_LISTS = Path(__file__).parent / "exported" / "catalog_lists.py"

TOKENIZER_WARNING = (
    "note: transformers' AutoTokenizer goes by the model type and splits words differently from "
    "this tokenizer; load it with PreTrainedTokenizerFast.from_pretrained(folder)"
)


def export_checkpoint(store: Store, checkpoint: str, out: Path, *, merge: bool = False) -> Path:
    """Write the folder `out` atomically and return it.

    `checkpoint` is the id of a checkpoint or a model folder. With `merge`, an adapter is merged
    into its base. Raises InputError if there is no such model, or if `out` is not empty.
    """
    out = resolve_path(str(out), "DIR").resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty; give a new folder")
    source, found = _find_source(store, checkpoint)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{out} cannot be created, because {out.parent} is not a folder; give another path"
        ) from None
    with atomic_folder(out) as part:
        from convrec.models.plain_tokenizer import make_auto_tokenizer_agree

        if merge and (source / "adapter_config.json").is_file():
            from convrec.models.load import load_checkpoint, save_student

            save_student(load_checkpoint(source), part)
        else:
            _copy_model(source, part)
        make_auto_tokenizer_agree(part)
        if found:
            (part / "README.md").write_text(current_card(store, found), encoding="utf-8")
            _write_catalog(store, found, part)
        for file in part.iterdir():
            file.chmod(0o644)
        part.chmod(0o755)
    return out


def _find_source(store: Store, checkpoint: str) -> tuple[Path, str]:
    """The folder with the model, and its id if it is in the warehouse."""
    folder = resolve_path(checkpoint, "CHECKPOINT")
    if folder.is_dir():
        return folder, ""
    if not any(name.startswith("checkpoint-") for name in store.matching_ids(checkpoint)):
        raise InputError(
            f"{checkpoint} is neither a folder nor a checkpoint of this warehouse; "
            "`convrec artifacts list --kind checkpoint` shows the checkpoints"
        )
    checkpoint = store.full_id(checkpoint)
    return store.fetch_folder(checkpoint), checkpoint


def _write_catalog(store: Store, checkpoint: str, out: Path) -> None:
    """Write the catalog of the training as lines, and the code that makes lists of them.

    Nothing for a checkpoint without a catalog in its lineage.
    """
    try:
        catalog = checkpoint_catalog(store, checkpoint)
    except InputError:
        return
    config = serving_config(store.read(checkpoint)["manifest"][0])
    line_format = config.line_format.for_titles(catalog["title"])
    with (out / "catalog.jsonl").open("w", encoding="utf-8") as file:
        for item_id, title, year in catalog.select("item_id", "title", "year").iter_rows():
            line = line_format.format(title, year)
            row = {"item_id": item_id, "title": title, "year": year, "line": line}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    shutil.copyfile(_CATALOG_LISTS, out / "catalog_lists.py")


def _copy_model(source: Path, out: Path) -> None:
    if not any(source.glob("*.safetensors")):
        raise InputError(f"{source} holds no *.safetensors, so there is no model to export")
    for file in {file for pattern in COPIED_PATTERNS for file in source.glob(pattern)}:
        shutil.copyfile(file, out / file.name)
