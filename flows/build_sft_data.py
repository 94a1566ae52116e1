"""build-sft-data: conversations and a catalog become demonstrations."""

from typing import Any

from prefect import flow

from flows.parameters import Overrides, Profile, Refresh
from tasks.adjust import adjust
from tasks.failure import crashed
from tasks.ingest import ingest
from tasks.lineage import lineage
from tasks.recommend import recommend
from tasks.reflect import reflect
from tasks.remap import remap
from tasks.run import Run
from tasks.sources import sources


@flow(name="build-sft-data", flow_run_name="build-sft-data {profile}", on_crashed=[crashed])
def build_sft_data(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Run the data stages; teacher answers and judgments that are stored are used again.

    Args:
        profile: A profile of `profiles/` by its name, as demo, or a .toml path.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        refresh: Recompute from this stage on; stored answers are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        ingest(run)
        recommend(run)
        remap(run)
        reflect(run)
        adjust(run)
        sources(run)
        lineage(run)
    return run.summary()
