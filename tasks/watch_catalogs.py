"""The scheduled check of catalog files, for teams that replace a file by hand."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec import config as configuration
from convrec.artifacts import Store
from convrec.catalog.publish import Publication, publish_catalog
from convrec.catalog.versions import newest_version
from convrec.catalog.watch import WatchedFile, find_watched_files
from convrec.errors import CatalogError, ConvrecError
from convrec.utils import markdown
from tasks.catalog_event import announce


def publish_changed_files(dry_run: bool) -> list[dict[str, Any]]:
    """Publish the files that changed; one row for each watched file.

    A version that could not be announced when it was published is announced now. Raises
    CatalogError for files that were refused.
    """
    store = Store(configuration.home())
    rows: list[dict[str, Any]] = []
    for file in find_watched_files(store):
        outcome = "as before" if not file.changed else "changed"
        if not dry_run:
            outcome = _publish_file(store, file)
        rows.append({"catalog": file.name, "file": str(file.file), "outcome": outcome})
    _show_files(rows)
    refused = [row for row in rows if row["outcome"].startswith("refused")]
    if refused:
        raise CatalogError("; ".join(f"{row['catalog']} {row['outcome']}" for row in refused))
    return rows


def _publish_file(store: Store, file: WatchedFile) -> str:
    """Publish and announce one file if there is something new. Returns the outcome."""
    try:
        publication: Publication | None = None
        if file.changed:
            publication = publish_catalog(file.file, file.name, store)
        elif (newest := newest_version(store, file.name)) and newest.announced_at is None:
            publication = publish_catalog(newest.path, file.name, store)
    except ConvrecError as error:
        return f"refused: {error}"
    if publication is None:
        return "as before"
    problem = announce(publication, store) if publication.needs_announcement else ""
    outcome = f"version {publication.version.version}"
    return f"{outcome}, not announced: {problem}" if problem else outcome


@task(name="catalog files", cache_policy=NO_CACHE, persist_result=False)
def _show_files(rows: list[dict[str, Any]]) -> None:
    """Write the artifact `catalog-files`; its history is at /v2/artifacts/key/catalog-files."""
    table = markdown.escaped_table(
        ("catalog", "file", "outcome"), [tuple(row.values()) for row in rows], 400
    )
    create_markdown_artifact(
        table, key="catalog-files", description="Catalog files that are watched"
    )
