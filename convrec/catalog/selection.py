"""Which catalog file a configuration uses: a published version, a given file, or the data's own.

`ingest.catalog = "catalog:NAME"` is the newest published version of NAME. Until there is one, it is
`catalog/NAME.csv` in the project, or else the file that an empty setting uses. `catalog:NAME@3` is
version 3. `hub:owner/name/FILE` is a file of a data set on the Hugging Face Hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.artifacts.identity import file_digest
from convrec.catalog.hub_data import (
    HubSource,
    download,
    hub_data,
    is_downloaded,
    list_files,
    parse_hub_name,
    pin_hub_revisions,
    resolve_source,
)
from convrec.catalog.versions import (
    PREFIX,
    CatalogName,
    list_versions,
    newest_version,
    parse_catalog_name,
)
from convrec.config import ROOT, Config, has_warehouse, home, load, profiles, resolve_path
from convrec.errors import CatalogError, ConvrecError, InputError
from convrec.utils.file_content import COMPRESSIONS
from convrec.utils.project import IS_CLONE

CATALOG_FILES = ("catalog.csv", "catalog.parquet")
DEMO_CATALOGS = {"films": "demo.csv", "books": "demo-books.csv"}
BUNDLED_NAMES = (*CATALOG_FILES, "catalog.tsv", *(f"catalog.csv{end}" for end in COMPRESSIONS))
"""Names of a catalog next to the data; of several files, the first is used."""

ENTITY_FORMATS = ("inspired", "redial")
SUFFIXES = (".csv", ".parquet")


def data_path(config: Config) -> Path:
    """`ingest.path`, which all formats but `demo` need; data on the Hub are downloaded.

    Raises InputError if it is empty or does not exist.
    """
    if source := hub_data(config):
        return download(source)
    setting = config.ingest.path
    if not setting:
        raise InputError(
            f"ingest.path is empty; set it to the file or folder of the {config.ingest.format} "
            "data, for example --set ingest.path=FOLDER"
        )
    path = resolve_path(setting, "ingest.path")
    if not path.exists():
        raise InputError(
            f"ingest.path={setting} does not exist; set it to an existing file or folder, for "
            "example --set ingest.path=FOLDER"
        )
    return path


def catalog_file(config: Config) -> Path | None:
    """The catalog file of a run; None if the items come from entity files or the conversations."""
    if name := parse_catalog_name(config.ingest.catalog):
        return find_catalog_file(name) or bundled_catalog(config)
    if source := hub_catalog(config):
        return download(source)
    setting = config.ingest.catalog
    if setting:
        return resolve_path(setting, "ingest.catalog")
    return None if config.ingest.catalog_from == "ground_truth" else bundled_catalog(config)


def hub_catalog(config: Config) -> HubSource | None:
    """The catalog file on the Hub that a run uses, at a commit; None if it uses another catalog.

    Downloads nothing. Raises InputError for data without a catalog.
    """
    if name := parse_catalog_name(config.ingest.catalog):
        return None if find_catalog_file(name) else _bundled_on_hub(config)
    if source := parse_hub_name(config.ingest.catalog, "ingest.catalog"):
        return resolve_source(source)
    is_bundled = not config.ingest.catalog and config.ingest.catalog_from == "file"
    return _bundled_on_hub(config) if is_bundled else None


def _bundled_on_hub(config: Config) -> HubSource | None:
    """The catalog next to data on the Hub."""
    if config.ingest.format in ("demo", *ENTITY_FORMATS) or (source := hub_data(config)) is None:
        return None
    files = list_files(source)
    folder = source if files else source._replace(path=source.path.rpartition("/")[0])
    names = {
        name: folder._replace(path=f"{folder.path}/{name}".lstrip("/")) for name in BUNDLED_NAMES
    }
    if not files and (catalog := next(filter(is_downloaded, names.values()), None)):
        return catalog
    files = files or list_files(folder)
    if catalog := next((names[name] for name in names if name in files), None):
        return catalog
    raise InputError(
        f"{folder} has no {' and no '.join(CATALOG_FILES)}; name the catalog with "
        "--set ingest.catalog=FILE, or hub:owner/name/FILE"
    )


def bundled_catalog(config: Config) -> Path | None:
    """The catalog next to the data, which an empty `ingest.catalog` uses.

    None for dialogues, whose items are in entity files. Raises InputError for other data without a
    catalog.
    """
    if config.ingest.format == "demo":
        return ROOT / "catalog" / DEMO_CATALOGS[config.ingest.world]
    if config.ingest.format in ENTITY_FORMATS:
        return None
    if source := _bundled_on_hub(config):
        return download(source)
    path = data_path(config)
    folder = path if path.is_dir() else path.parent
    for name in BUNDLED_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder} has no {' and no '.join(CATALOG_FILES)}; add the catalog, or name it with "
        "--set ingest.catalog=FILE"
    )


def project_file(name: str) -> Path | None:
    """The file of this name in `catalog/`, if there is one."""
    files = (folder / f"{name}{suffix}" for folder in _catalog_folders() for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _catalog_folders() -> list[Path]:
    """The folders of catalog files: the project's, and with a wheel first the current folder's."""
    return [folder / "catalog" for folder in ((ROOT,) if IS_CLONE else (Path.cwd(), ROOT))]


def default_file(name: str, config: Config | None) -> Path | None:
    """The file that a named catalog uses until a version is published, if there is one."""
    if (file := project_file(name)) or config is None:
        return file
    try:
        return bundled_catalog(config)
    except ConvrecError:  # the data is not on this machine
        return None


def find_catalog_file(catalog: CatalogName) -> Path | None:
    """The file of a named catalog; None if it was never published and the project has none.

    Raises CatalogError for a version that does not exist.
    """
    store, version = Store(home()) if has_warehouse() else None, catalog.version
    paths = {v.version: v.path for v in list_versions(store, catalog.name)} if store else {}
    if version is None:
        if not paths:
            return project_file(catalog.name)
        version = max(paths)
    path = paths.get(version)
    if path is None or not path.is_file():
        location = store.location if store else home()
        raise CatalogError(
            f"catalog {catalog.name} has no version {version} in {location}; "
            f"`convrec catalog versions {catalog.name}` lists the versions"
        )
    return path


def load_with_catalog(profile: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Load a configuration as `convrec.config.load` does, and check the data that it names.

    Names on the Hub are replaced by the commits that they mean now. Raises CatalogError if the
    overrides name a catalog that is neither published nor a file of the project, and InputError for
    a name on the Hub that cannot be read. A profile may name a catalog that is not published: until
    it is, the profile uses the data's catalog.
    """
    config = pin_hub_revisions(load(profile, overrides))
    catalog = parse_catalog_name(config.ingest.catalog)
    if catalog is None or find_catalog_file(catalog) or uses_catalog(load(profile), catalog.name):
        return config
    versions = list_versions(Store(home())) if has_warehouse() else []
    names = {version.name for version in versions}
    folders = _catalog_folders()
    files = (file for folder in folders for file in folder.glob("*.*"))
    names |= {file.stem for file in files if file.suffix in SUFFIXES}
    raise CatalogError(
        f"ingest.catalog={config.ingest.catalog} does not exist; published or in "
        f"{' or '.join(map(str, folders))}: {', '.join(sorted(names)) or 'none'}; "
        f"`convrec catalog publish FILE --name {catalog.name}` publishes it"
    )


def pin_version(config: Config, store: Store) -> Config:
    """Replace `catalog:NAME` by the version that is the newest now.

    A run pins it once, so that a version published meanwhile does not change the run's input.
    """
    catalog = parse_catalog_name(config.ingest.catalog)
    if catalog is None or catalog.version is not None:
        return config
    newest = newest_version(store, catalog.name)
    return with_version(config, catalog.name, newest.version) if newest else config


def with_version(config: Config, name: str, version: int) -> Config:
    """The configuration with a published version as its catalog."""
    ingest = config.ingest.model_copy(update={"catalog": f"{PREFIX}{name}@{version}"})
    return config.model_copy(update={"ingest": ingest})


def unpublished_edit(config: Config) -> str:
    """A warning if the project's file was edited but a published version is used; else empty."""
    catalog = parse_catalog_name(config.ingest.catalog)
    if catalog is None or catalog.version is not None or not has_warehouse():
        return ""
    file, versions = project_file(catalog.name), list_versions(Store(home()), catalog.name)
    if file is None or not versions or file_digest(file) in {v.sha256 for v in versions}:
        return ""
    newest = max(version.version for version in versions)
    return (
        f"{file} is not used: catalog {catalog.name} is at published version {newest}; "
        f"`convrec catalog publish {file} --name {catalog.name}` publishes the file"
    )


def profiles_with_catalog(name: str) -> list[str]:
    """The profiles in `profiles/` that use this catalog, in order."""
    return [profile for profile in profiles() if uses_catalog(load(profile), name)]


def uses_catalog(config: Config, name: str) -> bool:
    """Whether a configuration uses any version of this catalog."""
    catalog = parse_catalog_name(config.ingest.catalog)
    return catalog is not None and catalog.name == name
