"""pipeline: conversations become an evaluated checkpoint, all eight stages."""

from typing import Any

from prefect import flow

from flows.parameters import Overrides, Profile, Refresh, Until
from tasks.adjust import adjust
from tasks.evaluate import evaluate
from tasks.failure import crashed
from tasks.ingest import ingest
from tasks.lineage import lineage
from tasks.rank_grpo import rank_grpo
from tasks.recommend import recommend
from tasks.reflect import reflect
from tasks.remap import remap
from tasks.run import Run
from tasks.sft import expect_base, sft
from tasks.sources import sources


@flow(name="pipeline", flow_run_name="pipeline {profile}", on_crashed=[crashed])
def pipeline(
    profile: Profile = "demo",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    until: Until = None,
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Run every stage, up to `until`; returns the summary that `convrec run --json` writes.

    Args:
        profile: A profile of `profiles/` by its name, as demo, or a .toml path.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        until: The last stage to run; empty runs all.
        refresh: Recompute from this stage on; stored answers are never bought again.
    """
    with Run(profile, overrides, until=until, refresh=refresh) as run:
        expect_base(run)
        ingest(run)
        recommend(run)
        remap(run)
        reflect(run)
        adjust(run)
        sources(run)
        sft(run)
        rank_grpo(run)
        evaluate(run)
        lineage(run)
    return run.summary()
