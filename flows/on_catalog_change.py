"""build-sft-data for a new version of a catalog: plan, approval on request, rebuild, report.

The deployment `build-sft-data/on-catalog-change` runs it when `convrec catalog publish` sends its
event. It has a flow of its own because it takes other parameters.
"""

from typing import Annotated, Any

from prefect import flow
from prefect.states import Cancelled
from pydantic import Field

from convrec.catalog.versions import Version
from flows.parameters import Overrides
from tasks.adjust import adjust
from tasks.approval import approved
from tasks.catalog_change import Change, chosen, takers, with_version
from tasks.failure import crashed
from tasks.ingest import ingest
from tasks.lineage import lineage
from tasks.recommend import recommend
from tasks.reflect import reflect
from tasks.remap import remap
from tasks.run import Run
from tasks.sources import sources

CatalogName = Annotated[str, Field(min_length=1, examples=["demo"])]
CatalogVersion = Annotated[int, Field(ge=1)] | None


@flow(name="build-sft-data", flow_run_name="on-catalog-change {name}", on_crashed=[crashed])
def on_catalog_change(
    name: CatalogName,
    version: CatalogVersion = None,
    profile: str = "",
    profiles: list[str] | None = None,
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    approve: bool = False,
) -> Any:
    """Rebuild the demonstrations of the profiles that take a catalog, where the change reaches.

    Args:
        name: The catalog, as `convrec catalog publish --name` calls it.
        version: The published version; empty takes the newest.
        profile: The profile to rebuild; empty takes those of the event.
        profiles: What the event names; empty takes all in profiles/ that take the catalog.
        overrides: Keys to set on top of the profile, as {"llm.max_usd": 5}.
        approve: Wait, once the plan is there, until somebody accepts its cost in the UI.
    """
    found = takers(name, [profile] if profile else profiles)
    wanted = chosen(name, version)
    if len(found) == 1:
        return rebuild(found[0], wanted, overrides, approve)
    return [  # each in a flow run of its own; one that fails stops no other
        on_catalog_change(
            name,
            wanted.version,
            taker,
            overrides=overrides,
            approve=approve,
            return_state=True,
        )
        for taker in found
    ]


def rebuild(profile: str, version: Version, overrides: dict[str, Any], approve: bool) -> Any:
    """One profile, in the flow run that is going on."""
    with Run(profile, with_version(overrides, version)) as run:
        change = Change(run, version)
        plan = change.plan()
        if approve and not approved(run, plan):
            return Cancelled(message="The plan was not accepted; nothing was sent.")
        ingest(run)
        recommend(run)
        remap(run)
        reflect(run)
        adjust(run)
        sources(run)
        lineage(run)
        changes = change.report()
    return {**run.summary(), "changes": changes}
