"""The scheduled look at catalog files, for teams who only drop one."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec import config as configuration
from convrec.artifacts import Store
from convrec.catalog.publish import Publication, publish
from convrec.catalog.versions import newest_version
from convrec.catalog.watch import Watched, watched
from convrec.errors import CatalogError, ConvrecError
from convrec.utils import markdown
from tasks.catalog_event import announce


def check(dry_run: bool) -> list[dict[str, Any]]:
    """Publish what has changed; one row a watched file. Raises CatalogError for what was refused.

    A version that could not be announced when it was published is announced now.
    """
    store = Store(configuration.home())
    rows: list[dict[str, Any]] = []
    for found in watched(store):
        outcome = "as before" if not found.changed else "changed"
        if not dry_run:
            outcome = _look(store, found)
        rows.append({"catalog": found.name, "file": str(found.file), "outcome": outcome})
    _show(rows)
    refused = [row for row in rows if row["outcome"].startswith("refused")]
    if refused:
        raise CatalogError("; ".join(f"{row['catalog']} {row['outcome']}" for row in refused))
    return rows


def _look(store: Store, found: Watched) -> str:
    """Publish and announce one file where there is something to say; what became of it."""
    try:
        made: Publication | None = None
        if found.changed:
            made = publish(found.file, found.name, store)
        elif (newest := newest_version(store, found.name)) and newest.announced_at is None:
            made = publish(newest.path, found.name, store)
    except ConvrecError as error:
        return f"refused: {error}"
    if made is None:
        return "as before"
    problem = announce(made, store) if made.to_announce else ""
    said = f"version {made.version.version}"
    return f"{said}, not announced: {problem}" if problem else said


@task(name="catalog files", cache_policy=NO_CACHE, persist_result=False)
def _show(rows: list[dict[str, Any]]) -> None:
    """Write the artifact `catalog-files`; its history is at /v2/artifacts/key/catalog-files."""
    table = markdown.table(
        ("catalog", "file", "outcome"), [tuple(row.values()) for row in rows], 400
    )
    create_markdown_artifact(table, key="catalog-files", description="files that are watched")
