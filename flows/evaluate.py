"""evaluate: checkpoints that are already trained are measured and reported."""

from typing import Any

from prefect import flow

from convrec.config import STAGES
from flows.parameters import Overrides, Profile, Refresh
from tasks.evaluate import evaluate as evaluate_stage
from tasks.evaluate import evaluate_given, take_stored
from tasks.failure import crashed
from tasks.ingest import ingest
from tasks.lineage import lineage
from tasks.run import Run


@flow(name="evaluate", flow_run_name="evaluate {profile}", on_crashed=[crashed])
def evaluate(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
    checkpoint: str = "",
) -> dict[str, Any]:
    """Measure the stored checkpoints on the test split; trains nothing, asks nobody.

    Args:
        profile: A profile of `profiles/` by its name, as demo, or a .toml path.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        refresh: Recompute from this stage on; stored answers are never bought again.
        checkpoint: A model's folder, or the id of any checkpoint, to be measured beside what the
            profile has stored; nothing but the conversations and the catalog has to be there.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        if checkpoint:
            ingest(run)
            take_stored(run, *STAGES[1:])
            evaluate_given(run, checkpoint)
        else:
            run.reuse(*STAGES[:-1])
            evaluate_stage(run)
        lineage(run)
    return run.summary()
