"""ablate-sft-data: what each part of Remap–Reflect–Adjust is worth on this data."""

from typing import Any

from prefect import flow

from flows.parameters import Overrides, Profile, Refresh
from tasks.ablate import ablate
from tasks.adjust import adjust
from tasks.failure import crashed
from tasks.ingest import ingest
from tasks.lineage import lineage
from tasks.recommend import recommend
from tasks.reflect import reflect
from tasks.remap import remap
from tasks.run import Run


@flow(name="ablate-sft-data", flow_run_name="ablate-sft-data {profile}", on_crashed=[crashed])
def ablate_sft_data(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Build the SFT data where that is not done, measure every part of it, search its settings.

    Args:
        profile: A profile of `profiles/` by its name, as demo, or a .toml path.
        overrides: Keys to set on top of the profile, as {"seed": 7, "remap.keep": 60}.
        refresh: Recompute from this stage on; stored answers are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        ingest(run)
        recommend(run)
        remap(run)
        reflect(run)
        adjust(run)
        ablate(run)
        lineage(run)
    return run.summary()
