"""Which files a configuration reads, and their raw rows.

Conversations are JSONL, Parquet or a `datasets` folder (as `save_to_disk` writes it); a folder may
hold several files. Nothing here looks into a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convrec.artifacts.identity import digest, file_digest
from convrec.catalog.load import refuse_pickle
from convrec.catalog.resolve import _CATALOGS, data_path
from convrec.config import Config
from convrec.errors import InputError
from convrec.utils.error_text import first_line
from convrec.utils.tables import read_table

DIALOGUES = ("test.jsonl", "conversations.jsonl")
ENTITIES = ("item_ids.json", "entity2id.json")
_SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


class ConversationFile(NamedTuple):
    """One file of conversations; `split` is what its name says, empty where it says nothing."""

    path: Path
    source: str
    split: str


class RawRow(NamedTuple):
    """One raw row: where it stands, and its value or why it has none."""

    source: str
    split: str
    line: int
    value: Any
    problem: str
    text: str


def entity_files(config: Config) -> list[Path]:
    """The two files that say what the dialogues' ids mean. Raises InputError."""
    return [_inside(data_path(config), name) for name in ENTITIES]


def dialogue_file(config: Config) -> Path:
    """The JSONL file of dialogues. Raises InputError."""
    path = data_path(config)
    if path.is_file():
        return path
    for name in DIALOGUES:
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path} has no {' and no '.join(DIALOGUES)}; the dialogues are read from it")


def conversation_files(config: Config) -> list[ConversationFile]:
    """The files of a `reddit-v2` run, in the order of their names. Raises InputError."""
    path = data_path(config)
    if path.is_file():
        refuse_pickle(path)
        if path.suffix.lower() not in (".jsonl", ".parquet"):
            raise InputError(
                f"ingest.path={path} is no conversations file; allowed are .jsonl, .parquet, and a "
                "folder that holds them or that datasets.save_to_disk wrote"
            )
        return [ConversationFile(path, path.name, _split_name(path.stem))]
    if _arrow_folder(path):
        return _datasets_files(path)
    files = [
        ConversationFile(p, p.name, _split_name(p.stem))
        for p in sorted(path.iterdir())
        if p.suffix.lower() in (".jsonl", ".parquet") and p.name not in _CATALOGS
    ]
    if not files:
        for pickle in [*path.glob("*.pkl"), *path.glob("*.pickle")]:
            refuse_pickle(pickle)
        raise InputError(
            f"ingest.path={path} holds no .jsonl and no .parquet file, and no datasets folder; "
            "give the folder with the conversations"
        )
    named = [file for file in files if file.split]
    if len({file.split for file in named}) > 1 and len(named) < len(files):
        odd = next(file.source for file in files if not file.split)
        raise InputError(
            f"{path} has files of named splits and also {odd}, which names none; rename it to "
            "train, validation or test, or move it away"
        )
    return files


def files_digest(paths: list[tuple[str, Path]]) -> str:
    """One digest of the names and bytes of files."""
    return digest([[name, file_digest(path)] for name, path in paths])


def raw_rows(file: ConversationFile) -> Iterator[RawRow]:
    """The rows of one file. Raises InputError where the file as a whole cannot be read."""
    suffix = file.path.suffix.lower()
    return _jsonl_rows(file) if suffix == ".jsonl" else _table_rows(file, suffix)


def _jsonl_rows(file: ConversationFile) -> Iterator[RawRow]:
    with file.path.open("rb") as lines:
        for number, data in enumerate(lines, start=1):
            if not data.strip():
                continue
            value, problem = None, ""
            try:
                text = data.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                value = json.loads(text)
            except UnicodeDecodeError:
                text, problem = data.decode(errors="replace").strip(), "not UTF-8"
            except (ValueError, RecursionError) as error:
                problem = f"not JSON ({str(error).split(': line')[0]})"
            yield RawRow(file.source, file.split, number, value, problem, text)


def _table_rows(file: ConversationFile, suffix: str) -> Iterator[RawRow]:
    table = read_table(file.path, arrow=suffix != ".parquet")
    for number, value in enumerate(table.iter_rows(named=True), start=1):
        yield RawRow(file.source, file.split, number, value, "", "")


def _arrow_folder(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _datasets_files(path: Path) -> list[ConversationFile]:
    described = path / "dataset_dict.json"
    if not described.is_file():
        return _state_files(path)
    return [
        file._replace(source=f"{name}/{file.source}", split=_split_name(name))
        for name in _plain_names(described, _described(described, "splits"))
        for file in _state_files(path / name)
    ]


def _state_files(folder: Path) -> list[ConversationFile]:
    state = _inside(folder, "state.json")
    entries = _described(state, "_data_files")
    given = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    split = _split_name(str(read_json(state).get("_split") or ""))
    return [
        ConversationFile(_inside(folder, name), name, split) for name in _plain_names(state, given)
    ]


def _described(path: Path, key: str) -> list[Any]:
    value = read_json(path)
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise InputError(f"{path} has no list {key}; write the folder again, with save_to_disk")
    return found


def _plain_names(path: Path, given: list[Any]) -> list[str]:
    """The names of files and folders beside `path`. Raises InputError for one elsewhere."""
    for name in given:
        if not isinstance(name, str) or name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):
            raise InputError(f"{path} names {name!r:.100}, which is no file or folder beside it")
    return given


def _split_name(stem: str) -> str:
    """The split that a name begins with: `train`, `train-00000-of-00002`, `val_1`."""
    word = stem.lower().replace("-", "_").replace(".", "_").split("_")[0]
    return _SPLIT_NAMES.get(word, "")


def _inside(path: Path, name: str) -> Path:
    folder = path if path.is_dir() else path.parent
    if not (folder / name).is_file():
        raise InputError(f"{folder} has no {name}, which the data there needs; add it")
    return folder / name


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises InputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({first_line(error)})") from None
