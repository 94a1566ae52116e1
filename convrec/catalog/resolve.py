"""Which catalog file a configuration means: a published one, a given file, or the data's own."""

from __future__ import annotations

from pathlib import Path

from convrec.catalog.versions import named, named_file
from convrec.config import ROOT, Config, resolve_path
from convrec.errors import InputError

DEMO_CATALOGS = {"films": "demo.csv", "books": "demo-books.csv"}


_CATALOGS = ("catalog.csv", "catalog.parquet")


def data_path(config: Config) -> Path:
    """`ingest.path`, which every format but `demo` needs. Raises InputError."""
    given = config.ingest.path
    if not given:
        raise InputError(
            f"ingest.path is empty; give the file or folder of the {config.ingest.format} data, as "
            "in --set ingest.path=FOLDER"
        )
    path = resolve_path(given, "ingest.path")
    if not path.exists():
        raise InputError(
            f"ingest.path={given} does not exist; give a file or folder that does, as in "
            "--set ingest.path=FOLDER"
        )
    return path


def catalog_file(config: Config) -> Path | None:
    """The catalog file of a run; None where the items come from the dialogues' entity files."""
    if wanted := named(config.ingest.catalog):
        return named_file(wanted) or own_catalog(config)
    if config.ingest.catalog:
        return resolve_path(config.ingest.catalog, "ingest.catalog")
    return own_catalog(config)


def own_catalog(config: Config) -> Path | None:
    """The catalog that comes with the data of a run, which an empty `ingest.catalog` takes."""
    if config.ingest.format == "demo":
        return ROOT / "catalog" / DEMO_CATALOGS[config.ingest.world]
    if config.ingest.format != "reddit-v2":
        return None
    path = data_path(config)
    folder = path if path.is_dir() else path.parent
    for name in _CATALOGS:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder} has no {' and no '.join(_CATALOGS)}; put the catalog there, or name it with "
        "--set ingest.catalog=FILE"
    )
