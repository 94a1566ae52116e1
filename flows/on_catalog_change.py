"""build-sft-data for a new version of a catalog: plan, approval on request, rebuild, report.

The deployment `build-sft-data/on-catalog-change` runs it when `convrec catalog publish` sends its
event. It is a separate flow because its parameters differ.
"""

from typing import Annotated, Any

from prefect import flow
from prefect.states import Cancelled
from pydantic import Field

from convrec.catalog.versions import CatalogVersion
from flows.parameters import Overrides, change_name
from tasks.approval import approved
from tasks.catalog_change import CatalogChange, catalog_version, profiles_using, with_version
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run
from tasks.stages import build_data
from tasks.summary import summarize

CatalogName = Annotated[str, Field(min_length=1, examples=["demo"])]
VersionNumber = Annotated[int, Field(ge=1)] | None


@flow(name="build-sft-data", flow_run_name=change_name, on_crashed=[crashed])
def on_catalog_change(
    name: CatalogName,
    version: VersionNumber = None,
    profile: str = "",
    profiles: list[str] | None = None,
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    approve: bool = False,
) -> Any:
    """Rebuild the demonstrations that a catalog change reaches, for each profile that uses it.

    Args:
        name: The catalog, as `convrec catalog publish --name` calls it.
        version: The published version; empty takes the newest.
        profile: The profile to rebuild; empty takes the profiles of the event.
        profiles: The profiles of the event; empty takes all in profiles/ that use the catalog.
        overrides: Keys to set on top of the profile, as {"llm.max_usd": 5}.
        approve: Pause after the plan until somebody accepts its cost in the UI.
    """
    using = profiles_using(name, [profile] if profile else profiles)
    published = catalog_version(name, version)
    if len(using) == 1:
        return rebuild(using[0], published, overrides, approve)
    return [  # each in its own flow run; one that fails does not stop the others
        on_catalog_change(
            name,
            published.version,
            one,
            overrides=overrides,
            approve=approve,
            return_state=True,
        )
        for one in using
    ]


def rebuild(profile: str, version: CatalogVersion, overrides: dict[str, Any], approve: bool) -> Any:
    """Rebuild one profile in the current flow run."""
    with Run(profile, with_version(overrides, version)) as run:
        change = CatalogChange(run, version)
        plan = change.plan()
        if approve and not approved(run, plan, change.title):
            return Cancelled(message="The plan was not accepted; nothing was sent.")
        build_data(run)
        lineage(run)
        changes = change.report()
        summarize(run, change.sentences)
    return {**run.summary(), "changes": changes}
