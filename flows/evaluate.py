"""evaluate: checkpoints that are already trained are measured and reported."""

from typing import Any

from prefect import flow

from flows.parameters import Overrides, Profile, Refresh
from tasks.evaluate import evaluate as evaluate_stage
from tasks.lineage import lineage
from tasks.run import Run


@flow(name="evaluate", flow_run_name="evaluate {profile}")
def evaluate(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Measure the stored checkpoints on the test split; trains nothing, asks nobody.

    Args:
        profile: A shipped profile (demo, reddit-v2, inspired-replay, redial), or a .toml path.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        refresh: Recompute from this stage on; stored answers are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        run.reuse("ingest", "recommend", "remap", "reflect", "adjust", "sft", "rank_grpo")
        evaluate_stage(run)
        lineage(run)
    return run.summary()
