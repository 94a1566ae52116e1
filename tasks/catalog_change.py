"""A catalog change in Prefect: the plan first, then the rebuild, the report of changes last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from convrec import config as configuration
from convrec.artifacts import Store
from convrec.artifacts.last_build import Build
from convrec.catalog.versions import PREFIX, Version, find_version, users
from convrec.errors import CatalogError
from convrec.operations.catalog_change.markdown import plan_page, report_page
from convrec.operations.catalog_change.plan import ChangePlan, change_plan
from convrec.operations.catalog_change.report import ChangeReport, change_report, report_path
from tasks.run import Run

TABLE_ROWS = 2000
"""Changed demonstrations that the table in the UI lists; the file beside it has all."""


def chosen(name: str, version: int | None) -> Version:
    """The published version to rebuild for, by default the newest. Raises CatalogError."""
    return find_version(Store(configuration.home()), name, version)


def takers(name: str, given: Sequence[str] | None) -> list[str]:
    """The profiles to rebuild: those given, else all in `profiles/` that take the catalog."""
    found = list(given or users(name))
    if not found:
        raise CatalogError(
            f'no profile takes catalog {name}: write ingest.catalog = "catalog:{name}" into one in '
            "profiles/, or give the parameter profile"
        )
    return found


def with_version(overrides: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """The overrides of a run that builds from this version."""
    return {**overrides, "ingest.catalog": f"{PREFIX}{version.name}@{version.version}"}


class Change:
    """A run that rebuilds for a version. A plain class, so that Prefect does not walk it."""

    def __init__(self, run: Run, version: Version) -> None:
        self.run = run
        self.version = version
        self.before: Build | None = None

    @property
    def title(self) -> str:
        """Catalog, version and profile."""
        return (
            f"catalog {self.version.name}, version {self.version.version}, "
            f"profile {self.run.config.profile}"
        )

    def plan(self) -> ChangePlan:
        """Show what the rebuild will touch and cost, before anything of it is done."""
        made: ChangePlan = _show_plan(self)
        self.before = made.before
        return made

    def report(self) -> dict[str, Any]:
        """Show which demonstrations the rebuild changed, and both sets' measures; the counts."""
        counts: dict[str, Any] = _show_report(self)
        return counts


@task(
    name="catalog change: plan",
    task_run_name="plan",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _show_plan(change: Change) -> ChangePlan:
    made = change_plan(change.run.config, change.run.store)
    create_markdown_artifact(
        plan_page(made, change.title, change.run.config.line_format),
        key="change-plan",
        description="what this catalog change touches and costs",
    )
    return made


@task(
    name="catalog change: report",
    task_run_name="changes",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _show_report(change: Change) -> dict[str, Any]:
    new_id = change.run.refs["demonstrations"].artifact_id
    if change.before is None:
        create_markdown_artifact(
            f"## Changes: {change.title}\n\nThe profile was not built before with these settings, "
            f"so there is nothing to compare `{new_id}` with.",
            key="change-report",
            description="the first build with these settings",
        )
        return {"changed": None}
    made = change_report(change.run.store, change.before.refs["demonstrations"].artifact_id, new_id)
    path = report_path(change.run.store, change.before, new_id)
    made.write(path)
    _table(made)
    create_markdown_artifact(
        report_page(made, change.title, str(path)),
        key="change-report",
        description=f"{made.changed.height:,} of {made.total:,} demonstrations changed",
    )
    return {
        "changed": made.changed.height,
        "reordered": made.reordered,
        "demonstrations": made.total,
        "lines": str(path),
    }


def _table(made: ChangeReport) -> None:
    """All changed demonstrations by name, up to TABLE_ROWS, as a table that can be searched."""
    rows = [
        {
            "demonstration": row["context_id"],
            "split": row["split"],
            "entered": "; ".join(row["entered"]),
            "left": "; ".join(row["left"]),
            "moved": row["moved"],
        }
        for row in made.changed.head(TABLE_ROWS).iter_rows(named=True)
    ]
    if rows:
        shown = f"{len(rows):,} of {made.changed.height:,}"
        create_table_artifact(rows, key="changed-demonstrations", description=shown)
