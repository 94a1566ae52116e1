"""A catalog change in Prefect: the plan before the rebuild, the report of changes after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from convrec import config as configuration
from convrec.artifacts import Store
from convrec.artifacts.last_build import PreviousBuild
from convrec.catalog.diff import CatalogDiff
from convrec.catalog.selection import profiles_with_catalog
from convrec.catalog.versions import PREFIX, CatalogVersion, find_version
from convrec.errors import CatalogError
from convrec.operations.catalog_change.fit_age import fit_age
from convrec.operations.catalog_change.ground_truth import lost_ground_truths
from convrec.operations.catalog_change.markdown import headlines, render_plan, render_report
from convrec.operations.catalog_change.plan import ChangePlan, plan_change
from convrec.operations.catalog_change.report import (
    ChangeReport,
    compare_demonstrations,
    report_path,
)
from tasks.publish import publish_markdown, publish_table
from tasks.run import Run

TABLE_ROWS = 2000
"""Changed demonstrations that the table in the UI lists; the report's file has all."""


def catalog_version(name: str, version: int | None) -> CatalogVersion:
    """The published version to rebuild for, by default the newest. Raises CatalogError."""
    return find_version(Store(configuration.home()), name, version)


def profiles_using(name: str, profiles: Sequence[str] | None) -> list[str]:
    """The profiles to rebuild, by default all in `profiles/` that use the catalog."""
    names = list(profiles or profiles_with_catalog(name))
    if not names:
        raise CatalogError(
            f'no profile takes catalog {name}: write ingest.catalog = "catalog:{name}" into one in '
            "profiles/, or give the parameter profile"
        )
    return names


def with_version(overrides: Mapping[str, Any], version: CatalogVersion) -> dict[str, Any]:
    """The overrides of a run that builds from this version."""
    return {**overrides, "ingest.catalog": f"{PREFIX}{version.name}@{version.version}"}


class CatalogChange:
    """A run that rebuilds for a catalog version.

    A plain class, because Prefect copies and inspects dataclasses among a task's parameters.
    """

    def __init__(self, run: Run, version: CatalogVersion) -> None:
        self.run = run
        self.version = version
        self.before: PreviousBuild | None = None
        self.diff: CatalogDiff | None = None
        self.sentences: list[str] = []

    @property
    def title(self) -> str:
        """Catalog, version and profile."""
        return (
            f"catalog {self.version.name}, version {self.version.version}, "
            f"profile {self.run.config.profile}"
        )

    def plan(self) -> ChangePlan:
        """Show what the rebuild will touch and cost, before it starts."""
        plan: ChangePlan = _show_plan(self)
        self.before, self.diff = plan.previous, plan.diff
        return plan

    def report(self) -> dict[str, Any]:
        """Show which demonstrations changed and the figures of both sets. Returns the counts."""
        counts: dict[str, Any] = _show_report(self)
        return counts


@task(
    name="catalog change: plan",
    task_run_name="plan",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _show_plan(change: CatalogChange) -> ChangePlan:
    plan = plan_change(change.run.config, change.run.store)
    publish_markdown(
        render_plan(plan, change.title, change.run.config.llm_line_format),
        key="change-plan",
        description="What the change touches, costs",
    )
    return plan


@task(
    name="catalog change: report",
    task_run_name="changes",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _show_report(change: CatalogChange) -> dict[str, Any]:
    new_id = change.run.refs["demonstrations"].artifact_id
    if change.before is None:
        publish_markdown(
            f"## Changes: {change.title}\n\nThe profile was not built before with these settings, "
            f"so there is nothing to compare `{new_id}` with.",
            key="change-report",
            description="Nothing to compare with yet",
        )
        return {"changed": None}
    store, run = change.run.store, change.run
    old_id = change.before.refs["demonstrations"].artifact_id
    report = compare_demonstrations(store, old_id, new_id, change.diff)
    path = report_path(store, change.before, new_id)
    report.write_lines(path)
    _show_table(report)
    fit = fit_age(store, run.refs)
    truths = lost_ground_truths(
        store,
        run.refs["conversations"].artifact_id,
        change.before.refs["catalog"].artifact_id,
        run.refs["catalog"].artifact_id,
    )
    change.sentences = headlines(report, fit, truths)
    publish_markdown(
        render_report(report, change.title, str(path), run.config.llm_line_format, fit, truths),
        key="change-report",
        description=f"{report.changed.height:,} of {report.total:,} lists changed",
    )
    return {
        "changed": report.changed.height,
        "reordered": report.reordered,
        "demonstrations": report.total,
        "lines": str(path),
    }


def _show_table(report: ChangeReport) -> None:
    """Write the changed demonstrations, up to TABLE_ROWS, as a searchable table."""
    rows = [
        {
            "demonstration": row["context_id"],
            "split": row["split"],
            "entered": "; ".join(row["entered"]),
            "left": "; ".join(row["left"]),
            "moved": row["moved"],
        }
        for row in report.changed.head(TABLE_ROWS).iter_rows(named=True)
    ]
    if rows:
        shown = f"{len(rows):,} of {report.changed.height:,} changed lists"
        publish_table(rows, key="changed-demonstrations", description=shown)
