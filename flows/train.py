"""train: demonstrations that are already built become checkpoints."""

from typing import Any

from prefect import flow

from convrec.config import DATA_STAGES
from flows.parameters import Overrides, Profile, Refresh
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.rank_grpo import rank_grpo
from tasks.run import Run
from tasks.sft import sft


@flow(name="train", flow_run_name="train {profile}", on_crashed=[crashed])
def train(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Train on the stored demonstrations; asks no teacher, and fails if there are none.

    Args:
        profile: A profile of `profiles/` by its name, as demo, or a .toml path.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        refresh: Recompute from this stage on; stored answers are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        run.reuse(*DATA_STAGES)
        sft(run)
        rank_grpo(run)
        lineage(run)
    return run.summary()
