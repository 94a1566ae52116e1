"""The splits that a data set's card on the Hub declares, by the rules of `datasets`.

`configs` in the front matter of README.md names the files of each split. Without it, files have the
split that they or their folders are named after, as in any folder.
"""

from __future__ import annotations

from pathlib import Path

from convrec.errors import InputError
from convrec.stages.ingest.raw_rows import ConversationFile
from convrec.stages.ingest.splits import split_of_name
from convrec.utils.error_text import first_line

CARD = "README.md"


def declared_files(folder: Path, where: str) -> list[ConversationFile]:
    """The files of the data set's default configuration; empty if its card declares none.

    `where` names the data set in errors. Raises InputError for a card that cannot be read, several
    configurations of which none is the default, a split that is none of ours, and missing files.
    """
    if not (folder / CARD).is_file():
        return []
    from datasets.data_files import sanitize_patterns

    try:
        patterns = sanitize_patterns(_default_patterns(folder, where))
    except InputError:
        raise
    except Exception as error:  # YAML, and whatever a card may hold
        raise InputError(
            f"the {CARD} of {where} cannot be read ({first_line(error)}); name the folder of the "
            "data with hub:owner/name/FOLDER"
        ) from None
    files = [
        file
        for split, globs in patterns.items()
        for file in _split_files(folder, str(split), list(globs), where)
    ]
    return sorted(files, key=lambda file: file.path)


def _default_patterns(folder: Path, where: str) -> dict[str, list[str]] | list[str] | str:
    """`data_files` of the default configuration; empty if the card declares none."""
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    configs = MetadataConfigs.from_dataset_card_data(DatasetCard.load(folder / CARD).data)
    configs = {name: config for name, config in configs.items() if config.get("data_files")}
    if not configs:
        return {}
    default = MetadataConfigs(configs).get_default_config_name()
    if default is None:
        raise InputError(
            f"{where} has the configurations {', '.join(configs)}, and none is the default; name "
            "the folder of one with hub:owner/name/FOLDER"
        )
    found = configs[default]["data_files"]
    return found if isinstance(found, list | str) else {}


def _split_files(folder: Path, split: str, globs: list[str], where: str) -> list[ConversationFile]:
    name = split_of_name(split)
    if not name:
        raise InputError(
            f"the {CARD} of {where} has a split {split!r}, which is not train, validation or test; "
            "name the folder of the data with hub:owner/name/FOLDER"
        )
    paths = list(dict.fromkeys(path for glob in globs for path in _matching(folder, glob, where)))
    if not paths:
        raise InputError(
            f"{where} has no file of its split {split!r} ({', '.join(globs)}); name another "
            "revision, or the folder of the data"
        )
    return [ConversationFile(path, path.relative_to(folder).as_posix(), name) for path in paths]


def _matching(folder: Path, pattern: str, where: str) -> list[Path]:
    """The files of the folder that match a pattern. Raises InputError for one that leads out."""
    from datasets.data_files import resolve_pattern

    if ":" in pattern or pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        raise InputError(
            f"the {CARD} of {where} names files outside of the data set ({pattern[:100]!r}); name "
            "the folder of the data with hub:owner/name/FOLDER"
        )
    try:
        return [Path(path) for path in resolve_pattern(pattern, str(folder))]
    except FileNotFoundError:
        return []
