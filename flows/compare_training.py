"""compare-training: which algorithm trains the best student on this data."""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from convrec.config import DATA_STAGES
from flows.parameters import Overrides, Profile, Refresh
from tasks.artifact import artifact_task
from tasks.compare import compare
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run

Algorithms = Annotated[list[str], Field(min_length=1, examples=[["rank_grpo", "grpo", "gspo"]])]
Seeds = Annotated[list[int], Field(min_length=1, examples=[[7, 8, 9]])]
Rates = Annotated[dict[str, list[float]], Field(examples=[{"grpo": [2e-4, 4e-4]}])]

EVERY = ["rank_grpo", "rank_grpo:log", "grpo", "gspo", "dr_grpo", "dapo"]


@flow(name="compare-training", flow_run_name="compare-training {profile}", on_crashed=[crashed])
def compare_training(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    algorithms: Algorithms = EVERY,
    seeds: Seeds = [7, 8, 9],  # noqa: B006
    learning_rates: Rates = {},  # noqa: B006
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Train every algorithm from the stored SFT checkpoint, at equal samples, and measure them.

    Args:
        profile: A profile of `profiles/` by its name, as demo, or a .toml path.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        algorithms: rank_grpo, rank_grpo:log, rank_grpo:exp:2.0, grpo, gspo, dr_grpo or dapo.
        seeds: Seeds of training; learning rates are chosen with the first one.
        learning_rates: Those to try by algorithm; by default half, once and twice the profile's.
        refresh: Recompute from this stage on; stored answers are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        run.reuse(*DATA_STAGES, "sft")
        run.make("generations_sft", artifact_task("generations_sft"))
        found = compare(run, algorithms, seeds, learning_rates)
        lineage(run)
    return {**run.summary(), **found}
