"""The input files of a configuration.

Conversations are JSON lines, JSON, CSV or Parquet, also compressed, or a `datasets` folder (as
`save_to_disk` writes it); a folder may have several files. A data set on the Hub is read as the
folder that it is downloaded to, with the splits that its card declares. A file that is not read is
named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convrec.catalog.hub_data import PREFIX
from convrec.catalog.load import reject_pickle
from convrec.catalog.selection import CATALOG_FILES, data_path
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.ingest.hub_splits import declared_files
from convrec.stages.ingest.json_rows import PROMPT
from convrec.stages.ingest.raw_rows import (
    LINE_SUFFIXES,
    TABLE_SUFFIXES,
    WANTED,
    ConversationFile,
    read_json,
)
from convrec.stages.ingest.splits import only_split_of_name, split_of_name
from convrec.utils.file_content import (
    data_stem,
    data_suffix,
    is_parquet,
    lfs_problem,
    text_lines,
)
from convrec.utils.unicode_text import to_valid_unicode

DIALOGUE_FILES = ("test.jsonl", "conversations.jsonl")
ENTITY_FILES = ("item_ids.json", "entity2id.json")
SUFFIXES = (".jsonl", ".parquet", ".ndjson", ".jsonlines", ".json", *TABLE_SUFFIXES)
"""Endings of conversation files; of two files of one name, the first is read."""

ALWAYS_READ = (".jsonl", ".parquet")
"""Uncompressed files of these endings are read whatever they hold."""

_NO_DATA = frozenset(
    {"", ".md", ".rst", ".py", ".sh", ".ipynb", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".log"}
    | {".lock", ".crc", ".sha256", ".md5", ".sum", ".html", ".css", ".js", ".bib", ".tex"}
)
"""Endings of code, settings and documentation, which are not mentioned."""

_PROBE = 2**20
"""Bytes in which the name of the key column is looked for."""


class SkippedFile(NamedTuple):
    """A file that is not read, under its name below `ingest.path`, with the reason."""

    source: str
    reason: str
    is_data: bool
    """Whether it may hold conversations; else it was looked into and has none."""


class FolderContent(NamedTuple):
    """The files of a folder that are read, ordered by name, and those that are not."""

    files: list[ConversationFile]
    skipped: list[SkippedFile]


def entity_files(config: Config) -> list[Path]:
    """The two files that define the entity ids of dialogues. Raises InputError."""
    return [_required_file(data_path(config), name) for name in ENTITY_FILES]


def dialogue_file(config: Config) -> Path:
    """The file of dialogues, also compressed. Raises InputError."""
    path = data_path(config)
    if path.is_file():
        return path
    for name in DIALOGUE_FILES:
        stem = Path(name).stem
        for file in (path / name, *sorted(path.glob(f"{stem}.*"))):
            is_named = data_stem(file.name) == stem and data_suffix(file.name) in LINE_SUFFIXES
            if is_named and file.is_file():
                return file
    raise InputError(f"{path} has no {' and no '.join(DIALOGUE_FILES)}; add the dialogues file")


def conversation_files(config: Config, key: str = PROMPT) -> list[ConversationFile]:
    """The files of conversations, ordered by name. Raises InputError.

    `key` is the column by which rows are recognized.
    """
    return [file._replace(key=key) for file in _conversation_files(config, key)]


def _conversation_files(config: Config, key: str) -> list[ConversationFile]:
    path = data_path(config)
    if path.is_file():
        return [_single_file(path)]
    if (path / "dataset_dict.json").is_file():
        return _datasets_files(path)
    if (path / "state.json").is_file():
        return _state_files(path)
    if declared := _declared(config, path):
        return declared
    files, skipped = folder_content(path, key)
    _check_folder(path, files, skipped)
    return files


def skipped_files(config: Config, key: str = PROMPT) -> list[SkippedFile]:
    """The files of the folder of conversations that are not read, in the order of their names.

    Raises InputError.
    """
    path = data_path(config)
    is_dataset = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    if path.is_file() or is_dataset:
        return []
    files, skipped = folder_content(path, key)
    if declared := {file.source for file in _declared(config, path)}:
        reason = "the card of the data set does not name it"
        others = [SkippedFile(f.source, reason, True) for f in files if f.source not in declared]
        return others + [file for file in skipped if file.source not in declared]
    return skipped


def _declared(config: Config, path: Path) -> list[ConversationFile]:
    """The files that the card of a data set on the Hub declares; empty for other data."""
    is_on_hub = config.ingest.path.startswith(PREFIX)
    return declared_files(path, config.ingest.path) if is_on_hub else []


def folder_content(path: Path, key: str = PROMPT) -> FolderContent:
    """Which files of a folder are read.

    Folders in it are read if they are named after a split or `data`, or if no other file is read.
    """
    files, skipped = _sorted_out(path, _entries(path), key)
    folders = _folders(path)
    read = [folder for folder in folders if split_of_name(folder.name) or folder.name == "data"]
    found = [_sorted_out(path, _below(folder), key) for folder in read]
    others = [folder for folder in folders if folder not in read]
    if not files and not any(content.files for content in found):
        found += [_sorted_out(path, _below(folder), key) for folder in others]
        others = []
    reason = "a folder that is not named train, validation, test or data"
    for folder in others:
        files_below = filter(_is_candidate, _below(folder))
        sources = [to_valid_unicode(file.relative_to(path).as_posix()) for file in files_below]
        named = [source for source in sources if _strict_split(source)]
        skipped += [SkippedFile(name, f"in {reason}", True) for name in named]
        if sources and not named:
            skipped.append(SkippedFile(f"{folder.name}/", reason, True))
    return FolderContent(
        files + [file for content in found for file in content.files],
        skipped + [file for content in found for file in content.skipped],
    )


def _entries(path: Path) -> list[Path]:
    """What is in a folder, without hidden entries and folders."""
    return [entry for entry in _visible(path) if not entry.is_dir()]


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, without hidden ones and links that lead back up."""
    return [
        entry
        for entry in _visible(path)
        if entry.is_dir() and not path.resolve().is_relative_to(entry.resolve())
    ]


def _visible(path: Path) -> list[Path]:
    return [entry for entry in sorted(path.iterdir()) if not entry.name.startswith((".", "__"))]


def _below(folder: Path) -> Iterator[Path]:
    yield from _entries(folder)
    for inner in _folders(folder):
        yield from _below(inner)


def _is_candidate(file: Path) -> bool:
    return data_suffix(file.name) in SUFFIXES and file.name not in CATALOG_FILES


def _sorted_out(root: Path, paths: Iterable[Path], key: str) -> FolderContent:
    files: list[ConversationFile] = []
    skipped: list[SkippedFile] = []
    names: dict[Path, str] = {}  # folder and name without endings: the file that is read
    for path in sorted(paths, key=lambda path: (not _always_read(path), _rank(path), path)):
        source = to_valid_unicode(path.relative_to(root).as_posix())
        base = path.parent / data_stem(path.name)
        if not _is_candidate(path):
            if path.name not in CATALOG_FILES and data_suffix(path.name) not in _NO_DATA:
                reason = f"{data_suffix(path.name)} is not a format of conversations"
                skipped.append(SkippedFile(source, reason, True))
        elif not path.is_file():
            reason = "a link to nothing" if path.is_symlink() else "no regular file"
            skipped.append(SkippedFile(source, reason, True))
        elif _always_read(path):
            files.append(ConversationFile(path, source, _split_of(path, root)))
            names[base] = source
        elif base in names:
            reason = f"{names[base]} has the same name and is read instead"
            skipped.append(SkippedFile(source, reason, True))
        elif reason := _unread_reason(path, key):
            skipped.append(SkippedFile(source, reason, False))
        else:
            files.append(ConversationFile(path, source, _split_of(path, root)))
            names[base] = source
    return FolderContent(
        sorted(files, key=lambda file: file.path), sorted(skipped, key=lambda file: file.source)
    )


def _always_read(path: Path) -> bool:
    return path.suffix.lower() in ALWAYS_READ


def _rank(path: Path) -> tuple[bool, int]:
    suffix = data_suffix(path.name)
    is_plain = path.suffix.lower() == suffix
    return not is_plain, SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES)


def _unread_reason(path: Path, key: str) -> str:
    """Why a file with the ending of conversations has none; empty if it has some.

    Raises InputError for a pointer to a file that is elsewhere, and for a damaged one.
    """
    if problem := lfs_problem(path):
        raise InputError(problem)
    if is_parquet(path):
        return ""
    with text_lines(path) as lines:
        size, head = 0, []
        for line in lines:
            head.append(line)
            size += len(line)
            if size > _PROBE:
                break
    is_there = key.strip().lower().encode() in b"".join(head).lower()
    return "" if is_there else f"it has no column {key}"


def _split_of(path: Path, root: Path) -> str:
    """The split that a file is named after, or the nearest of its folders below `root`."""
    folders = path.relative_to(root).parts[-2::-1]
    names = (data_stem(path.name), *folders)
    return next((split for name in names if (split := split_of_name(name))), "")


def _check_folder(path: Path, files: list[ConversationFile], skipped: list[SkippedFile]) -> None:
    """Raise InputError if no file is read, or if a split would be lost or mixed with another."""
    if not files:
        for pickle in [*path.glob("*.pkl"), *path.glob("*.pickle")]:
            reject_pickle(pickle)
        named = "; ".join(f"{file.source}: {file.reason}" for file in skipped[:3])
        raise InputError(
            f"ingest.path={path} has no .jsonl or .parquet file and is not a datasets folder"
            f"{f' ({named})' if named else ''}; set it to the folder of the conversations, as "
            f"{WANTED}"
        )
    found = {file.split for file in files if file.split}
    for file in skipped:
        split = _strict_split(file.source)
        if split and split not in found:
            raise InputError(
                f"{path / file.source} is named after the {split} split but is not read "
                f"({file.reason}), and no other file has that split; convert it to {WANTED}, or "
                "move it away"
            )
    others = [file.source for file in files if not file.split]
    if others and (len(found) > 1 or found - {"train"}):
        raise InputError(
            f"{path} has files named after splits and also {others[0]}, which is not; rename it to "
            "train, validation or test, or move it away"
        )


def _strict_split(source: str) -> str:
    """The split of a name that is nothing else: `test.xlsx`, `test-00000-of-00001.zip`, `test/`."""
    stem = data_stem(source.rstrip("/").rpartition("/")[2])
    while Path(stem).suffix.lower() in (*SUFFIXES, ".tar"):
        stem = Path(stem).stem
    return only_split_of_name(stem)


def _single_file(path: Path) -> ConversationFile:
    reject_pickle(path)
    if data_suffix(path.name) not in SUFFIXES:
        raise InputError(
            f"ingest.path={path} is not a conversations file; use .jsonl, .json, .csv, .parquet, a "
            "folder of them, or a folder written by datasets.save_to_disk"
        )
    return ConversationFile(path, path.name, split_of_name(data_stem(path.name)))


def _datasets_files(path: Path) -> list[ConversationFile]:
    description = path / "dataset_dict.json"
    return [
        file._replace(source=f"{name}/{file.source}", split=split_of_name(name))
        for name in _check_file_names(description, _read_list(description, "splits"))
        for file in _state_files(path / name)
    ]


def _state_files(folder: Path) -> list[ConversationFile]:
    state = _required_file(folder, "state.json")
    entries = _read_list(state, "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    split = split_of_name(str(read_json(state).get("_split") or ""))
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


def _required_file(path: Path, name: str) -> Path:
    folder = path if path.is_dir() else path.parent
    if not (folder / name).is_file():
        raise InputError(f"{folder} has no {name}, which belongs to the data; add it")
    return folder / name
