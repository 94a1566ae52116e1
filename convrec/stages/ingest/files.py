"""The input files of a configuration.

Conversations are JSONL, Parquet or a `datasets` folder (as `save_to_disk` writes it); a folder may
have several files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from convrec.catalog.load import reject_pickle
from convrec.catalog.selection import CATALOG_FILES, data_path
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.ingest.raw_rows import ConversationFile, read_json

DIALOGUE_FILES = ("test.jsonl", "conversations.jsonl")
ENTITY_FILES = ("item_ids.json", "entity2id.json")
_SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


def entity_files(config: Config) -> list[Path]:
    """The two files that define the entity ids of dialogues. Raises InputError."""
    return [_required_file(data_path(config), name) for name in ENTITY_FILES]


def dialogue_file(config: Config) -> Path:
    """The JSONL file of dialogues. Raises InputError."""
    path = data_path(config)
    for file in (path, *(path / name for name in DIALOGUE_FILES)):
        if file.is_file():
            return file
    raise InputError(f"{path} has no {' and no '.join(DIALOGUE_FILES)}; add the dialogues file")


def conversation_files(config: Config) -> list[ConversationFile]:
    """The files of a `reddit-v2` run, ordered by name. Raises InputError."""
    path = data_path(config)
    if path.is_file():
        return [_single_file(path)]
    if (path / "dataset_dict.json").is_file():
        return _datasets_files(path)
    if (path / "state.json").is_file():
        return _state_files(path)
    files = [
        ConversationFile(file, file.name, _split_name(file.stem))
        for file in sorted(path.iterdir())
        if file.suffix.lower() in (".jsonl", ".parquet") and file.name not in CATALOG_FILES
    ]
    if not files:
        for pickle in [*path.glob("*.pkl"), *path.glob("*.pickle")]:
            reject_pickle(pickle)
        raise InputError(
            f"ingest.path={path} has no .jsonl or .parquet file and is not a datasets folder; set "
            "it to the folder of the conversations"
        )
    others = [file.source for file in files if not file.split]
    if others and len({file.split for file in files if file.split}) > 1:
        raise InputError(
            f"{path} has files named after splits and also {others[0]}, which is not; rename it to "
            "train, validation or test, or move it away"
        )
    return files


def _single_file(path: Path) -> ConversationFile:
    reject_pickle(path)
    if path.suffix.lower() not in (".jsonl", ".parquet"):
        raise InputError(
            f"ingest.path={path} is not a conversations file; use .jsonl, .parquet, a folder of "
            "them, or a folder written by datasets.save_to_disk"
        )
    return ConversationFile(path, path.name, _split_name(path.stem))


def _datasets_files(path: Path) -> list[ConversationFile]:
    description = path / "dataset_dict.json"
    return [
        file._replace(source=f"{name}/{file.source}", split=_split_name(name))
        for name in _check_file_names(description, _read_list(description, "splits"))
        for file in _state_files(path / name)
    ]


def _state_files(folder: Path) -> list[ConversationFile]:
    state = _required_file(folder, "state.json")
    entries = _read_list(state, "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    split = _split_name(str(read_json(state).get("_split") or ""))
    return [
        ConversationFile(_required_file(folder, name), name, split)
        for name in _check_file_names(state, names)
    ]


def _read_list(path: Path, key: str) -> list[Any]:
    value = read_json(path)
    items = value.get(key) if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise InputError(f"{path} has no list {key}; write the folder again with save_to_disk")
    return items


def _check_file_names(path: Path, names: list[Any]) -> list[str]:
    """The names. Raises InputError for one that leads out of the folder of `path`."""
    for name in names:
        if not isinstance(name, str) or name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):
            raise InputError(
                f"{path} names {name!r:.100}, which is not a file or folder next to it; write the "
                "folder again with save_to_disk"
            )
    return names


def _split_name(stem: str) -> str:
    """The split in names such as `train`, `train-00000-of-00002`, `val_1`; else empty."""
    return _SPLIT_NAMES.get(re.split(r"[-._]", stem.lower())[0], "")


def _required_file(path: Path, name: str) -> Path:
    folder = path if path.is_dir() else path.parent
    if not (folder / name).is_file():
        raise InputError(f"{folder} has no {name}, which belongs to the data; add it")
    return folder / name
